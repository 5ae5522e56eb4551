"""Regions that move on their own, found in frames: objects that the detector does not know."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from vadistill.geometry.flow import dis_flow
from vadistill.settings import MovingConfig

# Grey levels. Flow leaks from moving objects into flat surroundings, where no pixel changes.
CHANGE = 12
# Pixels. Opening drops specks; closing joins the parts of one object.
OPENING, CLOSING = 3, 7


def moving_boxes(frames: Iterable[np.ndarray], settings: MovingConfig) -> Iterator[np.ndarray]:
    """Yield the boxes (n, 4) of the moving regions of every frame; at most 2 ``settings.step`` + 1 frames are held.

    Flow leads to the frame ``settings.step`` later, in the last frames to the one before; a frame that has neither
    has no moving region. At the ends of a clip, where one of them is missing, regions are longer by their motion.
    Of a smooth object that moves less than its own size in that time, only the parts that change are found.

    Args:
        frames: (H, W, 3) uint8 BGR frames of one clip, each of which is taken once.
        settings: What counts as a moving region.
    """
    flow = dis_flow(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    grays: dict[int, np.ndarray] = {}

    def boxes(t: int) -> np.ndarray:
        others = [grays[index] for index in (t + settings.step, t - settings.step) if index in grays]
        if not others:
            return np.zeros((0, 4), np.float32)
        # An object that has left, or not yet reached, its place in one other frame differs from both here only.
        change = np.minimum.reduce([cv2.absdiff(grays[t], other) for other in others])
        return moving_regions(flow(grays[t], others[0]), change, settings)

    count = 0
    for count, frame in enumerate(frames, 1):
        grays[count - 1] = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        t = count - 1 - settings.step
        if t >= 0:
            yield boxes(t)
            grays.pop(t - settings.step, None)
    yield from map(boxes, range(max(0, count - settings.step), count))


def moving_regions(flow: np.ndarray, change: np.ndarray, settings: MovingConfig) -> np.ndarray:
    """Return boxes around the connected regions of pixels that move and change, largest first.

    The median flow, which a shaking camera causes, is subtracted first. Boxes from optical flow, filtered by size,
    for what the detector misses are an idea of SSMTL++ (arXiv 2207.08003).

    Args:
        flow: (H, W, 2) in pixels over ``settings.step`` frames.
        change: (H, W) uint8 least absolute difference to the frames ``settings.step`` before and after.
        settings: Least speed and the sizes of a region.

    Returns:
        (n, 4) float32 xyxy in pixels, half-open.
    """
    height, width = change.shape
    own = flow - np.median(flow[::4, ::4], axis=(0, 1))
    moves = ((cv2.magnitude(own[..., 0], own[..., 1]) >= settings.speed) & (change >= CHANGE)).astype(np.uint8)
    for operation, size in ((cv2.MORPH_OPEN, OPENING), (cv2.MORPH_CLOSE, CLOSING)):
        moves = cv2.morphologyEx(moves, operation, np.ones((size, size), np.uint8))
    left, top, w, h = cv2.connectedComponentsWithStats(moves, connectivity=8)[2][1:, :4].T  # 0 is the background
    box = np.stack([left, top, left + w, top + h], 1).astype(np.float32)
    kept = (np.maximum(w, h) >= settings.min_side) & (w * h <= settings.max_share * height * width)
    return box[kept][np.argsort(-(w * h)[kept], kind="stable")]
