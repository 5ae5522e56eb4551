"""What is pasted into successive frames of a normal clip: objects and vehicles, where, how large and how fast."""

import logging
from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from vadistill.datasets.synthetic.cutouts import Change, Covered, Cutout, Placed, background, cut
from vadistill.datasets.synthetic.normal_clip import FIGURE, TRIES, NormalClip, clarity, figures, movers, objects
from vadistill.datasets.synthetic.placing import far_place, hasty_path
from vadistill.datasets.synthetic.tracks import Perspective, feet, follow, motions
from vadistill.datasets.synthetic.vehicles import DRAWN, vehicles
from vadistill.geometry.boxes import overlaps

log = logging.getLogger(__name__)

ENLARGED, OVERSIZED = (1.0, 1.6), (1.7, 2.5)  # times the usual size there
SEVERAL = (2, 4)  # objects at once
WAYS = 8  # that are tried for an occluded object
# Of an occluded object's box: where less is seen, the frame stays as it is; where more is, it counts as not hidden.
SEEN = (0.25, 0.8)


def changes(
    kind: str, clip: NormalClip, shown: np.ndarray, haste: tuple[float, float], rng: np.random.Generator
) -> Iterator[tuple[Change, ...]]:
    """Yield what is pasted into each of successive frames, what is farther away first.

    Args:
        kind: As in ``anomalies.plan``, but none that is played or replayed.
        clip: The normal clip.
        shown: (T,) numbers of the frames in the normal clip.
        haste: Range of the speed, times the usual one.
        rng: All choices.
    """
    if kind == "several":
        count = int(rng.integers(SEVERAL[0], SEVERAL[1] + 1))
        for those in zip(*(pasted(clip, len(shown), ENLARGED, haste, rng) for _ in range(count)), strict=True):
            nearest_last = sorted(those, key=lambda one: one.foot[1])
            yield tuple(nearest_last)
    elif kind == "occluded":
        yield from _occluded(clip, shown, haste, rng)
    else:
        for one in _alone(kind, clip, shown, haste, rng):
            yield (one,)


def _alone(
    kind: str, clip: NormalClip, shown: np.ndarray, haste: tuple[float, float], rng: np.random.Generator
) -> Iterator[Placed]:
    """Return the one object of each frame."""
    if kind == "misplaced":
        return _misplaced(clip, shown, rng)
    if kind in DRAWN:
        return _drives(kind, clip, haste, len(shown), rng)
    if kind == "oversized":
        return pasted(clip, len(shown), OVERSIZED, (1.0, 1.0), rng)
    return pasted(clip, len(shown), ENLARGED, haste, rng)


def _occluded(
    clip: NormalClip, shown: np.ndarray, haste: tuple[float, float], rng: np.random.Generator
) -> Iterator[tuple[Change, ...]]:
    """Yield one object after another, behind whoever stands nearer to the camera; nothing where hardly any is seen.

    Of some paths, it takes the one on which it is partly hidden most often.
    """
    ways = [list(pasted(clip, len(shown), (1.0, 1.0), haste, rng)) for _ in range(WAYS)]
    nearer = [[_nearer(clip, int(t), one) for t, one in zip(shown, way, strict=True)] for way in ways]
    seen = np.array(
        [
            [_seen(one.box(clip.size), boxes) for one, boxes in zip(way, before, strict=True)]
            for way, before in zip(ways, nearer, strict=True)
        ]
    )
    best = int(((seen >= SEEN[0]) & (seen <= SEEN[1])).sum(1).argmax())
    empty = background(clip.read, clip.usable)
    for t, one, before, share in zip(shown, ways[best], nearer[best], seen[best], strict=True):
        frame = clip.read(int(t)) if before else empty
        cutouts = tuple(Placed(cut(frame, box, empty), 1.0, feet(box[None])[0]) for box in before)
        yield (Covered(one, cutouts),) if share >= SEEN[0] else ()


def _nearer(clip: NormalClip, t: int, one: Placed) -> list[np.ndarray]:
    """Return the boxes (4,) of frame t that lie over a pasted object and stand nearer to the camera."""
    place = one.box(clip.size)
    over = overlaps(place[None], clip.boxes(t))[0][0] > 0
    return [box for box in clip.boxes(t)[over] if box[3] > one.foot[1]]


def _seen(box: np.ndarray, before: list[np.ndarray]) -> float:
    """Return the share of the pixels of a box (4,) that no box (4,) before it covers; 0 of an empty one."""
    x1, y1, x2, y2 = np.rint(box).astype(int)
    seen = np.ones((y2 - y1, x2 - x1), bool)
    for other in before:
        left, top, right, bottom = np.rint(other - np.tile((x1, y1), 2)).astype(int).clip(0)
        seen[top:bottom, left:right] = False
    return float(seen.mean()) if seen.size else 0.0


def _misplaced(clip: NormalClip, shown: np.ndarray, rng: np.random.Generator) -> Iterator[Placed]:
    """Yield what is pasted into successive frames, of which ``shown`` are the numbers in the normal clip."""
    tracks = movers(clip, shown, rng)
    if not tracks:
        log.info("no moving object: a drawn figure takes its place")
        yield from _slides(clip, figures(clip, rng), (1.0, 1.0), (1.0, 1.0), len(shown), rng)
        return
    empty = background(clip.read, clip.usable)
    perspective, stood = Perspective(clip.box), np.concatenate([feet(clip.box), clip.stood])
    # Where the frame's border hides the feet, nobody is known to stand.
    inside = stood[:, 1] < clip.size[0] - 2
    stood = cKDTree(stood[inside] if inside.any() else stood)
    done = 0
    while done < len(shown):
        track = max(tracks[:TRIES], key=lambda track: clarity(clip, track, empty))
        # The same one again only where there is no other one.
        tracks = [other for other in tracks if other is not track] or tracks
        track = track.between(track.start, track.start + len(shown) - done)
        cutouts = [cut(clip.read(track.start + i), track.box[i], empty) for i in range(len(track))]
        scale, place = far_place(track, stood, perspective, empty, rng)
        foot = feet(track.box)
        for i, cutout in enumerate(cutouts):
            yield Placed(cutout, scale, place + scale * (foot[i] - foot[0]))
        done += len(track)


def pasted(
    clip: NormalClip, count: int, enlarged: tuple[float, float], haste: tuple[float, float], rng: np.random.Generator
) -> Iterator[Placed]:
    """Yield one still object after another that slides through ``count`` frames; the ranges are as in ``_slides``."""
    inside = np.flatnonzero(np.isin(clip.frame, clip.usable))
    if not len(inside):
        log.info("no object: a drawn figure takes its place")
    chosen = objects(clip, inside, rng) if len(inside) else figures(clip, rng)
    yield from _slides(clip, chosen, enlarged, haste, count, rng)


def _slides(
    clip: NormalClip,
    objects: Iterator[tuple[Cutout, float]],
    enlarged: tuple[float, float],
    haste: tuple[float, float],
    count: int,
    rng: np.random.Generator,
) -> Iterator[Placed]:
    """Yield one object after another as it slides through the frame, in ``count`` frames altogether.

    Args:
        clip: Its objects tell the usual place, direction, speed and size.
        objects: What slides, and on which row (pixels) each stood.
        enlarged: Range of the size, times the usual one where it slides.
        haste: Range of the speed, times the usual one.
        count: Number of frames.
        rng: All choices.
    """
    perspective = Perspective(clip.box)
    moved = motions(follow(clip.frame, clip.box))
    while count > 0:
        cutout, origin = next(objects)
        grown, height = rng.uniform(*enlarged), perspective.body(cutout.box[3] - cutout.box[1], origin)
        path = hasty_path(moved, height, clip.size, haste, count, rng)
        for foot in path:
            yield Placed(cutout, grown * float(perspective.scale(foot[1], origin)), foot)
        count -= len(path)


def _drives(
    kind: str, clip: NormalClip, haste: tuple[float, float], count: int, rng: np.random.Generator
) -> Iterator[Placed]:
    """Yield one vehicle after another as it crosses the frame, in ``count`` frames altogether."""
    perspective = Perspective(clip.box)
    usual = float(np.median(clip.box[:, 3])) if len(clip.box) else clip.size[0] / 2
    tall = float(np.median(clip.box[:, 3] - clip.box[:, 1])) if len(clip.box) else FIGURE * clip.size[0]
    height = perspective.body(tall, usual)
    moved, frame = motions(follow(clip.frame, clip.box)), clip.read(clip.usable.start)
    while count > 0:
        path = hasty_path(moved, height, clip.size, haste, count, rng)
        yield from vehicles(kind, path, height, frame, rng)
        count -= len(path)
