"""The motion of frames, by cells, from the frames around them."""

from collections.abc import Iterable
from functools import lru_cache

import cv2
import numpy as np

from vadistill.geometry.flow import PRESETS, dis_flow, one_thread
from vadistill.geometry.motion import Motion, by_cell
from vadistill.io.frames import FrameStore
from vadistill.io.resize import resize
from vadistill.io.window import window_indices
from vadistill.settings import MotionConfig

ByCell = tuple[np.ndarray, np.ndarray]  # (2, R, C, 2) and (2, R, C) float16: ``Motion`` of one frame


class Flow:
    """DIS flow from frames to an earlier and to a later one, by cells."""

    def __init__(self, settings: MotionConfig) -> None:
        """Take how motion is measured."""
        self.settings = settings
        self._flow = dis_flow(PRESETS[settings.preset])

    def gray(self, frame: np.ndarray) -> np.ndarray:
        """Return a frame (H, W, 3) uint8 BGR as flow is measured in it: gray, and of the height that is asked for."""
        height, width = frame.shape[:2]
        if wanted := self.settings.height:
            frame = resize(frame, (wanted, round(width * wanted / height)))
        return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)

    def between(self, earlier: np.ndarray, present: np.ndarray, later: np.ndarray) -> ByCell:
        """Return the motion by cells of the present one of three images that ``gray`` returned."""
        rows, columns = self.settings.rows, self.settings.columns
        cells = [by_cell(self._flow(present, other), rows, columns) for other in (earlier, later)]
        mean, highest = (np.stack(part).astype(np.float16) for part in zip(*cells, strict=True))
        return mean, highest

    def of_windows(self, windows: np.ndarray) -> Motion:
        """Return the motion of the middle frames of windows (N, 3, H, W, 3) uint8 BGR, whatever OpenCV's threads.

        Where the middle frame stands for a missing one, at a clip's ends, motion is taken to go on evenly. A
        picture that is repeated within a clip looks the same.
        """
        found = []
        for window in windows:
            with one_thread():
                mean, highest = self.between(*map(self.gray, window))
            for missing, other in ((0, 1), (1, 0)):
                if np.array_equal(window[1], window[2 * missing]):
                    mean[missing], highest[missing] = -mean[other], highest[other]
            found.append((mean, highest))
        return _joined("", windows.shape[2:4], found)


def motion_of_clip(store: FrameStore, settings: MotionConfig) -> Motion:
    """Return the motion of a clip, by DIS flow between gray frames.

    Each frame is decoded once, and each flow computed once.

    Raises:
        InputError: A stored frame is damaged.
    """
    flow, offsets = Flow(settings), (-settings.step, 0, settings.step)

    # A frame is asked for three times, with two other windows between.
    @lru_cache(maxsize=3 * settings.step + 3)
    def gray(t: int) -> np.ndarray:
        return flow.gray(store.read(t))

    @lru_cache(maxsize=1)
    def around(earlier: int, t: int, later: int) -> ByCell:
        return flow.between(gray(earlier), gray(t), gray(later))

    with one_thread():
        found = [around(*window_indices(t, len(store), offsets, "clamp")) for t in range(len(store))]
    return _joined(store.clip, (store.height, store.width), found)


def _joined(clip: str, size: tuple[int, int], frames: Iterable[ByCell]) -> Motion:
    mean, highest = (np.stack(part) for part in zip(*frames, strict=True))
    return Motion(clip, size, mean, highest)
