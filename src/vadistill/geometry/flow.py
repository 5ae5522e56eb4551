"""Dense optical flow from one image to another, by OpenCV."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from vadistill.extras import extra

with extra("opencv"):
    import cv2

DenseFlow = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Gives the flow (H, W, 2) float32, (x, y) in pixels, from one image (H, W[, 3]) uint8 to another."""

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
LEAST_SIDE = 32  # pixels: smaller pictures make DIS crash, so that their borders are repeated
_NO_GUESS: Any = None  # of the flow; OpenCV's types do not say that it may be missing


class _Single:
    """Counts who needs OpenCV to use one thread: it has many again when the last of them is done."""

    def __init__(self) -> None:
        self._lock, self._users, self._before = threading.Lock(), 0, 1

    def enter(self) -> None:
        with self._lock:
            if not self._users:
                self._before = cv2.getNumThreads()
                self._set(1)
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._set(self._before)

    def _set(self, threads: int) -> None:
        # Where there is one, it is left alone: a process that was forked off would wait for threads that are not there.
        if self._before != 1:
            cv2.setNumThreads(threads)


_single = _Single()
# What a thread of its parent was about is no matter of a process that was forked off.
os.register_at_fork(after_in_child=_single.__init__)  # type: ignore[misc]


@contextmanager
def one_thread() -> Iterator[None]:
    """Have OpenCV use one thread: DIS cuts its picture into as many stripes as there are, each with its own result.

    The number is the process's, so that several threads may ask for it at the same time.
    """
    _single.enter()
    try:
        yield
    finally:
        _single.leave()


def dis_flow(preset: int) -> DenseFlow:
    """Return DIS flow between gray images; ``preset`` is one of OpenCV's ``DISOPTICAL_FLOW_PRESET_...``."""
    dis = cv2.DISOpticalFlow.create(preset)

    def flow(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        height, width = start.shape
        below, beside = max(0, LEAST_SIDE - height), max(0, LEAST_SIDE - width)
        if below or beside:
            start, end = (
                cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE) for image in (start, end)
            )
        return dis.calc(start, end, _NO_GUESS)[:height, :width]

    return flow


def farneback_flow() -> DenseFlow:
    """Return Farneback's flow between gray images."""
    scale, levels, window, iterations, neighbours, sigma, flags = 0.5, 3, 15, 3, 5, 1.2, 0
    return lambda start, end: cv2.calcOpticalFlowFarneback(
        start, end, _NO_GUESS, scale, levels, window, iterations, neighbours, sigma, flags
    )
