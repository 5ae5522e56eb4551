"""Objects cut out of a frame along their outline, and pasted into another one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

BACKGROUND_FRAMES = 25
MARGIN = 0.15  # of the box's sides that a cut-out adds on each side
OUTSIDE = 0.06  # of the box's sides by which the outline may leave the box
USEFUL = (0.25, 0.95)  # share of the box that an outline covers, else an ellipse is cut
LEAST_EXTENT = np.array([0.6, 0.8])  # of the box's width and height that an outline spans, else it has gaps
LEAST_SOLIDITY = 0.6  # share of its convex hull that an outline fills, else it is torn
DIFFERENCE = (8.0, 20.0)  # grey levels: bounds of the least difference to the background


@dataclass(frozen=True)
class Cutout:
    """An object with its surroundings.

    Attributes:
        image: (h, w, 3) uint8 BGR.
        alpha: (h, w) float32 in [0, 1], soft at the outline.
        box: (4,) xyxy of the object within the image.
        outlined: Whether the outline was found; else it is an ellipse.
    """

    image: np.ndarray
    alpha: np.ndarray
    box: np.ndarray
    outlined: bool


def background(read: Callable[[int], np.ndarray], frames: Sequence[int]) -> np.ndarray:
    """Return the median (H, W, 3) uint8 of at most 25 of the frames, evenly sampled."""
    count = min(len(frames), BACKGROUND_FRAMES)
    stack = np.stack([read(frames[i]) for i in np.linspace(0, len(frames) - 1, count).round().astype(int)])
    stack.partition(count // 2, axis=0)
    return stack[count // 2]


def cut(frame: np.ndarray, box: np.ndarray, empty: np.ndarray) -> Cutout:
    """Cut the object in a box (4,) out of a frame, both (H, W, 3), by its difference to the empty scene.

    An ellipse is cut out where the difference is no compact outline that fills 25 % to 95 % of the box and spans most
    of its width and height.
    """
    height, width = frame.shape[:2]
    margin = MARGIN * np.tile(box[2:] - box[:2], 2) * (-1, -1, 1, 1)
    left, top = np.floor(box + margin)[:2].astype(int).clip(0, (width - 1, height - 1))
    right, bottom = np.ceil(box + margin)[2:].astype(int).clip((left + 1, top + 1), (width, height))
    region = (slice(top, bottom), slice(left, right))
    inner = box - np.tile((left, top), 2)
    mask = _outline(frame[region], empty[region], inner)
    outlined = _useful(mask, inner)
    return Cutout(frame[region].copy(), soft(mask if outlined else ellipse(mask.shape, inner)), inner, outlined)


def _outline(image: np.ndarray, empty: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the mask (h, w) uint8, 0 or 1, of what differs from the background in and close around the box."""
    height, width = image.shape[:2]
    (x1, y1, x2, y2), (box_width, box_height) = box, box[2:] - box[:2]
    difference = cv2.GaussianBlur(cv2.absdiff(image, empty).max(2).astype(np.float32), (0, 0), 0.8)
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    across, down = OUTSIDE * box_width, OUTSIDE * box_height
    near = ((y > y1 - down) & (y < y2 + down))[:, None] & ((x > x1 - across) & (x < x2 + across))
    if not near.any():
        return near.astype(np.uint8)
    least = np.clip(0.35 * np.percentile(difference[near], 95), *DIFFERENCE)
    mask = (near & (difference > least)).astype(np.uint8)
    side = max(3, round(box_height / 14) | 1)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    if not contours:
        return mask
    # The filled outer contour: what is inside an object belongs to it, also where it looks like the background.
    largest = max(contours, key=cv2.contourArea)
    return cv2.drawContours(np.zeros_like(mask), [largest], -1, 1, cv2.FILLED)


def _useful(mask: np.ndarray, box: np.ndarray) -> bool:
    x1, y1, x2, y2 = box.round().astype(int).clip(0)
    covered = mask[y1:y2, x1:x2]
    if not covered.any():
        return False
    outline = max(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=cv2.contourArea)
    extent = np.array(cv2.boundingRect(outline)[2:]) / (box[2:] - box[:2])
    # Pixels rather than the contour's polygon, which passes through their centres and is too small for small objects.
    hull = cv2.fillConvexPoly(np.zeros_like(mask), cv2.convexHull(outline), 1)
    compact = mask.sum() >= LEAST_SOLIDITY * hull.sum()
    return bool(compact and USEFUL[0] <= covered.mean() <= USEFUL[1] and (extent >= LEAST_EXTENT).all())


def ellipse(shape: tuple[int, ...], box: np.ndarray) -> np.ndarray:
    """Return the mask (h, w) uint8, 0 or 1, of the ellipse that touches the sides of a box (4,)."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    (cx, cy), (width, height) = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    return (((x + 0.5 - cx) / (width / 2)) ** 2 + ((y + 0.5 - cy) / (height / 2)) ** 2 <= 1).astype(np.uint8)


def soft(mask: np.ndarray) -> np.ndarray:
    """Return alpha (h, w) float32 of a mask (h, w) of 0 and 1."""
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.6, mask.shape[0] / 120))


def drawn(height: int, rng: np.random.Generator) -> Cutout:
    """Draw a figure, head on body, of a height in pixels: for clips in which there is nothing to cut out."""
    width = max(2, round(0.4 * height))
    box = np.array([2.0, 2.0, 2 + width, 2 + height])
    shape = (height + 4, width + 4)
    head = np.array([2 + 0.3 * width, 2, 2 + 0.7 * width, 2 + 0.22 * height])
    body = np.array([2, 2 + 0.17 * height, 2 + width, 2 + height])
    coarse = rng.integers(0, 256, (4, 3, 3), dtype=np.uint8)
    image = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return Cutout(image, soft(ellipse(shape, head) | ellipse(shape, body)), box, True)


class Change(Protocol):
    """An anomaly in one frame."""

    def box(self, size: tuple[int, int]) -> np.ndarray:
        """Return its box (4,) float32 xyxy in pixels, cut off at the border of a frame of a height and width."""

    def paste(self, frame: np.ndarray) -> np.ndarray:
        """Return the frame (H, W, 3) uint8 with it."""


@dataclass(frozen=True)
class Placed:
    """A cut-out, ``scale`` times as large, that stands with its box's lower middle on ``foot`` (2,) of a frame."""

    cutout: Cutout
    scale: float
    foot: np.ndarray

    def box(self, size: tuple[int, int]) -> np.ndarray:
        """Return the object's box (4,) float32, cut off at the border of a frame of a height and width."""
        box = self.cutout.box * self.scale + np.tile(self._offset(), 2)
        return box.clip(0, (size[1], size[0]) * 2).astype(np.float32)

    def paste(self, frame: np.ndarray) -> np.ndarray:
        """Return the frame (H, W, 3) uint8 with the object."""
        height, width = frame.shape[:2]
        offset, scale = self._offset(), self.scale
        end = offset + scale * np.array(self.cutout.alpha.shape[::-1])
        left, top = np.floor(offset).astype(int).clip(0, (width, height))
        right, bottom = np.ceil(end).astype(int).clip((left, top), (width, height))
        if right == left or bottom == top:
            return frame
        # Pixel centres lie at halves.
        shift = offset - (left, top) + (scale - 1) / 2
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        target = (int(right - left), int(bottom - top))
        image = cv2.warpAffine(self.cutout.image, matrix, target, borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.warpAffine(self.cutout.alpha, matrix, target)[..., None]
        made = frame.copy()
        part = made[top:bottom, left:right]
        part[:] = np.rint(alpha * image + (1 - alpha) * part).astype(np.uint8)
        return made

    def _offset(self) -> np.ndarray:
        """Return where (2,) the upper left corner of the cut-out's image lies in the frame."""
        x1, _, x2, y2 = self.cutout.box
        return self.foot - self.scale * np.array([(x1 + x2) / 2, y2])


@dataclass(frozen=True)
class Covered:
    """A pasted object ``behind`` others, which stand ``before`` it as they did in the frame."""

    behind: Placed
    before: tuple[Placed, ...]

    def box(self, size: tuple[int, int]) -> np.ndarray:
        """Return the box (4,) float32 of the object behind, what is covered included."""
        return self.behind.box(size)

    def paste(self, frame: np.ndarray) -> np.ndarray:
        """Return the frame (H, W, 3) uint8 with the object."""
        made = self.behind.paste(frame)
        for one in self.before:
            made = one.paste(made)
        return made
