"""The interface of teachers whose objects are moving cells of the frame, CellTeacher, and what such a teacher gets."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vadistill.datasets.splits import first_held_out, held_out_part
from vadistill.geometry.motion import MOVING, Motion, cell_edges
from vadistill.io.motion import read_shards

Weights = Mapping[str, np.ndarray]
Clips = Callable[[], Iterable[tuple[str, Motion]]]
"""Reads clips anew at every call: the name of the scene and the motion of each."""


class CellTeacher(ABC):
    """Base class of teachers that measure how abnormal moving cells are, from motion alone.

    Attributes:
        name: Name in config.yaml and in the registry.
        terms: Names of the K terms that it measures.
        score_terms: Those of them whose mean is the object's score, unless ``calibration.terms`` chooses others.
        probabilities: Those of them that are probabilities.
    """

    name: ClassVar[str]
    terms: tuple[str, ...]
    score_terms: tuple[str, ...]
    probabilities: tuple[str, ...] = ()

    @abstractmethod
    def __init__(self, settings: Any, scenes: Sequence[str] = ("",)) -> None:
        """Make a teacher of the scenes of these names, which knows nothing before ``fit`` or ``load``."""

    @abstractmethod
    def fit(self, clips: Clips) -> Weights:
        """Learn from normal clips; return all that was learned, as ``load`` takes it.

        Raises:
            InputError: Nothing moves in them.
        """

    @abstractmethod
    def load(self, weights: Weights) -> None:
        """Take what ``fit`` of a teacher with the same settings and scenes has returned."""

    @abstractmethod
    def measure(self, motion: Motion, scene: str) -> np.ndarray:
        """Return the terms (N, K) of a clip's moving cells, in the order of ``moving_cells``.

        Raises:
            InputError: The frame has other cells than in training.
        """


def moving_cells(motion: Motion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the frame, row and column (N,) of every moving cell, sorted."""
    frame, row, column = np.nonzero(motion.speed >= MOVING)
    return frame, row, column


def cell_boxes(motion: Motion, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return cells (N,) as boxes (N, 4) float32, xyxy in pixels of the stored frame."""
    down, across = (cell_edges(side, cells) for side, cells in zip(motion.size, motion.cells, strict=True))
    return np.stack([across[column], down[row], across[column + 1], down[row + 1]], axis=1).astype(np.float32)


def fitted_clips(paths: Sequence[Path], scenes: Mapping[str, str], share: float) -> Clips:
    """Return the training clips without what of them is held out (``splits.held_out_part``).

    Args:
        paths: Motion of the clips.
        scenes: Scene of each clip.
        share: Of the clips that is held out.
    """
    start = held_out_part(scenes, share)

    def clips() -> Iterator[tuple[str, Motion]]:
        for motion in read_shards(paths):
            part = motion.part(0, first_held_out(start.get(motion.clip, 1.0), len(motion)))
            if len(part):
                yield scenes[motion.clip], part

    return clips
