"""Feature distillation: the teachers' features as further targets of the student (arXiv 1412.6550, "hints")."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from vadistill.datasets.splits import first_held_out
from vadistill.errors import InputError
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.io.hdf5 import by_teacher, named_teachers
from vadistill.io.object_scores import ObjectScores, read_shards
from vadistill.maps.rasterize import rasterize

COMPONENTS = 8  # of each teacher
LIMIT = 5.0  # of a component: the loss is squared, and a single object is not worth a batch
LEAST_DEVIATION = 0.01  # of the median one: a feature that hardly varies is noise


class ObjectFeatures:
    """The features of all teachers for the objects of many clips, on the cells that the objects cover.

    Each feature is divided by its deviation over the objects that are not held out, and each teacher's are reduced to
    their first principal components, which are scaled so that their variances sum to one, and cut. Where objects
    overlap, a cell shows the one that stands nearest, by its lower edge.

    Args:
        scores: Each teacher's object scores, by its name.
        side: Rows and columns of the grid.
        held_out: Clips of which only the objects before this share of their frames decide on the components.

    Attributes:
        channels: Number D of features of all teachers together.

    Raises:
        InputError: The teachers have scored different objects, or there are none.
    """

    def __init__(
        self, scores: Mapping[str, Sequence[Path]], side: int, held_out: Mapping[str, float] | None = None
    ) -> None:
        first = next(iter(scores))
        self._nearest: dict[str, np.ndarray] = {}
        parts: dict[str, list[np.ndarray]] = {}
        places: dict[str, np.ndarray] = {}
        for name, paths in scores.items():
            mean, directions = _principal_components(name, paths, held_out or {})
            for objects in read_shards(paths, features=True):
                reduced = ((_rows(objects, len(mean)) - mean) @ directions).clip(-LIMIT, LIMIT)
                parts.setdefault(objects.clip, []).append(reduced.astype(np.float16))
                place = np.column_stack([objects.frame, objects.box])
                if name == first:
                    self._nearest[objects.clip], places[objects.clip] = _nearest_object(objects, side), place
                elif objects.clip not in places or not np.array_equal(places[objects.clip], place):
                    raise InputError(f"clip {objects.clip}: {name} has scored other objects than {first}")
        for clip, made in parts.items():
            if len(made) != len(scores):
                raise InputError(f"clip {clip}: not all of {', '.join(scores)} have scored its objects")
        # Row 0 stands for no object.
        self._features = {clip: np.pad(np.concatenate(made, 1), ((1, 0), (0, 0))) for clip, made in parts.items()}
        self.channels = next(iter(self._features.values())).shape[1]

    def check(self, frames: Mapping[str, int]) -> None:
        """Check that there is something of every clip, given its number of frames.

        Raises:
            InputError: A clip is missing, or was longer or shorter.
        """
        for clip, count in frames.items():
            if (found := len(self._nearest.get(clip, ()))) != count:
                raise InputError(f"clip {clip}: objects are scored in {found} frames, expected {count}")

    def __call__(self, clip: str, frame: int) -> np.ndarray:
        """Return (1 + D, side, side) float32 of a frame: whether there is an object, and its features."""
        nearest = self._nearest[clip][frame]
        teacher_features = np.concatenate([(nearest > 0)[..., None], self._features[clip][nearest]], axis=2)
        return teacher_features.transpose(2, 0, 1).astype(np.float32)


def features_of_teachers(
    paths: list[Path], names: Sequence[str], side: int, held_out: Mapping[str, float]
) -> ObjectFeatures:
    """Return the features of the named teachers, whose object scores these files are; errors as in the class."""
    return ObjectFeatures(named_teachers(by_teacher(paths), names, "object scores"), side, held_out)


def _nearest_object(objects: ObjectScores, side: int) -> np.ndarray:
    """Return (T, side, side) int32: 1 + the row of the object that is nearest in each cell, 0 without one."""
    order = np.argsort(objects.row, kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    highest = rasterize(ScoredObjects(objects.frames, objects.size, objects.frame, objects.box, rank), side)
    return np.concatenate([[0], order + 1])[highest.astype(np.int64)].astype(np.int32)


def _rows(objects: ObjectScores, width: int) -> np.ndarray:
    assert objects.features is not None  # they were read
    return objects.features.astype(np.float64).reshape(-1, width)  # a clip without objects does not know the width


def _fitted_on(paths: Sequence[Path], held_out: Mapping[str, float]) -> Iterator[np.ndarray]:
    """Yield the features (N, F) of each clip's objects in the frames that are not held out."""
    for objects in read_shards(paths, features=True):
        assert objects.features is not None  # they were read
        end = first_held_out(held_out.get(objects.clip, 1.0), objects.frames)
        if (kept := objects.frame < end).any():
            yield objects.features[kept].astype(np.float64)


def _principal_components(
    name: str, paths: Sequence[Path], held_out: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (F,) of a teacher's features and what they are multiplied with to be reduced, (F, COMPONENTS)."""
    count, total, products = 0, np.zeros(()), np.zeros(())
    for rows in _fitted_on(paths, held_out):
        count, total, products = count + len(rows), total + rows.sum(0), products + rows.T @ rows
    if not count:
        raise InputError(f"{name} has scored no object; features need some")
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    deviation = np.sqrt(np.maximum(covariance.diagonal(), 0))
    usual = np.median(deviation[deviation > 0]) if deviation.any() else 1.0
    deviation = np.maximum(deviation, LEAST_DEVIATION * usual)
    variances, directions = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    kept = directions[:, ::-1][:, :COMPONENTS]
    scale = np.sqrt(max(variances[::-1][:COMPONENTS].sum(), 1e-12))
    return mean, kept / deviation[:, None] / scale
