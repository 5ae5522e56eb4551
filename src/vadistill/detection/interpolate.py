"""Boxes of the frames between two at which the detector looked.

What is one object at both frames moves linearly between them; what is seen at one of them only stays where it was, in
the frames that are nearer to that one.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from vadistill.geometry.boxes import iou
from vadistill.io.detections import KINDS, Detections

# Least intersection over union of one object at two frames: low, as even a fast one should be followed, for next to a
# slow one the assignment takes the box that overlaps more.
LINKED = 0.1


def looked_at(frames: int, stride: int) -> np.ndarray:
    """Return the numbers, ascending, of the frames at which the detector looks.

    Args:
        frames: Number of frames of the clip, at least 1.
        stride: Every ``stride``-th frame is looked at, from the first one, and the last, so that none lies outside.
    """
    return np.unique(np.append(np.arange(0, frames, stride), frames - 1))


def linked(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (K,) and (K,) of the boxes of two frames that are one object.

    Each box has at most one partner; of all such pairings it is the one with the largest sum of intersections over
    union (``scipy.optimize.linear_sum_assignment``) that are at least ``LINKED``.

    Args:
        first: Boxes (N, 4) xyxy in pixels of the earlier frame.
        second: Boxes (M, 4) xyxy in pixels of the later frame.
    """
    with np.errstate(invalid="ignore"):  # two boxes without area have no such ratio
        shared = iou(first.astype(float), second.astype(float))
    shared = np.where(shared >= LINKED, shared, 0)
    i, j = linear_sum_assignment(shared, maximize=True)
    good = shared[i, j] > 0
    return i[good], j[good]


def mixed(first: Detections, second: Detections, share: float) -> Detections:
    """Return boxes, confidences and class probabilities between those in the same rows of two frames.

    Args:
        first: N boxes of the earlier frame.
        second: The same N objects in the later frame.
        share: How much of the way lies behind, in [0, 1]: 0 is the earlier frame, 1 the later one.
    """

    def mix(name: str) -> np.ndarray:
        one, other = getattr(first, name), getattr(second, name)
        return (one.astype(float) * (1 - share) + other.astype(float) * share).astype(one.dtype)

    columns: dict[str, Any] = {name: mix(name) for name in KINDS if name != "frame"}
    return replace(first, **columns)


def interpolate(found: Detections, stride: int) -> Detections:
    """Return the boxes of all frames of a clip, sorted by frame: those of looked-at frames and, between, made ones.

    Args:
        found: Boxes by their frame in the clip; those of frames that are not looked at do not count.
        stride: As in ``looked_at``.
    """
    seen = looked_at(found.frames, stride).tolist()
    looked = [_at(found, t) for t in seen]
    parts = looked[:1]
    for (start, end), (first, second) in zip(pairwise(seen), pairwise(looked), strict=True):
        i, j = linked(first.box, second.box)
        ends, alone = (first.take(i), second.take(j)), (_without(first, i), _without(second, j))
        for t in range(start + 1, end):
            share = (t - start) / (end - start)
            parts += [_moved_to(t, part) for part in (mixed(*ends, share), alone[share > 0.5])]
        parts.append(second)
    return _joined(parts)


def _at(found: Detections, t: int) -> Detections:
    """Return the boxes of frame t."""
    return found.take(np.arange(*np.searchsorted(found.frame, (t, t + 1))))


def _without(found: Detections, rows: np.ndarray) -> Detections:
    return found.take(np.delete(np.arange(len(found)), rows))


def _moved_to(t: int, found: Detections) -> Detections:
    """Return the boxes as those of frame t."""
    return replace(found, frame=np.full_like(found.frame, t))


def _joined(parts: list[Detections]) -> Detections:
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in KINDS}
    return replace(parts[0], **columns)
