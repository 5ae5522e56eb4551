"""The dense flow within a window of frames, as planes of bytes beside them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from vadistill.extras import extra
from vadistill.geometry.flow import PRESETS, dis_flow, one_thread
from vadistill.windows.shape import NEIGHBOURS, plane_count

with extra("opencv"):
    import cv2

STILL, STEPS = 127, 128  # a byte b is (b - STILL) / STEPS of MOST, as pixels are scaled for a network
MOST = 1 / 8  # highest speed that a byte tells, in heights of the frame


class FlowPlanes:
    """DIS flow from a window's middle frame to its neighbours in the window, whatever OpenCV's threads.

    Args:
        preset: Of DIS.
        apply: Calls a function for every neighbour as ``map`` does; an executor's ``map`` measures them side by side.
    """

    def __init__(self, preset: str, apply: Callable[..., Iterable[Any]] = map) -> None:
        self._apply, self._preset = apply, preset
        # What one object works on is its own: two of them may work at the same time.
        self._flows = [dis_flow(PRESETS[preset]) for _ in NEIGHBOURS]

    @staticmethod
    def gray(frame: np.ndarray) -> np.ndarray:
        """Return a frame (H, W, 3) uint8 BGR in gray, (H, W) uint8."""
        return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)

    def __call__(self, gray: Sequence[np.ndarray]) -> np.ndarray:
        """Return the planes (4, H, W) uint8 of a window of three or more gray frames (H, W) uint8.

        Where the middle frame stands for a missing one, at a clip's ends, there is no flow.
        """
        middle = len(gray) // 2
        planes = np.empty((plane_count(self._preset), *gray[middle].shape), np.uint8)

        def measure(number: int) -> None:
            flow = self._flows[number](gray[middle], gray[middle + NEIGHBOURS[number]])
            cv2.split(_bytes(flow), [planes[2 * number], planes[2 * number + 1]])

        with one_thread():
            for _ in self._apply(measure, range(len(NEIGHBOURS))):
                pass
        return planes


def _bytes(flow: np.ndarray) -> np.ndarray:
    """Return flow (H, W, 2) in pixels as bytes."""
    steps = flow * (STEPS / MOST / len(flow))
    np.rint(steps, out=steps)
    steps += STILL
    return np.clip(steps, 0, 255, out=steps).astype(np.uint8)
