"""What is pasted into successive frames of a normal clip: objects and vehicles, where, how large and how fast."""

import logging
from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from vadistill.datasets.synthetic.cutouts import Change, Placed, background, cut
from vadistill.datasets.synthetic.normal_clip import FIGURE, TRIES, NormalClip, clarity, movers
from vadistill.datasets.synthetic.occlusion import LEAST_SEEN, occluded, seen
from vadistill.datasets.synthetic.placing import far_place, hasty_path
from vadistill.datasets.synthetic.sliding import Sliding
from vadistill.datasets.synthetic.tracks import Perspective, feet, follow, motions
from vadistill.datasets.synthetic.vehicles import DRAWN, vehicles

log = logging.getLogger(__name__)

ENLARGED, OVERSIZED = (1.0, 1.6), (1.7, 2.5)  # times the usual size there, or the own one where it is replayed
SEVERAL = (2, 4)  # objects at once


def changes(
    kind: str, clip: NormalClip, shown: np.ndarray, haste: tuple[float, float], rng: np.random.Generator
) -> Iterator[tuple[Change, ...]]:
    """Yield what is pasted into each of successive frames, what is farther away first; it may be nothing.

    Args:
        kind: As in ``anomalies.plan``, but none that is played or replayed.
        clip: The normal clip.
        shown: (T,) numbers of the frames in the normal clip.
        haste: Range of the speed, times the usual one; not of what is ``misplaced`` or ``oversized``.
        rng: All choices.
    """
    if kind == "occluded":
        yield from occluded(clip, shown, haste, rng)
    elif kind == "several":
        yield from _several(clip, len(shown), haste, rng)
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
        return Sliding(clip, OVERSIZED, (1.0, 1.0), rng).frames(len(shown))
    return Sliding(clip, ENLARGED, haste, rng).frames(len(shown))


def _several(
    clip: NormalClip, count: int, haste: tuple[float, float], rng: np.random.Generator
) -> Iterator[tuple[Change, ...]]:
    """Yield those of each of ``count`` frames that can be seen, the nearest last."""
    sliding = Sliding(clip, ENLARGED, haste, rng)
    at_once = int(rng.integers(SEVERAL[0], SEVERAL[1] + 1))
    for those in zip(*(sliding.frames(count) for _ in range(at_once)), strict=True):
        placed = sorted(those, key=lambda one: one.foot[1])
        boxes = np.array([one.box(clip.size) for one in placed])
        yield tuple(one for i, one in enumerate(placed) if seen(boxes[i], boxes[i + 1 :]) >= LEAST_SEEN)


def _misplaced(clip: NormalClip, shown: np.ndarray, rng: np.random.Generator) -> Iterator[Placed]:
    """Yield what is pasted into successive frames, of which ``shown`` are the numbers in the normal clip."""
    tracks = movers(clip, shown, rng)
    if not tracks:
        log.info("no moving object: a drawn figure takes its place")
        yield from Sliding(clip, (1.0, 1.0), (1.0, 1.0), rng, drawn=True).frames(len(shown))
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
