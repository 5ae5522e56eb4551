"""Frames at another size."""

import cv2
import numpy as np


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an image (H, W[, 3]) at ``size`` = (height, width) pixels: areas averaged to shrink it, else bilinear."""
    if frame.shape[:2] == size:
        return frame
    shrinking = frame.shape[0] >= size[0] and frame.shape[1] >= size[1]
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
