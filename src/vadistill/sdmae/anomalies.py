"""Anomalies that are pasted into training windows: what moves in another window, of another size, on another way.

The paper pastes objects of UBnormal (arXiv 2306.12041), whose masks are not at hand; these need frames alone.
"""

import math

import cv2
import numpy as np

CHANGE = 20  # grey levels between two frames that belong to something that moves
LEAST_SHARE = 0.001  # of the frame that is a thing
SIZES = (0.6, 2.5)  # of a pasted thing, relative to its own
FASTEST = 0.03  # heights of the frame that it moves from one frame to the next
BLUR = (3, 3)


def moving_thing(before: np.ndarray, present: np.ndarray, after: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return something that moves as gray and mask (h, w, 2) uint8, an ellipse of the picture where nothing does.

    Args:
        before: A frame (H, W, 3) uint8.
        present: The frame that it is cut from.
        after: A frame after it, as far away as the one before.
        rng: Chooses among several.
    """
    gray = cv2.cvtColor(present, cv2.COLOR_BGR2GRAY)
    change = np.minimum(cv2.absdiff(present, before), cv2.absdiff(present, after)).max(2)
    moving = cv2.dilate((change > CHANGE).astype(np.uint8), np.ones((5, 5), np.uint8))
    _, regions, found, _ = cv2.connectedComponentsWithStats(moving)
    least = LEAST_SHARE * gray.size
    things = [i for i in range(1, len(found)) if found[i, cv2.CC_STAT_AREA] >= least]
    if not things:
        return _ellipse(gray, rng)
    chosen = things[rng.integers(len(things))]
    left, top, width, height = found[chosen, :4]
    window = slice(top, top + height), slice(left, left + width)
    return np.stack([gray[window], (regions[window] == chosen).astype(np.uint8)], 2)


def _ellipse(gray: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sides = [max(4, int(side * rng.uniform(0.1, 0.25))) for side in gray.shape]
    top, left = (int(rng.integers(side - size + 1)) for side, size in zip(gray.shape, sides, strict=True))
    row, column = ((2 * np.arange(size) + 1) / size - 1 for size in sides)
    mask = (np.add.outer(row**2, column**2) <= 1).astype(np.uint8)
    return np.stack([gray[top : top + sides[0], left : left + sides[1]], mask], 2)


def pasted(
    frames: np.ndarray, offsets: tuple[int, ...], thing: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a window with a thing that moves evenly through it, and where it is in the judged frame.

    Args:
        frames: (F, H, W, 3) uint8.
        offsets: Of the frames from the judged one.
        thing: Gray and mask (h, w, 2) uint8.
        rng: Draws its size, side, place and way.

    Returns:
        The frames, and the mask (H, W) float32 of 0 and 1.
    """
    made, (height, width) = frames.copy(), frames.shape[1:3]
    scale = min(rng.uniform(*SIZES), 0.8 * height / thing.shape[0], 0.8 * width / thing.shape[1])
    size = [max(2, round(side * scale)) for side in thing.shape[:2]]
    thing = cv2.resize(thing, size[::-1], interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        thing = np.ascontiguousarray(thing[:, ::-1])
    gray, inside = cv2.GaussianBlur(thing[..., 0], BLUR, 0), thing[..., 1] > 0
    centre = np.array([rng.uniform(0, height), rng.uniform(0, width)])
    speed, angle = height * FASTEST * rng.random(), rng.uniform(0, 2 * math.pi)
    way = speed * np.array([math.sin(angle), math.cos(angle)])
    mask = np.zeros((height, width), np.float32)
    for frame, offset in zip(made, offsets, strict=True):
        top, left = np.round(centre + offset * way - np.array(size) / 2).astype(int)
        rows, columns = (_within(*span) for span in zip((top, left), size, (height, width), strict=True))
        part = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
        frame[rows, columns][inside[part]] = gray[part][inside[part], None]
        if offset == 0:
            mask[rows, columns][inside[part]] = 1
    return made, mask


def _within(start: int, length: int, side: int) -> slice:
    """Return what lies within a side of something that begins at ``start``."""
    first = min(max(0, start), side)
    return slice(first, max(first, min(start + length, side)))
