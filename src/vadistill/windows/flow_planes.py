"""The dense flow within a window of frames, as planes of bytes beside them."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence

import numpy as np

from vadistill.extras import extra
from vadistill.geometry.flow import PRESETS, dis_flow, one_thread

with extra("opencv"):
    import cv2

STILL, STEPS = 127, 128  # a byte b is (b - STILL) / STEPS of MOST, as pixels are scaled for a network
REMEMBERED = 64  # flows: as many frames apart may the neighbours of a window be
MOST = 1 / 8  # highest speed that a byte tells, in heights of the frame


class FlowPlanes:
    """DIS flow between the neighbouring frames in the middle of windows, whatever OpenCV's threads.

    It leads from the earlier neighbour to the middle frame, and from there to the later one, so that windows a step
    apart have one of the two in common.

    Args:
        preset: Of DIS.
    """

    def __init__(self, preset: str) -> None:
        self._flow = dis_flow(PRESETS[preset])
        self._known: OrderedDict[tuple[Hashable, ...], np.ndarray] = OrderedDict()

    @staticmethod
    def gray(frame: np.ndarray) -> np.ndarray:
        """Return a frame (H, W, 3) uint8 BGR in gray, (H, W) uint8."""
        return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)

    def __call__(self, gray: Sequence[np.ndarray], names: Sequence[Hashable] = ()) -> np.ndarray:
        """Return the planes (4, H, W) uint8 of a window of three or more gray frames (H, W) uint8.

        Where the middle frame stands for a missing one, at a clip's ends, there is no flow.

        Args:
            gray: The frames of the window.
            names: Of the frames, such as their numbers: the same name always means the same frame, and the flow
                between two that was measured a moment ago is not measured again. Without them it always is.
        """
        first = len(gray) // 2 - 1
        with one_thread():
            return np.concatenate([self._between(gray[i : i + 2], names[i : i + 2]) for i in (first, first + 1)])

    def _between(self, gray: Sequence[np.ndarray], names: Sequence[Hashable]) -> np.ndarray:
        """Return the planes (2, H, W) of the flow from one frame to the next."""
        pair = tuple(names)
        if pair and pair in self._known:
            return self._known[pair]
        planes = np.stack(cv2.split(_bytes(self._flow(*gray))))
        if pair:
            self._known[pair] = planes
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return planes


def _bytes(flow: np.ndarray) -> np.ndarray:
    """Return flow (H, W, 2) in pixels as bytes."""
    steps = flow * (STEPS / MOST / len(flow))
    np.rint(steps, out=steps)
    steps += STILL
    return np.clip(steps, 0, 255, out=steps).astype(np.uint8)
