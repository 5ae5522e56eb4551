"""A normal clip, who is where in it, and who can be cut out of it: what synthetic anomalies are made of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from vadistill.datasets.synthetic.cutouts import Cutout, background, cut, drawn
from vadistill.datasets.synthetic.placing import STANDING
from vadistill.datasets.synthetic.tracks import Track, feet, follow
from vadistill.geometry.boxes import overlaps

LEAST_TRACK = 8  # frames
TRIES = 5
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

    def boxes(self, t: int) -> np.ndarray:
        """Return the boxes (n, 4) of frame t."""
        return self.box[slice(*np.searchsorted(self.frame, (t, t + 1)))]


def one_after_another(clip: NormalClip, shown: np.ndarray, rng: np.random.Generator) -> list[Track]:
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


def movers(clip: NormalClip, shown: np.ndarray, rng: np.random.Generator) -> list[Track]:
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


def clarity(clip: NormalClip, track: Track, empty: np.ndarray) -> float:
    """Return in which share of five frames of a track its object stands out from the background."""
    sampled = np.linspace(0, len(track) - 1, 5).astype(int)
    return float(np.mean([cut(clip.read(track.start + i), track.box[i], empty).outlined for i in sampled]))


def cut_objects(clip: NormalClip, rows: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[Cutout, float]]:
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


def drawn_figures(clip: NormalClip, rng: np.random.Generator) -> Iterator[tuple[Cutout, float]]:
    """Yield drawn figures, with the row where each stands, for a clip without objects."""
    while True:
        yield drawn(round(FIGURE * clip.size[0]), rng), clip.size[0] / 2


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
    others = clip.boxes(t)
    shared, own, area = overlaps(box[None], others)
    itself = (shared / (own[:, None] + area - shared)).argmax() if len(others) else 0
    return float(np.delete(shared[0] / own, itself).max(initial=0)) if len(others) else 0.0
