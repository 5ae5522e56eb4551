"""One object of a normal clip replayed on its own path, while all else in the frame goes on as it was.

It hurries, halts or turns back. Nothing is new in the frame, and nothing else changes: neither more objects nor more
motion of the whole picture tells the anomaly, as they tell what is pasted or played fast.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vadistill.datasets.synthetic.cutouts import Cutout, Placed, cut
from vadistill.datasets.synthetic.tracks import Track, feet

HALT, TURN = 1 / 3, 1 / 2  # share of its track after which an object halts, or turns back
HIDING = 0.06  # of the box's height by which what hides an object goes beyond its outline

Moments = Callable[[int, int], int | None]
"""Gives the moment of its track that an object of ``length`` frames shows at moment i; None: it has left."""


@dataclass(frozen=True)
class Replayed:
    """What is changed in a frame.

    Attributes:
        hidden: The empty scene, where the object is in the normal clip.
        shown: The object as it is at another moment; None where it has left.
    """

    hidden: Placed
    shown: Placed | None

    def box(self, size: tuple[int, int]) -> np.ndarray:
        """Return the object's box (4,) float32 in a frame of a height and width; zeros where it has left."""
        return self.shown.box(size) if self.shown else np.zeros(4, np.float32)

    def paste(self, frame: np.ndarray) -> np.ndarray:
        """Return the frame (H, W, 3) uint8 with the change."""
        made = self.hidden.paste(frame)
        return self.shown.paste(made) if self.shown else made


def moments(kind: str, pace: float) -> Moments:
    """Return which moments of its track an object shows.

    Args:
        kind: ``hurried``: its path is passed ``pace`` times as fast. ``halting``: it stops on its way. ``turning``: it
            goes back as it came.
        pace: Of ``hurried``.
    """

    def hurried(i: int, length: int) -> int | None:
        return moment if (moment := int(i * pace)) < length else None

    def halting(i: int, length: int) -> int | None:
        return min(i, int(HALT * length))

    def turning(i: int, length: int) -> int | None:
        turn = int(TURN * length)
        return moment if (moment := i if i <= turn else 2 * turn - i) >= 0 else None

    return {"hurried": hurried, "halting": halting, "turning": turning}[kind]


def replay(
    track: Track, moment_of: Moments, read: Callable[[int], np.ndarray], empty: np.ndarray
) -> Iterator[tuple[int, Replayed]]:
    """Yield the frames of a track that are changed, with their change.

    Args:
        track: Of the object.
        moment_of: Which moment it shows.
        read: Returns a frame (H, W, 3) uint8 by its number.
        empty: (H, W, 3) the scene without objects.
    """
    foot = feet(track.box)
    for i in range(len(track)):
        moment = moment_of(i, len(track))
        if moment == i:
            continue
        hidden = Placed(_hiding(cut(read(track.start + i), track.box[i], empty), track.box[i], empty), 1.0, foot[i])
        shown = None
        if moment is not None:
            cutout = cut(read(track.start + moment), track.box[moment], empty)
            shown = Placed(cutout, 1.0, foot[moment])
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
