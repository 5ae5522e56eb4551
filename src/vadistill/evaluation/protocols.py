"""Named evaluation protocols: the ways in which published work turns frame scores into micro and macro AUC.

The same scores differ by several points between them, so that a number without its protocol says little. Scores and
labels are dicts from clip name to (T,) arrays, as in ``vadistill.evaluation.metrics``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vadistill.errors import InputError
from vadistill.evaluation.auc_json import Auc, AucWithIntervals, ClipAuc, DetectorAuc
from vadistill.evaluation.bootstrap import Draws, draw, intervals, intervals_of_difference
from vadistill.evaluation.metrics import (
    TRUNCATE,
    FrameLabels,
    FrameScores,
    auc,
    average_precision,
    check_clips,
    equal_error_rate,
    micro_auc,
    smooth,
)

FAST_AED_TAPS, FAST_AED_SIGMA = 301, 21.0  # frames


@dataclass(frozen=True)
class Protocol:
    """How frame scores become two numbers.

    Attributes:
        text: What it does, for people.
        single_class: What a clip with one class only counts in the macro mean: nothing (None) or a value.
        padded: Whether a normal frame of score 0 and an abnormal one of score 1 join each clip for its own AUC.
        min_max: Whether the smoothed scores of each clip are scaled to [0, 1].
        fast_aed_filter: Whether scores are smoothed by ``fast_aed_smooth`` in place of ``smooth``.
    """

    text: str
    single_class: float | None = None
    padded: bool = False
    min_max: bool = False
    fast_aed_filter: bool = False


PROTOCOLS = {
    "vadistill": Protocol("clips with one class skipped, Gaussian renormalised at the borders, no scaling by clip"),
    "fast_aed": Protocol(
        "301 taps of sigma 21, zeros beyond the borders; a clip with one class counts as 1.0",
        single_class=1.0,
        fast_aed_filter=True,
    ),
    "padded": Protocol(
        "as vadistill, but a normal frame of score 0 and an abnormal one of score 1 join each clip for its own AUC",
        padded=True,
    ),
    "min_max": Protocol("as vadistill, but the smoothed scores of each clip are scaled to [0, 1]", min_max=True),
}
DEFAULT = "vadistill"


def frame_auc(scores: FrameScores, labels: FrameLabels, sigma: float, name: str = DEFAULT) -> dict[str, Any]:
    """Return micro and macro AUC under a protocol.

    Macro AUC is the mean of the clips' AUC (arXiv 2211.15597). A clip with one class only has none: what it counts is
    the protocol's choice. To count it as 1, as published code does, rewards any scores.

    Args:
        scores: Raw frame scores (T,) of each clip.
        labels: Frame labels (T,) of each clip, 1 = abnormal.
        sigma: Standard deviation of the smoothing in frames; 0 smooths nothing. ``fast_aed`` brings its own.
        name: Key of ``PROTOCOLS``.

    Returns:
        ``micro_auc`` and ``macro_auc`` as fractions or None, ``per_clip`` with ``frames``, ``abnormal_frames`` and
        ``auc`` of each clip, and ``skipped_clips``, those that the macro mean leaves out. Ready for JSON.

    Raises:
        InputError: The protocol is unknown; otherwise as ``micro_auc`` and ``smooth``.
    """
    return _auc_record(_checked(scores, labels, sigma, find(name)), labels, find(name))


def frame_auc_with_intervals(
    scores: FrameScores, labels: FrameLabels, sigma: float, name: str = DEFAULT
) -> dict[str, Any]:
    """Return what ``frame_auc`` returns and, besides, what a reader needs to weigh it; arguments and errors as there.

    Returns:
        Also ``micro_interval`` and ``macro_interval`` (95 %, bootstrap over clips, or None), and
        ``average_precision`` and ``equal_error_rate`` of the frames of all clips.
    """
    ready = _checked(scores, labels, sigma, find(name))
    made = _auc_record(ready, labels, find(name))
    made_of = intervals(draw(ready, labels, {clip: own["auc"] for clip, own in made["per_clip"].items()}))
    joined, truth = (np.concatenate([part[clip] for clip in ready]) for part in (ready, labels))
    return made | {
        "micro_interval": made_of.micro,
        "macro_interval": made_of.macro,
        "average_precision": average_precision(joined, truth),
        "equal_error_rate": equal_error_rate(joined, truth),
    }


def _checked(scores: FrameScores, labels: FrameLabels, sigma: float, protocol: Protocol) -> dict[str, np.ndarray]:
    """Return the scores that a protocol ranks, checked before it and after: huge ones overflow on the way."""
    check_clips(scores, labels)
    with np.errstate(over="ignore", invalid="ignore"):
        ready = prepare(scores, sigma, protocol)
    check_clips(ready, labels)
    return ready


def _auc_record(ready: FrameScores, labels: FrameLabels, protocol: Protocol) -> dict[str, Any]:
    """Return the record of prepared scores (T,) of each clip."""
    own = {clip: _clip_auc(ready[clip], labels[clip], protocol) for clip in ready}
    counted = [value for value in own.values() if value is not None]
    return {
        "micro_auc": micro_auc(ready, labels),
        "macro_auc": float(np.mean(counted)) if counted else None,
        "per_clip": {
            clip: {"frames": len(labels[clip]), "abnormal_frames": int(np.sum(labels[clip])), "auc": value}
            for clip, value in own.items()
        },
        "skipped_clips": [clip for clip, value in own.items() if value is None],
    }


def frame_auc_of_protocols(scores: FrameScores, labels: FrameLabels, sigma: float) -> DetectorAuc:
    """Return ``frame_auc_with_intervals`` of the default protocol and, under ``protocols``, the AUC of the others."""
    made = {name: frame_auc_with_intervals(scores, labels, sigma, name) for name in PROTOCOLS}
    keys = ("micro_auc", "macro_auc", "micro_interval", "macro_interval")
    own = made.pop(DEFAULT)
    other = {name: AucWithIntervals(**{key: part[key] for key in keys}) for name, part in made.items()}
    per_clip = {clip: ClipAuc(**part) for clip, part in own["per_clip"].items()}
    return DetectorAuc(**own | {"per_clip": per_clip, "protocols": other})


def difference(one: FrameScores, other: FrameScores, labels: FrameLabels, sigma: float) -> AucWithIntervals:
    """Return the AUC of one detector minus that of another one under the default protocol, with 95 % intervals.

    Clips that are hard are hard for both: the interval of the difference is narrower than those of the two suggest.

    Args:
        one: Raw frame scores (T,) of each clip.
        other: Those of the other detector.
        labels: Frame labels (T,) of each clip.
        sigma: As in ``frame_auc``.
    """
    found = intervals_of_difference(*(_drawn(scores, labels, sigma) for scores in (one, other)))
    first, second = (frame_auc(scores, labels, sigma) for scores in (one, other))
    # Of the same clips, both have a number or neither has.
    values = {key: None if first[key] is None else first[key] - second[key] for key in ("micro_auc", "macro_auc")}
    return AucWithIntervals(**values, micro_interval=found.micro, macro_interval=found.macro)


def _drawn(scores: FrameScores, labels: FrameLabels, sigma: float) -> Draws:
    ready = prepare(scores, sigma, PROTOCOLS[DEFAULT])
    return draw(ready, labels, {clip: auc(ready[clip], labels[clip]) for clip in ready})


def in_short(scores: FrameScores, labels: FrameLabels | None, sigma: float) -> Auc:
    """Return micro and macro AUC alone, None without labels."""
    made = {} if labels is None else frame_auc(scores, labels, sigma)
    return Auc(micro_auc=made.get("micro_auc"), macro_auc=made.get("macro_auc"))


def find(name: str) -> Protocol:
    """Return the protocol of a name.

    Raises:
        InputError: There is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"protocol '{name}': unknown; known are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def prepare(scores: FrameScores, sigma: float, protocol: Protocol) -> dict[str, np.ndarray]:
    """Return the frame scores that a protocol ranks: smoothed, and scaled where it says so."""
    made = {
        clip: fast_aed_smooth(values) if protocol.fast_aed_filter else smooth(values, sigma)
        for clip, values in scores.items()
    }
    return {clip: min_max(values) for clip, values in made.items()} if protocol.min_max else made


def record(name: str, sigma: float) -> dict[str, Any]:
    """Return how ``frame_auc`` makes its numbers; to be stored beside them."""
    protocol = find(name)
    if protocol.fast_aed_filter:
        smoothing = {"kind": "gaussian", "sigma_frames": FAST_AED_SIGMA, "taps": FAST_AED_TAPS, "borders": "zeros"}
    elif sigma:
        taps = 2 * int(TRUNCATE * sigma + 0.5) + 1
        smoothing = {"kind": "gaussian", "sigma_frames": sigma, "taps": taps, "borders": "weights renormalised"}
    else:
        smoothing = {"kind": "none"}
    single = "skipped" if protocol.single_class is None else f"count as {protocol.single_class}"
    return {
        "name": name,
        "text": protocol.text,
        "smoothing": smoothing,
        "single_class_clips": "padded by a frame of each class" if protocol.padded else single,
        "normalisation": "each clip to [0, 1] after smoothing" if protocol.min_max else "none",
    }


def columns(labels: FrameLabels, sigma: float, name: str = DEFAULT) -> dict[str, Any]:
    """Return what a table says of how its AUC were made: ``record`` as columns, and how many clips were judged.

    Args:
        labels: Frame labels (T,) of each clip that the numbers are of.
        sigma: As in ``frame_auc``.
        name: Key of ``PROTOCOLS``.

    Returns:
        ``clips``, ``skipped_clips`` (how many the macro mean leaves out), ``protocol``, ``sigma_frames`` and ``taps``
        (0 and 1: not smoothed), ``borders``, ``single_class_clips`` and ``normalisation``.
    """
    how, protocol = record(name, sigma), find(name)
    skips = protocol.single_class is None and not protocol.padded
    smoothing = {"sigma_frames": 0.0, "taps": 1, "borders": "none", **how["smoothing"]}
    return {
        "clips": len(labels),
        "skipped_clips": sum(len(np.unique(part)) < 2 for part in labels.values()) if skips else 0,
        "protocol": name,
        **{key: smoothing[key] for key in ("sigma_frames", "taps", "borders")},
        **{key: how[key] for key in ("single_class_clips", "normalisation")},
    }


def fast_aed_smooth(scores: np.ndarray) -> np.ndarray:
    """Smooth (T,) scores as the code published with Fast-AED (arXiv 2211.15597) does: 301 taps of sigma 21.

    Zeros lie beyond the borders, which pulls down the first and last 60 frames or so, and the Gaussian's centre is one
    sample off the window's middle, so that every score moves one frame later.

    Returns:
        (T,) float64 scores.
    """
    offset = np.arange(FAST_AED_TAPS) - (FAST_AED_TAPS // 2 - 1)
    taps = np.exp(-0.5 * (offset / FAST_AED_SIGMA) ** 2) / (FAST_AED_SIGMA * np.sqrt(2 * np.pi))
    padded = np.pad(np.asarray(scores, np.float64), FAST_AED_TAPS // 2)
    return np.correlate(padded, taps, mode="valid")


def min_max(scores: np.ndarray) -> np.ndarray:
    """Scale (T,) scores to [0, 1]; constant ones become 0."""
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def _clip_auc(scores: np.ndarray, labels: np.ndarray, protocol: Protocol) -> float | None:
    """Return the AUC of one clip of prepared scores (T,) under a protocol."""
    if protocol.padded:
        scores, labels = np.concatenate([scores, [0.0, 1.0]]), np.concatenate([labels, [0, 1]])
    value = auc(scores, labels)
    return protocol.single_class if value is None else value
