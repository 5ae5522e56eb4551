"""One object of a normal clip replayed on its own path, while all else in the frame goes on as it was.

It hurries, halts, turns back or is larger than it was. Nothing is new in the frame, and nothing else changes: neither
more objects nor more motion of the whole picture tells the anomaly, as they tell what is pasted or played fast.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vadistill.datasets.synthetic.cutouts import Cutout, Placed, cut
from vadistill.datasets.synthetic.tracks import Track, feet

HALT, TURN = 1 / 3, 1 / 2  # share of its track after which an object halts, or turns back
LEAST_PACE = 1.25  # times its own speed, from which on an object hurries
HIDING = 0.06  # of the box's height by which what hides an object goes beyond its outline

Moments = Callable[[int, int], int]
"""Gives the moment of its track, of ``length`` frames, that an object shows at moment i."""


@dataclass(frozen=True)
class Replayed:
    """What is changed in a frame.

    Attributes:
        hidden: The empty scene, where the object is in the normal clip.
        shown: The object as it is at another moment.
    """

    hidden: Placed
    shown: Placed

    def box(self, size: tuple[int, int]) -> np.ndarray:
        """Return the object's box (4,) float32 in a frame of a height and width."""
        return self.shown.box(size)

    def paste(self, frame: np.ndarray) -> np.ndarray:
        """Return the frame (H, W, 3) uint8 with the change."""
        return self.shown.paste(self.hidden.paste(frame))


def moments(kind: str, pace: float) -> Moments:
    """Return which moments of its track an object shows; it is never gone, so that every changed frame is abnormal.

    Args:
        kind: ``hurried``: it passes its path ``pace`` times as fast, back and forth. ``halting``: it stops on its way.
            ``turning``: it goes back as it came. ``oversized``: it goes on as it did.
        pace: Of ``hurried``; lower ones than ``LEAST_PACE`` are raised.
    """

    def hurried(i: int, length: int) -> int:
        last = length - 1
        passed = int(i * max(pace, LEAST_PACE)) % (2 * last)
        return min(passed, 2 * last - passed)

    def halting(i: int, length: int) -> int:
        return min(i, int(HALT * length))

    def turning(i: int, length: int) -> int:
        return min(i, 2 * int(TURN * length) - i)

    def oversized(i: int, length: int) -> int:
        return i

    return {"hurried": hurried, "halting": halting, "turning": turning, "oversized": oversized}[kind]


def replay(
    track: Track, moment_of: Moments, read: Callable[[int], np.ndarray], empty: np.ndarray, scale: float = 1.0
) -> Iterator[tuple[int, Replayed]]:
    """Yield the frames of a track that are changed, with their change.

    Args:
        track: Of the object.
        moment_of: Which moment it shows.
        read: Returns a frame (H, W, 3) uint8 by its number.
        empty: (H, W, 3) the scene without objects.
        scale: How many times as large it is shown.
    """
    foot = feet(track.box)
    for i in range(len(track)):
        moment = moment_of(i, len(track))
        if moment == i and scale == 1:
            continue
        hidden = Placed(_hiding(cut(read(track.start + i), track.box[i], empty), track.box[i], empty), 1.0, foot[i])
        shown = Placed(cut(read(track.start + moment), track.box[moment], empty), scale, foot[moment])
        yield track.start + i, Replayed(hidden, shown)


def _hiding(cutout: Cutout, box: np.ndarray, empty: np.ndarray) -> Cutout:
    """Return the empty scene in the outline of an object, or else in its box, a little larger."""
    height, width = cutout.alpha.shape
    mask = cutout.alpha
    if not cutout.outlined:
        x1, y1, x2, y2 = np.rint(cutout.box).astype(int).clip(0)
        mask = np.zeros_like(mask)
        mask[y1:y2, x1:x2] = 1
    left, top = np.rint(box[:2] - cutout.box[:2]).astype(int)
    side = 2 * max(1, round(HIDING * (box[3] - box[1]))) + 1
    alpha = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return replace(cutout, image=empty[top : top + height, left : left + width].copy(), alpha=alpha)
