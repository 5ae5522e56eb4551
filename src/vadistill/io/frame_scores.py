"""Stored frame scores: one HDF5 file a shard, one group a clip, one data set a score."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from vadistill.errors import InputError
from vadistill.io.hdf5 import read_array, reading, write_array


def write_clip(file: h5py.File, clip: str, scores: Mapping[str, np.ndarray]) -> None:
    """Add one clip's scores, each (T,), to an open file; they are kept as float32."""
    group = file.create_group(clip)
    for name, values in scores.items():
        write_array(group, name, values.astype(np.float32))


def read_shards(paths: list[Path]) -> dict[str, dict[str, np.ndarray]]:
    """Return the scores (T,) of all shards by their name, then by clip.

    Raises:
        InputError: A file is missing or damaged, or a clip has other scores than the clip before it.
    """
    scores: dict[str, dict[str, np.ndarray]] = {}
    for path in paths:
        with reading(path) as file:
            for clip, group in file.items():
                if scores and scores.keys() != group.keys():
                    raise InputError(f"{path}: clip {clip} has the scores {sorted(group)}; expected {sorted(scores)}")
                for name, values in group.items():
                    scores.setdefault(name, {})[clip] = read_array(values)
    return scores
