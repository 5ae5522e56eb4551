"""What one teacher measured of the objects: one HDF5 file a shard, one group a clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from vadistill.errors import InputError
from vadistill.io.hdf5 import attribute, read_attribute, read_columns, reading, write_attributes, write_columns

KINDS = {"frame": "i4", "box": "f4", "terms": "f4"}
FEATURES = {"features": "f2"}
HALF = np.finfo(np.float16).max


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
        features: (N, D) what they were measured of, as far as float16 reaches; D is the teacher's own number, and 0 in
            a clip without objects. None where they were not read.
    """

    clip: str
    frames: int
    size: tuple[int, int]
    scene: str
    frame: np.ndarray
    box: np.ndarray
    terms: np.ndarray
    features: np.ndarray | None

    @property
    def row(self) -> np.ndarray:
        """Lower edges (N,) of the boxes as fractions of the frame height."""
        return self.box[:, 3] / self.size[0]


def write_clip(file: h5py.File, scores: ObjectScores) -> None:
    """Add one clip's terms and features to an open file that names the teacher.

    Raises:
        InputError: They are not finite.
    """
    assert scores.features is not None  # a teacher gives them; they are missing only where they were not read
    if not (np.isfinite(scores.terms).all() and np.isfinite(scores.features).all()):
        teacher = read_attribute(file, "teacher")
        raise InputError(f"clip {scores.clip}: the teacher {teacher} gives terms or features that are not finite")
    scores = replace(scores, features=scores.features.clip(-HALF, HALF))
    group = file.create_group(scores.clip)
    write_attributes(group, frames=scores.frames, height=scores.size[0], width=scores.size[1], scene=scores.scene)
    write_columns(group, scores, KINDS | FEATURES)


def read_shards(paths: Sequence[Path], features: bool = False) -> Iterator[ObjectScores]:
    """Read the terms of every clip of the given shards, and the features where they are wanted, one clip at a time."""
    kinds = KINDS | FEATURES if features else KINDS
    for path in paths:
        with reading(path) as file:
            for clip in file:
                group = file[clip]
                size = (int(group.attrs["height"]), int(group.attrs["width"]))
                frames, scene = int(group.attrs["frames"]), read_attribute(group, "scene")
                columns = {"features": None, **read_columns(group, kinds)}
                yield ObjectScores(clip, frames, size, scene, **columns)


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
