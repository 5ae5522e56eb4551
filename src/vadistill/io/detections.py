"""Stored detections: one HDF5 file a shard, one group a clip.

Moving regions are stored in the same form, with confidence 1 and without class probabilities.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from vadistill.io.hdf5 import read_attribute, read_columns, reading, write_attributes, write_columns

KINDS = {"frame": "i4", "box": "f4", "confidence": "f4", "probabilities": "f2"}


@dataclass(frozen=True)
class Detections:
    """The boxes of one clip, sorted by frame.

    Attributes:
        clip: Name of the clip.
        frames: Number of frames T of the clip.
        size: Height and width of its frames in pixels.
        frame: (N,) frame numbers from 0.
        box: (N, 4) xyxy in pixels of the stored frame.
        confidence: (N,) in [0, 1].
        probabilities: (N, C) class probabilities, float16 as stored.
        scene: Name of the clip's scene.
    """

    clip: str
    frames: int
    size: tuple[int, int]
    frame: np.ndarray
    box: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray
    scene: str = ""

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: np.ndarray) -> "Detections":
        """Return the given rows (indices or a boolean mask)."""
        return replace(self, **{name: getattr(self, name)[rows] for name in KINDS})


def write_clip(file: h5py.File, detections: Detections) -> None:
    """Add one clip's detections to an open file."""
    group = file.create_group(detections.clip)
    write_attributes(group, frames=detections.frames, height=detections.size[0], width=detections.size[1])
    write_columns(group, detections, KINDS)


def read_shards(paths: Sequence[Path]) -> Iterator[Detections]:
    """Read the detections of every clip of the given shards, one clip at a time."""
    for path in paths:
        with reading(path) as file:
            for clip in file:
                yield _read_clip(file, clip)


def clip_names(path: Path) -> list[str]:
    """Return the names of the clips in a file."""
    with reading(path) as file:
        return list(file)


def read_clip(path: Path, clip: str) -> Detections:
    """Read the detections of one clip."""
    with reading(path) as file:
        return _read_clip(file, clip)


def _read_clip(file: h5py.File, clip: str) -> Detections:
    group = file[clip]
    size = (int(group.attrs["height"]), int(group.attrs["width"]))
    return Detections(clip, int(group.attrs["frames"]), size, **read_columns(group, KINDS))


def class_names(path: Path) -> list[str]:
    """Return the names of the detector's classes."""
    with reading(path) as file:
        return read_attribute(file, "classes")
