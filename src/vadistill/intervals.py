"""Bootstrap intervals over clips: how far an AUC depends on which clips were filmed.

Frames of a clip are alike, so that clips are drawn with replacement, never frames (Efron and Tibshirani 1993, the
percentile interval).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vadistill.metrics import Clips

DRAWS, SEED = 2000, 0
PERCENTILES = (2.5, 97.5)

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of micro and macro AUC, as fractions; None where the draws have no such number."""

    micro: Interval | None
    macro: Interval | None


def bootstrap(scores: Clips, labels: Clips, own: Mapping[str, float | None], draws: int = DRAWS) -> Intervals:
    """Return 95 % intervals over clips drawn with replacement.

    A micro AUC is the share of won comparisons between abnormal and normal frames; counted once for each pair of
    clips, the AUC of any draw is a ratio of two weighted sums.

    Args:
        scores: Frame scores (T,) of each clip, as they are ranked.
        labels: Frame labels (T,) of each clip.
        own: Each clip's own AUC, None where the macro mean leaves it out.
        draws: Number of draws; the same ones every time.
    """
    clips = list(scores)
    weight = np.random.default_rng(SEED).multinomial(len(clips), np.full(len(clips), 1 / len(clips)), size=draws)
    abnormal = np.array([np.sum(labels[clip]) for clip in clips], float)
    normal = np.array([len(labels[clip]) for clip in clips]) - abnormal
    with np.errstate(invalid="ignore"):  # a draw without one of the classes has no AUC
        won = (weight @ _won(scores, labels) * weight).sum(1)
        micro = won / ((weight @ abnormal) * (weight @ normal))
        value = np.array([np.nan if own[clip] is None else own[clip] for clip in clips], float)
        macro = (weight @ np.nan_to_num(value)) / (weight @ ~np.isnan(value))
    return Intervals(_interval(micro), _interval(macro))


def _won(scores: Clips, labels: Clips) -> np.ndarray:
    """Return (C, C): how often abnormal frames of clip i score above normal frames of clip j; a tie counts half."""
    abnormal = [np.asarray(scores[clip])[np.asarray(labels[clip], bool)] for clip in scores]
    starts = np.cumsum([0, *map(len, abnormal)])
    joined = np.concatenate(abnormal)
    won = np.empty((len(starts) - 1,) * 2)
    for j, clip in enumerate(scores):
        normal = np.sort(np.asarray(scores[clip])[~np.asarray(labels[clip], bool)])
        below = (np.searchsorted(normal, joined, "left") + np.searchsorted(normal, joined, "right")) / 2
        won[:, j] = np.diff(np.concatenate([[0.0], np.cumsum(below)])[starts])
    return won


def _interval(values: np.ndarray) -> Interval | None:
    values = values[np.isfinite(values)]
    return tuple(np.percentile(values, PERCENTILES).tolist()) if len(values) else None
