"""Ways to make one frame score of several: means, mean ranks, a fitted sum. Scores are dicts from clip to (T,)."""

from collections.abc import Iterable, Mapping

import numpy as np

from vadistill.errors import InputError
from vadistill.evaluation.metrics import FrameScores, ranks


def mean_scores(parts: Iterable[Mapping[str, np.ndarray]]) -> FrameScores:
    """Return the mean of several scores of the same clips."""
    parts = list(parts)
    return {clip: np.mean([part[clip] for part in parts], axis=0) for clip in parts[0]}


def mean_ranks(parts: Iterable[Mapping[str, np.ndarray]]) -> FrameScores:
    """Average several scores by rank: the mean of each frame's percentile rank over all clips, ties in the middle."""
    ranked = []
    for part in parts:
        ends = np.cumsum([len(scores) for scores in part.values()])
        percentiles = ranks(np.concatenate(list(part.values()))) / ends[-1]
        ranked.append(dict(zip(part, np.split(percentiles, ends[:-1]), strict=True)))
    return mean_scores(ranked)


def fitted_sum(
    parts: Mapping[int, Mapping[str, np.ndarray]],
    known: Mapping[int, Mapping[str, np.ndarray]],
    truth: Mapping[str, np.ndarray],
) -> FrameScores:
    """Return the sum of several scores that logistic regression fits to known clips.

    Args:
        parts: The scores, by any key.
        known: The same ones of other clips.
        truth: Labels (T,) of these clips.

    Raises:
        InputError: The known clips are all normal or all abnormal.
    """
    from sklearn.linear_model import LogisticRegression  # seconds, and most stages need a mean only

    labels = np.concatenate(list(truth.values()))
    if labels.all() or not labels.any():
        raise InputError(f"{len(truth)} clips of one class only; a sum of scores needs normal and abnormal frames")

    def columns(scores: Mapping[int, Mapping[str, np.ndarray]], clip: str) -> np.ndarray:
        return np.stack([part[clip] for part in scores.values()], axis=1)

    model = LogisticRegression(C=1e3, max_iter=1000)
    model.fit(np.concatenate([columns(known, clip) for clip in truth]), labels)
    return {clip: model.decision_function(columns(parts, clip)) for clip in next(iter(parts.values()))}
