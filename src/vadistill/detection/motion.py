"""The motion of a clip, by cells, from its frames."""

from functools import lru_cache

import cv2
import numpy as np

from vadistill.geometry.flow import dis_flow
from vadistill.geometry.motion import Motion, by_cell
from vadistill.io.frames import FrameStore, window_indices
from vadistill.io.resize import resize
from vadistill.settings import MotionConfig

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


def motion_of_clip(store: FrameStore, settings: MotionConfig) -> Motion:
    """Return the motion of a clip, by DIS flow between gray frames.

    Each frame is decoded once, and each flow computed once. The result depends on OpenCV's number of threads.

    Raises:
        InputError: A stored frame is damaged.
    """
    flow, size = dis_flow(PRESETS[settings.preset]), flow_size(store, settings.height)
    offsets = (-settings.step, 0, settings.step)

    # A frame is asked for three times, with two other windows between.
    @lru_cache(maxsize=3 * settings.step + 3)
    def gray(t: int) -> np.ndarray:
        return cv2.cvtColor(resize(store.read(t), size), cv2.COLOR_BGR2GRAY)

    @lru_cache(maxsize=1)
    def around(earlier: int, t: int, later: int) -> tuple[np.ndarray, np.ndarray]:
        cells = [by_cell(flow(gray(t), gray(other)), settings.rows, settings.columns) for other in (earlier, later)]
        mean, highest = (np.stack(part).astype(np.float16) for part in zip(*cells, strict=True))
        return mean, highest

    found = [around(*window_indices(t, len(store), offsets, "clamp")) for t in range(len(store))]
    mean, highest = (np.stack(part) for part in zip(*found, strict=True))
    return Motion(store.clip, (store.height, store.width), mean, highest)


def flow_size(store: FrameStore, height: int) -> tuple[int, int]:
    """Return the height and width in pixels at which flow is measured: of the stored shape, 0 for its own size."""
    return (height, round(store.width * height / store.height)) if height else (store.height, store.width)
