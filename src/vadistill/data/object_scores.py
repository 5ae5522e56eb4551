"""Stored object scores of one teacher: one HDF5 file a shard, one group a clip."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from vadistill.data.store import reading, write_columns

KINDS = {"frame": "i4", "box": "f4", "terms": "f4", "score": "f4"}


@dataclass(frozen=True)
class ObjectScores:
    """The scores of one clip's objects.

    Attributes:
        clip: Name of the clip.
        frames: Number of frames T of the clip.
        size: Height and width of its frames in pixels.
        frame: (N,) frame numbers.
        box: (N, 4) xyxy in pixels of the stored frame.
        terms: (N, K) the teacher's score terms.
        score: (N,) the object score, larger is more abnormal.
    """

    clip: str
    frames: int
    size: tuple[int, int]
    frame: np.ndarray
    box: np.ndarray
    terms: np.ndarray
    score: np.ndarray


def write_clip(file: h5py.File, scores: ObjectScores) -> None:
    """Add one clip's scores to an open file."""
    group = file.create_group(scores.clip)
    group.attrs.update(frames=scores.frames, height=scores.size[0], width=scores.size[1])
    write_columns(group, scores, KINDS)


def read_shards(paths: list[Path]) -> Iterator[ObjectScores]:
    """Read the scores of every clip of the given shards, one clip at a time."""
    for path in paths:
        with reading(path) as file:
            for clip in file:
                group = file[clip]
                size = (int(group.attrs["height"]), int(group.attrs["width"]))
                columns = (group[name][:] for name in ("frame", "box", "terms", "score"))
                yield ObjectScores(clip, int(group.attrs["frames"]), size, *columns)
