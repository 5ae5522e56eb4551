"""From frame scores to ROC AUC: smoothing over time, micro and macro averages and the record of how they were made.

Scores and labels come as dicts from clip name to (T,) arrays; a label is 0 (normal) or 1 (abnormal).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d
from sklearn.metrics import roc_auc_score

from vadistill.errors import InputError

TRUNCATE = 4.0  # the Gaussian is cut off at this many standard deviations

Clips = Mapping[str, np.ndarray]


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
    weighted, weight = (
        gaussian_filter1d(signal, sigma, mode="constant", cval=0.0, truncate=TRUNCATE)
        for signal in (scores - scores[0], np.ones_like(scores))
    )
    return scores[0] + weighted / weight


def auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the ROC AUC of (T,) scores against (T,) labels; None where only one class occurs."""
    labels = np.asarray(labels, bool)
    return None if labels.all() or not labels.any() else float(roc_auc_score(labels, scores))


def per_clip_auc(scores: Clips, labels: Clips) -> dict[str, float | None]:
    """Return the AUC of every clip, None where a clip has only one class; errors as in ``micro_auc``."""
    _check(scores, labels)
    return {clip: auc(scores[clip], labels[clip]) for clip in scores}


def micro_auc(scores: Clips, labels: Clips) -> float | None:
    """Return the AUC of the concatenated frames of all clips; None where they have only one class.

    Raises:
        InputError: There are no clips, scores and labels are not of the same clips and lengths, a score is not finite
            or a label is neither 0 nor 1.
    """
    _check(scores, labels)
    return auc(np.concatenate(list(scores.values())), np.concatenate([labels[clip] for clip in scores]))


def macro_auc(scores: Clips, labels: Clips) -> tuple[float | None, list[str]]:
    """Return the mean of the clips' AUC (arXiv 2211.15597) and the names of the clips left out of it.

    A clip with only one class has no AUC. It is skipped: to count it as 1, as published code does, rewards any
    scores. The mean is None where every clip is skipped; errors as in ``micro_auc``.
    """
    values = per_clip_auc(scores, labels)
    counted = [value for value in values.values() if value is not None]
    skipped = [clip for clip, value in values.items() if value is None]
    return (float(np.mean(counted)) if counted else None), skipped


def evaluate_scores(scores: Clips, labels: Clips, sigma: float) -> dict[str, Any]:
    """Smooth the frame scores of every clip and compare them with the labels.

    Args:
        scores: Raw frame scores (T,) of each clip.
        labels: Frame labels (T,) of each clip.
        sigma: Standard deviation of ``smooth`` in frames.

    Returns:
        ``micro_auc`` and ``macro_auc`` as fractions or None, ``per_clip`` with ``frames``, ``abnormal_frames`` and
        ``auc`` of each clip, and ``skipped_clips``, the clips that the macro mean leaves out. Ready for JSON.

    Raises:
        InputError: As in ``micro_auc`` and ``smooth``.
    """
    _check(scores, labels)
    smoothed = {clip: smooth(values, sigma) for clip, values in scores.items()}
    macro, skipped = macro_auc(smoothed, labels)
    return {
        "micro_auc": micro_auc(smoothed, labels),
        "macro_auc": macro,
        "per_clip": {
            clip: {"frames": len(labels[clip]), "abnormal_frames": int(np.sum(labels[clip])), "auc": value}
            for clip, value in per_clip_auc(smoothed, labels).items()
        },
        "skipped_clips": skipped,
    }


def protocol_record(sigma: float) -> dict[str, Any]:
    """Return how ``evaluate_scores`` makes its numbers; to be stored beside them."""
    smoothing = {
        "kind": "gaussian",
        "sigma_frames": float(sigma),
        "truncated_at_sigmas": TRUNCATE,
        "taps": 2 * int(TRUNCATE * sigma + 0.5) + 1,
        "borders": "weights renormalised",
    }
    return {
        "smoothing": smoothing if sigma else {"kind": "none"},
        "single_class_clips": "skipped",
        "normalisation": "none",
    }


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


def _check(scores: Clips, labels: Clips) -> None:
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
