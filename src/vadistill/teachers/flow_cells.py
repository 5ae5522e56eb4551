"""Nearest neighbours of the motion of a cell among normal moving cells; it needs no boxes, and nothing is trained.

Motion is seen relative to what is usual in the cell's row. A cell is described by its flow, by that of the cells around
it, by how far the motion that it is part of reaches up and down, left and right, and by its row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter
from sklearn.neighbors import NearestNeighbors

from vadistill.errors import InputError
from vadistill.geometry.motion import MOVING, Motion, usual_speed
from vadistill.teachers.cells import CellTeacher, Clips, Weights, moving_cells

AROUND = 3  # cells: side of the square that flow, and distances, are averaged over
REACH = 4.0  # cells: motion that reaches so far weighs as much as the usual speed
ITSELF = 1e-4  # nearer than any other cell: rounding
CHUNK = 256  # frames


class FlowCells(CellTeacher):
    """The teacher ``flow_cells``."""

    name = "flow_cells"
    terms = score_terms = ("distance",)

    def __init__(self, settings: Any, scenes: Sequence[str] = ("",)) -> None:
        self.settings, self.scenes = settings, list(scenes)

    def fit(self, clips: Clips) -> Weights:
        """Fit the usual speeds, and keep the features of the moving cells, thinned out evenly.

        Returns:
            ``usual`` (S + 1, R), usual speed by row of every scene, at last of all together; ``normal`` (M, 15).

        Raises:
            InputError: Nothing moves in the clips.
        """
        speeds: dict[str, list[np.ndarray]] = {}
        for scene, motion in clips():
            speeds.setdefault(scene, []).append(motion.speed)
        together = [speed for part in speeds.values() for speed in part]
        moving = sum(np.count_nonzero(speed >= MOVING) for speed in together)
        if not moving:
            raise InputError(f"{self.name}: nothing moves in {len(together)} training clips; expected normal motion")
        by_scene = [speeds.get(scene, together) for scene in self.scenes]
        self._usual = np.stack([usual_speed(part) for part in (*by_scene, together)])
        stride, seen, kept = -(-moving // self.settings.max_cells), 0, []
        for scene, motion in clips():
            features = self.features(motion, scene)
            kept.append(features[-seen % stride :: stride])
            seen += len(features)
        weights = {"usual": self._usual, "normal": np.concatenate(kept)}
        self.load(weights)
        return weights

    def load(self, weights: Weights) -> None:
        """Take what ``fit`` has returned."""
        self._usual, normal = weights["usual"], weights["normal"]
        count = min(self.settings.neighbours + 1, len(normal))
        self._nearest = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(normal)

    def measure(self, motion: Motion, scene: str) -> np.ndarray:
        """Return the mean distance (N, 1) to the nearest normal cells, averaged over the cells around.

        A still cell has the distance 0, so that a single cell stands out less than an object does.
        """
        features, cells = self.features(motion, scene), moving_cells(motion)
        distance = np.zeros((len(motion), *motion.cells))
        if len(features):
            distance[cells] = self._mean_of_nearest(features)
        return uniform_filter(distance, AROUND, mode="constant", axes=(1, 2))[cells][:, None]

    def features(self, motion: Motion, scene: str) -> np.ndarray:
        """Return the features (N, 15) float32 of a clip's moving cells.

        They are the flow (x, y) to the earlier and to the later frame, the highest speeds of both, the same six of the
        cells around, how far the motion reaches along column and row, and the row.

        Raises:
            InputError: The frame has other rows of cells than in training.
        """
        usual = self._usual[self.scenes.index(scene) if scene in self.scenes else -1]
        if motion.cells[0] != len(usual):
            raise InputError(f"clip {motion.clip}: motion in {motion.cells[0]} rows of cells; expected {len(usual)}")
        parts = [motion.part(start, start + CHUNK) for start in range(0, len(motion), CHUNK)]
        return np.concatenate([_features(part, usual.astype(np.float32)) for part in parts])

    def _mean_of_nearest(self, features: np.ndarray) -> np.ndarray:
        """Return the mean (N,) of the smallest distances, without the very smallest where it is none.

        A cell that is among the normal ones is not its own neighbour: training cells, which the student learns from,
        would be nearer than the same ones in a test clip.
        """
        nearest = self._nearest.kneighbors(features)[0]
        others = nearest[:, 1:] if nearest.shape[1] > 1 else nearest
        return np.where(nearest[:, 0] < ITSELF, others.mean(1), nearest[:, : self.settings.neighbours].mean(1))


def _features(motion: Motion, usual: np.ndarray) -> np.ndarray:
    frames, (rows, columns), moving = len(motion), motion.cells, motion.speed >= MOVING
    flow = motion.mean.transpose(0, 2, 3, 1, 4).reshape(frames, rows, columns, 4)
    own = np.concatenate([flow, motion.highest.transpose(0, 2, 3, 1)], axis=3) / usual[:, None, None]
    around = uniform_filter(own, AROUND, mode="nearest", axes=(1, 2))
    reach = np.stack([run_length(moving, axis) / REACH for axis in (1, 2)], axis=3)
    row = np.broadcast_to((np.arange(rows) / rows)[:, None], (frames, rows, columns))
    parts = [own[moving], around[moving], reach[moving], row[moving][:, None]]
    return np.concatenate(parts, axis=1).astype(np.float32)


def run_length(moving: np.ndarray, axis: int) -> np.ndarray:
    """Return for every cell how many moving cells in a row, along an axis, it is one of; 0 for still cells."""
    along = np.moveaxis(moving, axis, 0).astype(np.int32)
    total = _run_until(along) + _run_until(along[::-1])[::-1] - along
    return np.moveaxis(total, 0, axis)


def _run_until(moving: np.ndarray) -> np.ndarray:
    """Return how many cells in a row along the first axis move up to and with each one."""
    runs = moving.copy()
    for place in range(1, len(runs)):
        runs[place] *= runs[place - 1] + 1
    return runs
