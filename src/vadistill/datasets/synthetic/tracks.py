"""Objects followed from frame to frame, and what is usual of them: their speed and their height by place."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from vadistill.geometry.boxes import overlaps

GAP = 3  # frames over which a missed object is looked for
LEAST_IOU = 0.3
SMOOTHING = 5  # frames over which the corners of a box are averaged
SPEED_STEP = 5  # frames over which speed is measured; a detector's boxes tremble


@dataclass(frozen=True)
class Track:
    """One object: its smoothed boxes (T, 4) xyxy in pixels, one for every frame from ``start`` on."""

    start: int
    box: np.ndarray

    def __len__(self) -> int:
        return len(self.box)

    def between(self, first: int, last: int) -> "Track":
        """Return the part in the frames first <= t < last, which may be empty."""
        begin, end = max(0, first - self.start), max(0, last - self.start)
        return Track(self.start + begin, self.box[begin:end])


def follow(frame: np.ndarray, box: np.ndarray) -> list[Track]:
    """Join boxes of successive frames that overlap most to tracks of at least two frames.

    Args:
        frame: (N,) frame numbers, sorted.
        box: (N, 4) xyxy in pixels.
    """
    tracks: list[list[int]] = []
    active: list[list[int]] = []
    for rows in np.split(np.arange(len(frame)), np.flatnonzero(np.diff(frame)) + 1) if len(frame) else []:
        active = [track for track in active if frame[rows[0]] - frame[track[-1]] <= GAP]
        shared, old, new = overlaps(box[[track[-1] for track in active]].reshape(-1, 4), box[rows])
        iou = shared / (old[:, None] + new[None, :] - shared)
        unmatched = set(range(len(rows)))
        for track, row in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
            if iou[track, row] >= LEAST_IOU:
                active[track].append(rows[row])
                unmatched.discard(row)
        started = [[rows[row]] for row in sorted(unmatched)]
        tracks += started
        active += started
    return [_smoothed(frame[track], box[track]) for track in tracks if len(track) > 1]


def _smoothed(frame: np.ndarray, box: np.ndarray) -> Track:
    times = np.arange(frame[0], frame[-1] + 1)
    filled = np.stack([np.interp(times, frame, corner) for corner in box.T], 1)
    padded = np.pad(filled, ((SMOOTHING // 2, SMOOTHING // 2), (0, 0)), mode="edge")
    return Track(int(times[0]), np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING, 0).mean(-1))


def feet(box: np.ndarray) -> np.ndarray:
    """Return the lower middle (N, 2) of boxes (N, 4): where an object stands."""
    return np.stack([(box[:, 0] + box[:, 2]) / 2, box[:, 3]], 1)


def motions(tracks: list[Track]) -> tuple[np.ndarray, np.ndarray]:
    """Return where tracks were (N, 2), in pixels, and their velocity there (N, 2) in own heights a frame."""
    places, velocities = [np.zeros((0, 2))], [np.zeros((0, 2))]
    for track in tracks:
        foot, height = feet(track.box), track.box[:, 3] - track.box[:, 1]
        places.append(foot[:-SPEED_STEP])
        velocities.append((foot[SPEED_STEP:] - foot[:-SPEED_STEP]) / SPEED_STEP / height[:-SPEED_STEP, None])
    return np.concatenate(places), np.concatenate(velocities)


class Perspective:
    """The usual height of objects by the row on which they stand: a straight line within what was seen."""

    def __init__(self, box: np.ndarray) -> None:
        """Fit to boxes (N, 4); of too few of them, the height is the same everywhere."""
        height, row = box[:, 3] - box[:, 1], box[:, 3]
        self.line, self.range = np.array([0.0, 1.0]), (1.0, 1.0)
        if len(box) >= 20 and row.std() > 1:
            self.line, self.range = np.polyfit(row, height, 1), tuple(np.percentile(height, (5, 95)))

    def scale(self, row: np.ndarray | float, origin: np.ndarray | float) -> np.ndarray:
        """Return by how much an object that stands on the row ``origin`` grows when it is moved to ``row``."""
        return self._height(row) / self._height(origin)

    def body(self, height: float, origin: float) -> Callable[[float], float]:
        """Return the height of an object by its row, if it has this height on the row ``origin``."""
        return lambda row: height * float(self.scale(row, origin))

    def _height(self, row: np.ndarray | float) -> np.ndarray:
        return np.clip(np.polyval(self.line, row), *self.range)
