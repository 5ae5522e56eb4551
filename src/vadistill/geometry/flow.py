"""Dense optical flow from one image to another, by OpenCV."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

DenseFlow = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Gives the flow (H, W, 2) float32, (x, y) in pixels, from one image (H, W[, 3]) uint8 to another."""

_NO_GUESS: Any = None  # of the flow; OpenCV's types do not say that it may be missing


def dis_flow(preset: int) -> DenseFlow:
    """Return DIS flow between gray images; ``preset`` is one of OpenCV's ``DISOPTICAL_FLOW_PRESET_...``."""
    dis = cv2.DISOpticalFlow.create(preset)
    return lambda start, end: dis.calc(start, end, _NO_GUESS)


def farneback_flow() -> DenseFlow:
    """Return Farneback's flow between gray images."""
    scale, levels, window, iterations, neighbours, sigma, flags = 0.5, 3, 15, 3, 5, 1.2, 0
    return lambda start, end: cv2.calcOpticalFlowFarneback(
        start, end, _NO_GUESS, scale, levels, window, iterations, neighbours, sigma, flags
    )
