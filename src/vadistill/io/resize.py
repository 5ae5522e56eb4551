"""Frames at another size: by OpenCV where it is installed, else by NumPy alone.

NumPy takes up to six times as long to shrink by other factors than 2, where OpenCV is faster still, and comes to the
neighbouring gray level in up to 4 % of the values of shrunk images, 13 % of enlarged ones (OpenCV rounds on the way).
"""

from functools import lru_cache

import numpy as np

try:
    import cv2
except ImportError:  # of the extra 'opencv'; scoring videos goes without
    cv2 = None  # type: ignore[assignment]


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an image (H, W[, 3]) at ``size`` = (height, width) pixels: areas averaged to shrink it, else bilinear."""
    if frame.shape[:2] == size:
        return frame
    if cv2 is None:
        return resize_by_numpy(frame, size)
    shrinking = frame.shape[0] >= size[0] and frame.shape[1] >= size[1]
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def resize_by_numpy(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return what ``resize`` returns of an image (H, W[, 3]) uint8 without OpenCV: rows first, then columns."""
    shrinking = frame.shape[0] >= size[0] and frame.shape[1] >= size[1]
    height, width = frame.shape[:2]
    rows = _weighted(frame.reshape(height, -1), _taps(height, size[0], shrinking))
    columns = _taps(width, size[1], shrinking)
    turned = rows.reshape(size[0], width, -1).transpose(1, 0, 2).reshape(width, -1)
    found = _weighted(turned, columns).reshape(size[1], size[0], -1).transpose(1, 0, 2)
    return (found + 0.5).astype(np.uint8).reshape(*size, *frame.shape[2:])


def _weighted(lines: np.ndarray, taps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return weighted sums of lines (S, L) as (T, L) float32; the taps are those of ``_taps``."""
    places, weights = taps
    found = lines[places[0]] * weights[0, :, None]
    part = np.empty_like(found)
    for place, weight in zip(places[1:], weights[1:], strict=True):
        found += np.multiply(lines[place], weight[:, None], out=part)
    return found


@lru_cache(maxsize=64)
def _taps(source: int, target: int, shrinking: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return which of ``source`` lines make each of ``target`` ones, (K, T), and their weights, (K, T) float32."""
    step = source / target
    if shrinking:  # line t is the mean of what lies from t * step to (t + 1) * step
        start = np.arange(target) * step
        places = np.floor(start).astype(int) + np.arange(int(np.ceil(step)) + 1)[:, None]
        shared = np.minimum(places + 1, start + step) - np.maximum(places, start)
        weights = np.clip(shared, 0, 1) / step
    else:  # between the two lines whose centres are nearest
        centre = (np.arange(target) + 0.5) * step - 0.5
        places = np.floor(centre).astype(int) + np.arange(2)[:, None]
        weights = 1 - np.abs(centre - places)
    kept = weights.max(1) > 1e-6
    return np.clip(places, 0, source - 1)[kept], weights[kept].astype(np.float32)
