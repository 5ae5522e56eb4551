"""Stored motion: one HDF5 file a shard, one group a clip with ``mean`` and ``highest`` (``geometry.motion.Motion``)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from vadistill.geometry.motion import Motion, cell_speed
from vadistill.io.hdf5 import read_array, reading, write_array, write_attributes


def write_clip(file: h5py.File, motion: Motion) -> None:
    """Add one clip's motion to an open file."""
    group = file.create_group(motion.clip)
    write_attributes(group, height=motion.size[0], width=motion.size[1])
    write_array(group, "mean", motion.mean)
    write_array(group, "highest", motion.highest)


def clip_names(path: Path) -> list[str]:
    """Return the names of the clips in a file; errors as in ``read_shards``."""
    with reading(path) as file:
        return list(file)


def read_speeds(paths: Sequence[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Read each clip's name and the speed (T, R, C) float16 of its cells alone; errors as in ``read_shards``."""
    for path in paths:
        with reading(path) as file:
            for clip, group in file.items():
                yield clip, cell_speed(read_array(group["highest"]))


def read_shards(paths: Sequence[Path]) -> Iterator[Motion]:
    """Read the motion of every clip of the given shards, one clip at a time.

    Raises:
        InputError: A file is missing, damaged or no motion.
    """
    for path in paths:
        with reading(path) as file:
            for clip, group in file.items():
                size = (int(group.attrs["height"]), int(group.attrs["width"]))
                yield Motion(clip, size, read_array(group["mean"]), read_array(group["highest"]))
