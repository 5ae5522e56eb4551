"""What the teachers saw of every object, as targets for the student's features (arXiv 1412.6550, "hints")."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vadistill.data.object_scores import ObjectScores, read_shards
from vadistill.errors import InputError
from vadistill.rasterize import rasterize

COMPONENTS = 8  # of each teacher


class ObjectFeatures:
    """The features of all teachers for the objects of many clips, on the cells that the objects cover.

    Each feature is divided by its deviation over all objects, and each teacher's are reduced to their first principal
    components, which are scaled so that their variances sum to one: an error of one is that of a constant. Where
    objects overlap, a cell shows the one that stands nearest, by its lower edge.

    Args:
        scores: Each teacher's object scores, by its name.
        side: Rows and columns of the grid.

    Attributes:
        channels: Number D of features of all teachers together.

    Raises:
        InputError: The teachers have scored different objects, or there are none.
    """

    def __init__(self, scores: Mapping[str, Sequence[Path]], side: int) -> None:
        self._nearest: dict[str, np.ndarray] = {}
        parts: dict[str, list[np.ndarray]] = {}
        for name, paths in scores.items():
            mean, directions = _principal_components(name, paths)
            for objects in read_shards(paths):
                grid = _nearest_object(objects, side)
                if not np.array_equal(self._nearest.setdefault(objects.clip, grid), grid):
                    raise InputError(f"clip {objects.clip}: {name} has scored other objects than {next(iter(scores))}")
                reduced = (_rows(objects, len(mean)) - mean) @ directions
                parts.setdefault(objects.clip, []).append(reduced.astype(np.float16))
        # Row 0 stands for no object.
        self._features = {clip: np.pad(np.concatenate(made, 1), ((1, 0), (0, 0))) for clip, made in parts.items()}
        self.channels = next(iter(self._features.values())).shape[1]

    def __call__(self, clip: str, frame: int) -> np.ndarray:
        """Return (1 + D, side, side) float32 of a frame: whether there is an object, and its features.

        Raises:
            InputError: The clip, or this frame of it, has not been scored.
        """
        if clip not in self._nearest or frame >= len(self._nearest[clip]):
            raise InputError(f"clip {clip}: frame {frame} has no object scores; expected those of every frame")
        nearest = self._nearest[clip][frame]
        seen = np.concatenate([(nearest > 0)[..., None], self._features[clip][nearest]], axis=2)
        return seen.transpose(2, 0, 1).astype(np.float32)


def _nearest_object(objects: ObjectScores, side: int) -> np.ndarray:
    """Return (T, side, side) int32: 1 + the row of the object that is nearest in each cell, 0 without one."""
    order = np.argsort(objects.row, kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    highest = rasterize(objects.frame, objects.box, rank, objects.frames, objects.size, side)
    return np.concatenate([[0], order + 1])[highest.astype(np.int64)].astype(np.int32)


def _rows(objects: ObjectScores, width: int) -> np.ndarray:
    return objects.features.astype(np.float64).reshape(-1, width)  # a clip without objects does not know the width


def _principal_components(name: str, paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (F,) of a teacher's features and what they are multiplied with to be reduced, (F, COMPONENTS)."""
    count, total, products = 0, 0.0, 0.0
    for objects in read_shards(paths):
        if len(objects.frame):
            rows = objects.features.astype(np.float64)
            count, total, products = count + len(rows), total + rows.sum(0), products + rows.T @ rows
    if not count:
        raise InputError(f"{name} has scored no object; features need some")
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    deviation = np.sqrt(np.maximum(covariance.diagonal(), 1e-12))
    variances, directions = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    kept = directions[:, ::-1][:, :COMPONENTS]
    scale = np.sqrt(max(variances[::-1][:COMPONENTS].sum(), 1e-12))
    return mean, kept / deviation[:, None] / scale
