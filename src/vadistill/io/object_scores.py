"""What one teacher measured of the objects: one HDF5 file a shard, one group a clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from vadistill.errors import InputError
from vadistill.io.hdf5 import attribute, read_attribute, read_columns, reading, write_attributes, write_columns

KINDS = {"frame": "i4", "box": "f4", "terms": "f4"}


@dataclass(frozen=True)
class ObjectScores:
    """What a teacher measured of one clip's objects.

    Attributes:
        clip: Name of the clip.
        frames: Number of frames T of the clip.
        size: Height and width of the frame in pixels.
        scene: Name of its scene.
        frame: (N,) frame numbers.
        box: (N, 4) xyxy in pixels of the stored frame.
        terms: (N, K) the teacher's terms, larger is more abnormal.
    """

    clip: str
    frames: int
    size: tuple[int, int]
    scene: str
    frame: np.ndarray
    box: np.ndarray
    terms: np.ndarray

    @property
    def row(self) -> np.ndarray:
        """Lower edges (N,) of the boxes as fractions of the frame height."""
        return self.box[:, 3] / self.size[0]


def write_clip(file: h5py.File, scores: ObjectScores) -> None:
    """Add one clip's terms to an open file that names the teacher.

    Raises:
        InputError: They are not finite.
    """
    if not np.isfinite(scores.terms).all():
        teacher = read_attribute(file, "teacher")
        raise InputError(f"clip {scores.clip}: the teacher {teacher} gives terms that are not finite")
    group = file.create_group(scores.clip)
    write_attributes(group, frames=scores.frames, height=scores.size[0], width=scores.size[1], scene=scores.scene)
    write_columns(group, scores, KINDS)


def read_shards(paths: Sequence[Path]) -> Iterator[ObjectScores]:
    """Read the terms of every clip of the given shards, one clip at a time."""
    for path in paths:
        with reading(path) as file:
            for clip in file:
                group = file[clip]
                size = (int(group.attrs["height"]), int(group.attrs["width"]))
                frames, scene = int(group.attrs["frames"]), read_attribute(group, "scene")
                yield ObjectScores(clip, frames, size, scene, **read_columns(group, KINDS))


def term_names(path: Path, which: str = "terms") -> list[str]:
    """Return names of terms: all ``terms``, the ``counted`` ones or those that are ``probabilities``."""
    return list(attribute(path, which))


def columns_of(path: Path, wanted: Sequence[str]) -> list[int]:
    """Return the columns of the wanted terms.

    Raises:
        InputError: The teacher has no such term.
    """
    known = term_names(path)
    if unknown := [name for name in wanted if name not in known]:
        teacher = attribute(path, "teacher")
        raise InputError(f"calibration.terms: '{teacher}.{unknown[0]}' is no term; {teacher} has {', '.join(known)}")
    return [known.index(name) for name in wanted]
