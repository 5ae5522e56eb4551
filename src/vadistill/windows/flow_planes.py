"""The dense flow within a window of frames, as planes of bytes beside them."""

from collections.abc import Sequence

import numpy as np

from vadistill.extras import extra
from vadistill.geometry.flow import PRESETS, dis_flow, one_thread
from vadistill.windows.shape import NEIGHBOURS

with extra("opencv"):
    import cv2

STILL, STEPS = 127, 128  # a byte b is (b - STILL) / STEPS of MOST, as pixels are scaled for a network
MOST = 1 / 8  # highest speed that a byte tells, in heights of the frame


class FlowPlanes:
    """DIS flow from a window's middle frame to its neighbours in the window, whatever OpenCV's threads."""

    def __init__(self, preset: str) -> None:
        """Take the preset of DIS."""
        self._flow = dis_flow(PRESETS[preset])

    @staticmethod
    def gray(frame: np.ndarray) -> np.ndarray:
        """Return a frame (H, W, 3) uint8 BGR in gray, (H, W) uint8."""
        return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)

    def __call__(self, gray: Sequence[np.ndarray]) -> np.ndarray:
        """Return the planes (4, H, W) uint8 of a window of three or more gray frames (H, W) uint8.

        Where the middle frame stands for a missing one, at a clip's ends, there is no flow.
        """
        middle = len(gray) // 2
        with one_thread():
            found = [self._flow(gray[middle], gray[middle + step]) for step in NEIGHBOURS]
        return np.concatenate([_bytes(flow).transpose(2, 0, 1) for flow in found])


def _bytes(flow: np.ndarray) -> np.ndarray:
    """Return flow (H, W, 2) in pixels as bytes."""
    return np.clip(np.rint(flow * (STEPS / MOST / len(flow))) + STILL, 0, 255).astype(np.uint8)
