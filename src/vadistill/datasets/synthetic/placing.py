"""Where synthetic anomalies go: places where normal objects do not stand, and hasty paths over usual ground."""

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

from vadistill.datasets.synthetic.tracks import Perspective, Track, feet

USUAL_SPEED = (0.05, 0.15)  # body heights a frame, where nothing tells the usual one
STANDING = 0.015  # body heights a frame; what is slower stands
NEIGHBOURS = 50  # nearest motions that tell the usual speed
TURN = 0.3  # radians by which a path leaves the usual direction
PATHS = 5  # that are tried
FAR = 0.5  # body heights from all normal places; farther is not more abnormal
GRID = 16  # rows, and columns in each, that are tried as places
ROWS = (1, 99)  # percentiles: between these rows normal objects stand


def far_place(
    track: Track,
    stood: cKDTree,
    perspective: Perspective,
    empty: np.ndarray,
    rng: np.random.Generator,
) -> tuple[float, np.ndarray]:
    """Return the scale of a track and the place (2,) of its first foot: far from where normal objects ``stood``.

    Of the places that are far enough, or else the farthest ones, one beside or before the usual ground, rather than in
    the air above it, and where the scene is plain and looks like the one that the object comes from: it is seen there
    as well as it was.

    Args:
        track: How the object moves.
        stood: Where normal objects stood, in pixels.
        perspective: Usual heights.
        empty: (H, W, 3) the scene without objects.
        rng: Chooses one of the best places.
    """
    height, width = empty.shape[:2]
    foot = feet(track.box)
    first = np.percentile(stood.data[:, 1], ROWS[0])
    found = [(0.0, 0.0, 1.0, foot[0])]  # distance, rows above the usual ground, scale, place
    for row in np.linspace(0, height, GRID):
        scale = float(perspective.scale(row, foot[0, 1]))
        around = scale * (track.box - np.tile(foot[0], 2))  # where the boxes lie if the first foot is at (0, 0)
        if row + around[:, 1].min() < 0 or row + around[:, 3].max() > height:
            continue
        left, right = -around[:, 0].min(), width - around[:, 2].max()
        steps = scale * (foot[:: max(1, len(foot) // 4)] - foot[0])
        body = scale * (track.box[:, 3] - track.box[:, 1]).mean()
        for column in np.linspace(left, right, GRID) if left <= right else []:
            place = np.array([column, row])
            distance = (stood.query(place + steps)[0] / body).clip(max=FAR).mean()
            found.append((float(distance), max(first - row, 0.0), scale, place))
    best = max(distance for distance, *_ in found)
    far = [choice for choice in found if choice[0] >= 0.9 * best]
    above = min(choice[1] for choice in far)
    usual = [(scale, place) for _, rows, scale, place in far if rows <= above]
    middle = track.box[[0, len(foot) // 2, -1]] - np.tile(foot[0], 2)
    come_from = _colours(empty, np.tile(foot[0], 2) + middle)
    unlike = []
    for scale, place in usual:
        colours = _colours(empty, np.tile(place, 2) + scale * middle)
        unlike.append(np.abs(colours[0] - come_from[0]).mean() + colours[1].mean())
    return usual[rng.choice(np.argsort(unlike, kind="stable")[: -(-len(usual) // 8)])]


def _colours(scene: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the colours (N, 3) of a scene (H, W, 3) in boxes (N, 4)."""
    parts = [scene[y1 : y2 + 1, x1 : x2 + 1].reshape(-1, 3) for x1, y1, x2, y2 in boxes.astype(int)]
    return np.array([part.mean(0) for part in parts]), np.array([part.std(0) for part in parts])


def hasty_path(
    moved: tuple[np.ndarray, np.ndarray],
    height: Callable[[float], float],
    size: tuple[int, int],
    haste: tuple[float, float],
    most: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the feet (T, 2) of an object in successive frames, in pixels: a straight path over usual ground.

    Args:
        moved: Where objects were (N, 2), in pixels, and how they moved there (N, 2), in own heights a frame.
        height: Of the object's body in pixels, by the row of its foot.
        size: Height and width of the frame.
        haste: Range of the speed, times the usual one.
        most: Greatest number of frames.
        rng: All choices.
    """
    place, velocity = moved
    moving = np.hypot(*velocity.T) > STANDING
    place, velocity = place[moving], velocity[moving]
    rows = tuple(np.percentile(place[:, 1], ROWS)) if len(place) else (0.0, float(size[0]))
    paths = []
    for _ in range(PATHS):
        anchor, step = _hasty_step(place, velocity, size, haste, rng)
        paths.append(_path(anchor, step, height, size[1], rows, most))
    # Paths that only cut a corner of the frame lose against those that cross it.
    return max(paths, key=len)[:most]


def _hasty_step(
    place: np.ndarray, velocity: np.ndarray, size: tuple[int, int], haste: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a place (2,) in pixels where objects move, and a hasty step (2,) there in body heights a frame.

    Args:
        place: (N, 2) where objects moved.
        velocity: (N, 2) how they moved there, in body heights a frame.
        size: Height and width of the frame.
        haste: Range of the speed, times the usual one.
        rng: All choices.
    """
    if not len(place):
        angle = rng.uniform(-TURN, TURN) + np.pi * rng.integers(2)
        anchor = rng.uniform((0.2, 0.4), (0.8, 0.9)) * size[::-1]
        return anchor, rng.uniform(*USUAL_SPEED) * np.array([np.cos(angle), np.sin(angle)])
    pace = np.hypot(*velocity.T)
    chosen = rng.choice(len(place), p=pace / pace.sum())
    near = np.argsort(np.hypot(*(place - place[chosen]).T), kind="stable")[:NEIGHBOURS]
    speed = np.percentile(pace[near], 75) * rng.uniform(*haste)
    angle = np.arctan2(*velocity[chosen, ::-1]) + rng.uniform(-TURN, TURN)
    return place[chosen], speed * np.array([np.cos(angle), np.sin(angle)])


def _path(
    anchor: np.ndarray,
    step: np.ndarray,
    height: Callable[[float], float],
    width: int,
    rows: tuple[float, float],
    most: int,
) -> np.ndarray:
    """Return the feet (T, 2) on a straight path through an anchor (2,), from one end of the usual ground to the other.

    Args:
        anchor: Pixels.
        step: (2,) in body heights a frame.
        height: Of a body in pixels, by the row of its foot.
        width: Of the frame in pixels.
        rows: The first and last one of the usual ground.
        most: Greatest number of steps on each side of the anchor.
    """
    sides = []
    for sign in (-1, 1):
        side: list[np.ndarray] = []
        foot = anchor
        while len(side) < most:
            foot = foot + sign * step * height(foot[1])
            if not (0 <= foot[0] <= width and rows[0] <= foot[1] <= rows[1]):
                break
            side.append(foot)
        sides.append(side)
    return np.array([*sides[0][::-1], anchor, *sides[1]])
