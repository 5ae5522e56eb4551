"""Synthetic anomalies in normal clips, made of the clips' own frames and objects.

The anomaly lies in the middle of a made clip, and fills it but where an object is replayed; before and after it, the
clip is as it was.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from vadistill.datasets.synthetic.cutouts import Cutout, Placed, background, cut, drawn
from vadistill.datasets.synthetic.placing import STANDING, far_place, hasty_path
from vadistill.datasets.synthetic.replay import Moments, Replayed, moments, replay
from vadistill.datasets.synthetic.tracks import Perspective, Track, feet, follow, motions
from vadistill.datasets.synthetic.vehicles import DRAWN, vehicles
from vadistill.errors import InputError
from vadistill.geometry.boxes import overlaps
from vadistill.settings import LEAST_FRAMES

log = logging.getLogger(__name__)

LEAST_MADE = 4  # frames of an interval that is played fast and what lies around it
BACKWARD = 0.75  # of the abnormal share: so many frames are played backward, between ones that are played forward
ENLARGED = (1.0, 1.6)  # times its size, of kind ``pasted``
TRIES = 5
LEAST_TRACK = 8  # frames
REPLAYED = ("hurried", "halting", "turning")
FIGURE = 1 / 6  # height of a drawn figure, of the frame's


@dataclass(frozen=True)
class NormalClip:
    """A normal clip.

    Attributes:
        frame: (N,) sorted frame numbers of its objects.
        box: (N, 4) their boxes, xyxy in pixels.
        size: Height and width of the frames in pixels.
        usable: The frames that may be used.
        read: Returns a frame (H, W, 3) uint8 by its number.
        stood: (M, 2) where objects stood in clips of the scene, in pixels.
    """

    frame: np.ndarray
    box: np.ndarray
    size: tuple[int, int]
    usable: range
    read: Callable[[int], np.ndarray]
    stood: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass(frozen=True)
class Degree:
    """How abnormal what is made may be.

    Attributes:
        share: Of the made clip that is abnormal.
        pace: Range of the speed of what is played ``fast`` or is ``hurried``.
        haste: Range of the speed of a ``pasted`` or drawn object, times the usual one where it moves.
    """

    share: float
    pace: tuple[float, float]
    haste: tuple[float, float]


@dataclass(frozen=True)
class Plan:
    """A made clip of T frames.

    Attributes:
        source: (T,) which frame of the normal clip each frame shows.
        boxes: (T, 4) float32 xyxy of the anomaly in pixels; zeros where the frame is normal.
        pasted: What is pasted into frames, by their number in the made clip.
    """

    source: np.ndarray
    boxes: np.ndarray
    pasted: dict[int, Placed | Replayed]

    def render(self, t: int, frame: np.ndarray) -> np.ndarray:
        """Return frame t of the made clip, given frame ``source[t]`` of the normal one, both (H, W, 3) uint8."""
        return self.pasted[t].paste(frame) if t in self.pasted else frame


def plan(kind: str, clip: NormalClip, frames: int, degree: Degree, rng: np.random.Generator) -> Plan:
    """Plan an anomaly in a normal clip.

    Args:
        kind: ``fast``: an interval at a higher speed. ``backward``: an interval played backward. ``misplaced``: an
            object of another moment moves where no normal object stands. ``pasted``: a still object, enlarged, slides
            through the scene faster than is usual there. ``hurried``, ``halting``, ``turning``: an object
            passes its own path faster, stops on it, or goes back on it; else, as without objects, one is pasted.
            ``cycling``, ``driving``: a drawn cyclist or cart crosses the scene faster than is usual there.
        clip: The normal clip; where it has no object, ``pasted`` and ``misplaced`` draw a figure, and vehicles are as
            large as if people were a sixth of the frame high.
        frames: Greatest length of the made clip; it is taken from the middle of the usable frames.
        degree: How much of the clip is abnormal, and how fast it is.
        rng: What is pasted where, and how fast.

    Raises:
        InputError: Fewer than 12 frames are usable.
    """
    if len(clip.usable) < LEAST_FRAMES:
        raise InputError(
            f"{len(clip.usable)} usable frames; expected at least {LEAST_FRAMES} for a synthetic anomaly: leave the "
            "clip out of the training clips, or give a longer one"
        )
    count = min(frames, len(clip.usable))
    first = clip.usable.start + (len(clip.usable) - count) // 2
    if kind in ("fast", "backward"):
        if kind == "fast":
            source, abnormal = _fast(count, clip.usable, degree.share, rng.uniform(*degree.pace))
        else:
            source, abnormal = _backward(count, clip.usable, degree.share)
        return Plan(source, abnormal[:, None] * np.array([0, 0, *clip.size[::-1]], np.float32), {})
    source, middle = np.arange(first, first + count), _middle(count, degree.share)
    shown = source[middle]
    pasted: dict[int, Placed | Replayed] = {}
    if kind in REPLAYED:
        pasted = _replayed(clip, shown, moments(kind, rng.uniform(*degree.pace)), first, rng)
    if not pasted:
        placed = _placed(kind, clip, shown, degree.haste, rng)
        pasted = dict(zip(range(count)[middle], placed, strict=True))
    boxes = np.zeros((count, 4), np.float32)
    for t, one in pasted.items():
        boxes[t] = one.box(clip.size)
    return Plan(source, boxes, pasted)


def _placed(
    kind: str, clip: NormalClip, shown: np.ndarray, haste: tuple[float, float], rng: np.random.Generator
) -> Iterator[Placed]:
    """Yield what is pasted into successive frames, of which ``shown`` are the numbers in the normal clip."""
    if kind == "misplaced":
        return _misplaced(clip, shown, rng)
    if kind in DRAWN:
        return _drives(kind, clip, haste, len(shown), rng)
    return _pasted(clip, shown, haste, rng)


def _replayed(
    clip: NormalClip, shown: np.ndarray, moment_of: Moments, first: int, rng: np.random.Generator
) -> dict[int, Placed | Replayed]:
    """Return the changes by frame of the made clip, which begins with frame ``first``; none without an object."""
    tracks = _one_after_another(clip, shown, rng)
    if not tracks:
        log.warning("no object moves for long enough: one is pasted in place of one that is replayed")
        return {}
    empty = background(clip.read, clip.usable)
    return {t - first: change for track in tracks for t, change in replay(track, moment_of, clip.read, empty)}


def _one_after_another(clip: NormalClip, shown: np.ndarray, rng: np.random.Generator) -> list[Track]:
    """Return tracks within the shown frames of which no two are in one frame: long, moving ones, not in a crowd."""
    span = int(shown[0]), int(shown[-1]) + 1
    tracks = [track.between(*span) for track in follow(clip.frame, clip.box)]
    tracks = [track for track in tracks if len(track) >= 2 * LEAST_TRACK and _moves(track)]
    worth = [len(track) * (1.02 - _track_crowding(clip, track)) * rng.uniform(0.7, 1) for track in tracks]
    chosen: list[Track] = []
    for i in np.argsort(worth)[::-1]:
        start, end = tracks[i].start, tracks[i].start + len(tracks[i])
        if all(end <= other.start or start >= other.start + len(other) for other in chosen):
            chosen.append(tracks[i])
    return chosen


def _middle(count: int, share: float) -> slice:
    """Return the middle ``share`` of ``count`` frames."""
    before = round((1 - share) / 2 * count)
    return slice(before, count - before)


def _fast(count: int, usable: range, share: float, pace: float) -> tuple[np.ndarray, np.ndarray]:
    """Return source frames (T,) and which are abnormal (T,): those that are reached by a leap, ``pace`` on average.

    A short clip is played as fast as its frames allow.
    """
    # At most share * T + 1 leaps, each of which passes over pace - 1 frames.
    fastest = 1 + (len(usable) - LEAST_MADE) / (1 + share * LEAST_MADE)
    if pace > fastest:
        log.info("%d usable frames: played at %.3g times the speed in place of %.3g", len(usable), fastest, pace)
        pace = fastest
    made = min(count, max(LEAST_MADE, int((len(usable) - (pace - 1)) / (1 + share * (pace - 1)))))
    step, abnormal = np.ones(made), np.zeros(made, bool)
    abnormal[_middle(made, share)] = True
    step[abnormal] = pace
    return _centred(step, usable), abnormal


def _backward(count: int, usable: range, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return source frames (T,) and which are abnormal (T,): those that are reached by a step back."""
    step = np.ones(count)
    step[_middle(count, BACKWARD * share)] = -1
    return _centred(step, usable), step != 1


def _centred(step: np.ndarray, usable: range) -> np.ndarray:
    """Return the frames (T,) that such steps (T,) lead to, in the middle of the usable ones."""
    path = np.floor(np.cumsum(step)).astype(int)
    path -= path.min()
    return path + usable.start + (len(usable) - 1 - path.max()) // 2


def _misplaced(clip: NormalClip, shown: np.ndarray, rng: np.random.Generator) -> Iterator[Placed]:
    """Yield what is pasted into successive frames, of which ``shown`` are the numbers in the normal clip."""
    tracks = _movers(clip, shown, rng)
    if not tracks:
        log.info("no moving object: a drawn figure takes its place")
        yield from _slides(clip, _figures(clip, rng), (1.0, 1.0), (1.0, 1.0), len(shown), rng)
        return
    empty = background(clip.read, clip.usable)
    perspective, stood = Perspective(clip.box), np.concatenate([feet(clip.box), clip.stood])
    # Where the frame's border hides the feet, nobody is known to stand.
    inside = stood[:, 1] < clip.size[0] - 2
    stood = cKDTree(stood[inside] if inside.any() else stood)
    done = 0
    while done < len(shown):
        track = max(tracks[:TRIES], key=lambda track: _clarity(clip, track, empty))
        # The same one again only where there is no other one.
        tracks = [other for other in tracks if other is not track] or tracks
        track = track.between(track.start, track.start + len(shown) - done)
        cutouts = [cut(clip.read(track.start + i), track.box[i], empty) for i in range(len(track))]
        scale, place = far_place(track, stood, perspective, empty, rng)
        foot = feet(track.box)
        for i, cutout in enumerate(cutouts):
            yield Placed(cutout, scale, place + scale * (foot[i] - foot[0]))
        done += len(track)


def _movers(clip: NormalClip, shown: np.ndarray, rng: np.random.Generator) -> list[Track]:
    """Return tracks of usable frames, best first: moving, long, large and not in a crowd.

    Tracks in shown frames, where the object would be seen twice, serve where there are no others.
    """
    followed = follow(clip.frame, clip.box)
    for parts in (
        [(clip.usable.start, int(shown[0])), (int(shown[-1]) + 1, clip.usable.stop)],
        [(clip.usable.start, clip.usable.stop)],
    ):
        tracks = [track.between(*part) for track in followed for part in parts]
        tracks = [track for track in tracks if len(track) >= LEAST_TRACK and _moves(track)]
        if tracks:
            usual = np.median(clip.box[:, 3] - clip.box[:, 1])
            size = [min(1.0, float((track.box[:, 3] - track.box[:, 1]).mean() / usual)) for track in tracks]
            alone = [1.02 - _track_crowding(clip, track) for track in tracks]
            worth = np.array([min(len(track), len(shown)) for track in tracks]) * size * alone
            # Some chance, so that other seeds show other objects.
            return [tracks[i] for i in np.argsort(-worth * rng.uniform(0.7, 1, len(tracks)))]
    return []


def _clarity(clip: NormalClip, track: Track, empty: np.ndarray) -> float:
    """Return in which share of five frames of a track its object stands out from the background."""
    sampled = np.linspace(0, len(track) - 1, 5).astype(int)
    return float(np.mean([cut(clip.read(track.start + i), track.box[i], empty).outlined for i in sampled]))


def _moves(track: Track) -> bool:
    """Whether an object gets farther than half its height, and faster than one that stands."""
    foot, height = feet(track.box), (track.box[:, 3] - track.box[:, 1]).mean()
    way = np.hypot(*(foot[-1] - foot[0]))
    return way > max(0.5, STANDING * len(track)) * height


def _track_crowding(clip: NormalClip, track: Track) -> float:
    """Return the mean crowding along a track, of every fifth frame."""
    return float(np.mean([_crowding(clip, track.start + i, track.box[i]) for i in range(0, len(track), 5)]))


def _crowding(clip: NormalClip, t: int, box: np.ndarray) -> float:
    """Return the largest share of a box (4,) of frame t that another box covers; 1 at the border of the frame."""
    height, width = clip.size
    if (box[:2] < 1).any() or box[2] > width - 1 or box[3] > height - 1:
        return 1.0
    others = clip.box[slice(*np.searchsorted(clip.frame, (t, t + 1)))]
    shared, own, area = overlaps(box[None], others)
    itself = (shared / (own[:, None] + area - shared)).argmax() if len(others) else 0
    return float(np.delete(shared[0] / own, itself).max(initial=0)) if len(others) else 0.0


def _pasted(
    clip: NormalClip, shown: np.ndarray, haste: tuple[float, float], rng: np.random.Generator
) -> Iterator[Placed]:
    """Yield what is pasted into successive frames, of which ``shown`` are the numbers in the normal clip."""
    inside = np.flatnonzero(np.isin(clip.frame, clip.usable))
    if not len(inside):
        log.info("no object: a drawn figure takes its place")
    objects = _objects(clip, inside, rng) if len(inside) else _figures(clip, rng)
    yield from _slides(clip, objects, ENLARGED, haste, len(shown), rng)


def _objects(clip: NormalClip, rows: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[Cutout, float]]:
    """Yield objects at random, with the row where they stand: large ones, not in a crowd, with an outline."""
    empty = background(clip.read, clip.usable)
    height = clip.box[:, 3] - clip.box[:, 1]
    while True:
        some = rng.choice(rows, 6 * TRIES)
        crowding = np.array([_crowding(clip, int(clip.frame[row]), clip.box[row]) for row in some])
        best = some[np.argsort(crowding - (height[some] / np.median(height[rows])).clip(max=1), kind="stable")][:TRIES]
        cutouts = [cut(clip.read(int(clip.frame[row])), clip.box[row], empty) for row in best]
        chosen = next((i for i, cutout in enumerate(cutouts) if cutout.outlined), 0)
        yield cutouts[chosen], float(clip.box[best[chosen], 3])


def _figures(clip: NormalClip, rng: np.random.Generator) -> Iterator[tuple[Cutout, float]]:
    while True:
        yield drawn(round(FIGURE * clip.size[0]), rng), clip.size[0] / 2


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
