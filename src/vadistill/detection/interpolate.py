"""Boxes of the frames between two at which the detector looked."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from vadistill.geometry.boxes import iou
from vadistill.io.detections import KINDS, Detections

# Boxes of neighbouring looked-at frames that share less (IoU) are not one object.
LINKED = 0.1


def looked_at(frames: int, stride: int) -> np.ndarray:
    """Return the frame numbers at which the detector looks: every ``stride``-th one and the last."""
    return np.unique(np.append(np.arange(0, frames, stride), frames - 1))


def interpolate(found: Detections, stride: int) -> Detections:
    """Keep the boxes of looked-at frames and make those between: linked ones linearly, others for half the gap."""
    seen = looked_at(found.frames, stride)
    parts = [{k: np.asarray(getattr(found, k))[np.isin(found.frame, seen)] for k in KINDS}]
    for a, b in pairwise(seen):
        first, second = np.flatnonzero(found.frame == a), np.flatnonzero(found.frame == b)
        shared = iou(found.box[first], found.box[second])
        i, j = linear_sum_assignment(np.where(shared >= LINKED, shared, 0), maximize=True)
        good = shared[i, j] >= LINKED
        i, j = i[good], j[good]
        for t in range(a + 1, b):
            w = (t - a) / (b - a)
            alone = np.delete(first, i) if w <= 0.5 else np.delete(second, j)
            made: dict[str, Any] = {}
            for k in KINDS:
                v = np.asarray(getattr(found, k))
                if k == "frame":
                    made[k] = np.full(len(i) + len(alone), t, v.dtype)
                    continue
                mixed = v[first[i]].astype(float) * (1 - w) + v[second[j]].astype(float) * w
                made[k] = np.concatenate([mixed.astype(v.dtype), v[alone]])
            parts.append(made)
    joined: dict[str, Any] = {k: np.concatenate([p[k] for p in parts]) for k in KINDS}
    return replace(found, **joined).take(np.argsort(joined["frame"], kind="stable"))
