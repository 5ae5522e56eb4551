"""Boxes (N, 4), xyxy in pixels: cut to pixels, areas that they share, intersection over union."""

import numpy as np


def clip_to_pixels(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return boxes (N, 4) xyxy as whole pixels: floor of the upper left, ceil of the lower right, cut to the frame."""
    pixels = np.concatenate([np.floor(box[:, :2]), np.ceil(box[:, 2:])], 1).astype(np.int64)
    pixels[:, 0::2] = pixels[:, 0::2].clip(0, width)
    pixels[:, 1::2] = pixels[:, 1::2].clip(0, height)
    return pixels


def inclusive_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the intersection over union (N,) of boxes (N, 4) with those in the same rows, both ends included."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    shared = _inclusive_area(np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:]))
    return shared / (_inclusive_area(a[:, :2], a[:, 2:]) + _inclusive_area(b[:, :2], b[:, 2:]) - shared)


def _inclusive_area(upper_left: np.ndarray, lower_right: np.ndarray) -> np.ndarray:
    return (lower_right - upper_left + 1).clip(0).prod(1)


def area(box: np.ndarray) -> np.ndarray:
    """Return the areas (N,) of boxes (N, 4)."""
    return (box[:, 2:] - box[:, :2]).prod(-1)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the intersection over union (N, M) of boxes (N, 4) and (M, 4)."""
    shared, own, other = overlaps(a, b)
    return shared / (own[:, None] + other[None, :] - shared)


def overlaps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the areas (N, M) that boxes (N, 4) and (M, 4) share, and the areas (N,) and (M,) of the boxes."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    return (high - low).clip(0).prod(-1), area(a), area(b)
