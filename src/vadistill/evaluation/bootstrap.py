"""Bootstrap intervals over clips: how far an AUC depends on which clips were filmed.

Frames of a clip are alike, so that clips are drawn with replacement, never frames (Efron and Tibshirani 1993, the
percentile interval).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vadistill.evaluation.metrics import FrameLabels, FrameScores

DRAWS, SEED = 2000, 0
LEAST_CLIPS = 5  # that count; of fewer a bootstrap says nothing
PERCENTILES = (2.5, 97.5)

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of micro and macro AUC, as fractions; None where fewer than five clips count."""

    micro: Interval | None
    macro: Interval | None


@dataclass(frozen=True)
class Draws:
    """What D draws of clips gave.

    Attributes:
        micro: (D,) micro AUC, NaN where a draw has one class only.
        macro: (D,) macro AUC, NaN where a draw has no clip that counts.
        clips: Number of clips.
        macro_clips: How many of them count in macro AUC.
    """

    micro: np.ndarray
    macro: np.ndarray
    clips: int
    macro_clips: int


def draw(scores: FrameScores, labels: FrameLabels, own: Mapping[str, float | None], draws: int = DRAWS) -> Draws:
    """Return the AUC of clips drawn with replacement; the same draws for every detector of the same clips.

    A micro AUC is the share of won comparisons between abnormal and normal frames; counted once for each pair of
    clips, the AUC of any draw is a ratio of two weighted sums.

    Args:
        scores: Frame scores (T,) of each clip, as they are ranked.
        labels: Frame labels (T,) of each clip.
        own: Each clip's own AUC, None where the macro mean leaves it out.
        draws: Number of draws.
    """
    clips = sorted(scores)
    weight = np.random.default_rng(SEED).multinomial(len(clips), np.full(len(clips), 1 / len(clips)), size=draws)
    abnormal = np.array([np.sum(labels[clip]) for clip in clips], float)
    normal = np.array([len(labels[clip]) for clip in clips]) - abnormal
    with np.errstate(invalid="ignore"):  # a draw without one of the classes has no AUC
        won = (weight @ _won([scores[clip] for clip in clips], [labels[clip] for clip in clips]) * weight).sum(1)
        micro = won / ((weight @ abnormal) * (weight @ normal))
        value = np.array([np.nan if own[clip] is None else own[clip] for clip in clips], float)
        macro = (weight @ np.nan_to_num(value)) / (weight @ ~np.isnan(value))
    return Draws(micro, macro, len(clips), int(np.sum(~np.isnan(value))))


def intervals(drawn: Draws) -> Intervals:
    """Return the intervals of one detector."""
    return Intervals(_interval(drawn.micro, drawn.clips), _interval(drawn.macro, drawn.macro_clips))


def intervals_of_difference(one: Draws, other: Draws) -> Intervals:
    """Return the intervals of the AUC of one detector minus that of another one of the same clips."""
    micro, macro = one.micro - other.micro, one.macro - other.macro
    return Intervals(_interval(micro, one.clips), _interval(macro, min(one.macro_clips, other.macro_clips)))


def _won(scores: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> np.ndarray:
    """Return (C, C): how often abnormal frames of clip i score above normal frames of clip j; a tie counts half."""
    abnormal = [np.asarray(values)[np.asarray(truth, bool)] for values, truth in zip(scores, labels, strict=True)]
    starts = np.cumsum([0, *map(len, abnormal)])
    joined = np.concatenate(abnormal)
    won = np.empty((len(scores), len(scores)))
    for j, (values, truth) in enumerate(zip(scores, labels, strict=True)):
        normal = np.sort(np.asarray(values)[~np.asarray(truth, bool)])
        below = (np.searchsorted(normal, joined, "left") + np.searchsorted(normal, joined, "right")) / 2
        won[:, j] = np.diff(np.concatenate([[0.0], np.cumsum(below)])[starts])
    return won


def _interval(values: np.ndarray, clips: int) -> Interval | None:
    values = values[np.isfinite(values)]
    return tuple(np.percentile(values, PERCENTILES).tolist()) if clips >= LEAST_CLIPS and len(values) else None
