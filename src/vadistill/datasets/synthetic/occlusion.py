"""Who stands before a pasted object, and what of it is still seen."""

import logging
from dataclasses import dataclass

import numpy as np

from vadistill.datasets.synthetic.cutouts import Change, Covered, Placed, background, cut
from vadistill.datasets.synthetic.normal_clip import NormalClip
from vadistill.datasets.synthetic.sliding import Sliding
from vadistill.datasets.synthetic.tracks import Track, feet
from vadistill.geometry.boxes import overlaps

log = logging.getLogger(__name__)

WAYS = 8  # that are tried for each object
LEAST_SEEN = 0.25  # of an object's box; where less is seen, it is left out
MOST_SEEN = 0.8  # of the box of an object that counts as partly hidden


@dataclass(frozen=True)
class _Behind:
    """A pasted object, the boxes (n, 4) of those who stand before it, and which share of its own box is seen."""

    one: Placed
    before: np.ndarray
    seen: float


def occluded(
    clip: NormalClip, shown: np.ndarray, haste: tuple[float, float], rng: np.random.Generator
) -> list[tuple[Change, ...]]:
    """Return one object after another, on the way on which most of its frames show a part of it.

    Args:
        clip: The normal clip.
        shown: (T,) numbers of the frames in it.
        haste: Range of the speed, times the usual one.
        rng: All choices.

    Returns:
        The change of each of the T frames, none where hardly any of the object would be seen.
    """
    sliding, way = Sliding(clip, (1.0, 1.0), haste, rng), list[_Behind]()
    while len(way) < len(shown):
        left = shown[len(way) :].tolist()
        ways = [_behind(clip, sliding, left) for _ in range(WAYS)]
        way += max(ways, key=lambda some: sum(LEAST_SEEN <= each.seen <= MOST_SEEN for each in some))
    if all(each.seen < LEAST_SEEN for each in way):
        log.warning("whoever stands nearer hides what is pasted in every frame: it is pasted before them")
        return [(each.one,) for each in way]
    if all(each.seen > MOST_SEEN for each in way):
        log.warning("nobody stands nearer than what is pasted: it is seen whole")
    empty = background(clip.read, clip.usable)
    return [_covered(clip, t, each, empty) for t, each in zip(shown.tolist(), way, strict=True)]


def seen(box: np.ndarray, before: np.ndarray) -> float:
    """Return the share of the pixels of a box (4,) that no box (n, 4) before it covers; 0 of an empty one."""
    x1, y1, x2, y2 = np.rint(box).astype(int)
    visible = np.ones((y2 - y1, x2 - x1), bool)
    for left, top, right, bottom in np.rint(before - np.tile((x1, y1), 2)).astype(int).clip(0):
        visible[top:bottom, left:right] = False
    return float(visible.mean()) if visible.size else 0.0


def _behind(clip: NormalClip, sliding: Sliding, shown: list[int]) -> list[_Behind]:
    """Return the next object that slides through the shown frames, with who stands before it."""
    way = []
    for t, one in zip(shown, sliding.one(len(shown)), strict=False):
        box = one.box(clip.size)
        before = _nearer(sliding.tracks, t, box, one.foot[1])
        way.append(_Behind(one, before, seen(box, before)))
    return way


def _nearer(tracks: list[Track], t: int, box: np.ndarray, row: float) -> np.ndarray:
    """Return the boxes (n, 4) of frame t that lie over a box (4,), and whose feet are below a row of pixels.

    Those of tracks, so that nobody whom the detector misses for a frame falls behind for it.
    """
    there = [track.box[t - track.start] for track in tracks if track.start <= t < track.start + len(track)]
    boxes = np.array(there).reshape(-1, 4)
    return boxes[(overlaps(box[None], boxes)[0][0] > 0) & (boxes[:, 3] > row)]


def _covered(clip: NormalClip, t: int, behind: _Behind, empty: np.ndarray) -> tuple[Change, ...]:
    """Return the change of frame t: the object behind the cut-outs of those before it, which stay where they are."""
    if behind.seen < LEAST_SEEN:
        return ()
    if not len(behind.before):
        return (behind.one,)
    frame = clip.read(t)
    before = (Placed(cut(frame, box, empty), 1.0, feet(box[None])[0]) for box in behind.before)
    return (Covered(behind.one, tuple(before)),)
