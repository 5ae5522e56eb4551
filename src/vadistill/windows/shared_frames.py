"""Resized frames that stay in memory, shared by a training and the processes that read ahead for it."""

import mmap
from collections.abc import Callable
from multiprocessing import Lock

import numpy as np

MOST_BYTES = 1 << 30  # of all frames; where there are more, none is kept


class SharedFrames:
    """Frames by number, each made once, by whichever process needs it first.

    The memory is that of all processes that are forked off; a frame takes room in it when it is made.

    Args:
        count: Number of frames.
        size: Height and width of the frames in pixels.
    """

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        shape = (count, 3, *size)
        self._frames = np.frombuffer(mmap.mmap(-1, int(np.prod(shape))), np.uint8).reshape(shape)
        self._made = np.frombuffer(mmap.mmap(-1, count), np.bool_)
        self._lock = Lock()  # what another process has written is seen behind a lock only

    def __call__(self, index: int, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return frame ``index`` (3, H, W) uint8, not to be written to; ``make`` gives it where it is not there yet."""
        with self._lock:
            made = self._made[index]
        if not made:
            self._frames[index] = make()
            with self._lock:
                self._made[index] = True
        return self._frames[index]


def shared_frames(count: int, size: tuple[int, int]) -> SharedFrames | None:
    """Return room for so many frames of a size; None where they would take too much of it."""
    return SharedFrames(count, size) if 0 < count * 3 * size[0] * size[1] <= MOST_BYTES else None
