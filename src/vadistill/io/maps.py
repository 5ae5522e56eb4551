"""Stored anomaly maps: groups by clip, one data set (T, g, g) float16 a resolution, named "1x1", "4x4", "16x16".

The maps of a teacher lie in one file a shard; the student's maps of a split lie in one file, with a data set
"score" (T,) float32 beside them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vadistill.errors import InputError
from vadistill.io.hdf5 import (
    by_teacher,
    damage_named,
    opened,
    read_array,
    reading,
    write_array,
    write_attributes,
)

CHUNK_FRAMES = 32


def write_clip(
    file: h5py.File, clip: str, maps: dict[int, np.ndarray], score: np.ndarray | None = None, **attributes: Any
) -> None:
    """Add one clip's maps {g: (T, g, g)} to an open file, with attributes that say how they were made."""
    group = file.create_group(clip)
    write_attributes(group, **attributes)
    for cells, values in maps.items():
        chunks = (min(len(values), CHUNK_FRAMES), cells, cells)
        write_array(group, f"{cells}x{cells}", values.astype(np.float16), chunks)
    if score is not None:
        write_array(group, "score", score.astype(np.float32))


class MapStore:
    """The maps of many clips, spread over the shards of one teacher (or the student's one file).

    Files are opened on first use.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._path: dict[str, Path] = {}
        self._open: dict[Path, h5py.File] = {}
        self.frames: dict[str, int] = {}
        self._repaired: dict[str, list[int]] = {}
        for path in paths:
            with reading(path) as file:
                if not len(file):
                    raise InputError(f"{path}: holds no clip; expected maps of at least one")
                for clip, group in file.items():
                    self._path[clip] = path
                    self.frames[clip] = len(next(iter(group.values())))
                    self._repaired[clip] = [int(t) for t in group.attrs.get("repaired", ())]

    def clips(self) -> list[str]:
        """Return the names of the clips."""
        return list(self._path)

    @property
    def repaired(self) -> dict[str, list[int]]:
        """Frames whose image could not be decoded, by clip; clips without one are left out."""
        return {clip: frames for clip, frames in self._repaired.items() if frames}

    def read(self, clip: str, resolutions: tuple[int, ...]) -> dict[int, np.ndarray]:
        """Return the maps {g: (T, g, g) float32} of a clip.

        Raises:
            InputError: The clip or a resolution is missing, or the file is damaged.
        """
        with self._group(clip) as group:
            for cells in resolutions:
                if f"{cells}x{cells}" not in group:
                    raise InputError(f"{self._path[clip]}: clip {clip} has no maps of {cells}x{cells} cells")
            return {cells: read_array(group[f"{cells}x{cells}"]).astype(np.float32) for cells in resolutions}

    def resolutions(self, clip: str) -> list[int]:
        """Return the sides g of a clip's maps."""
        with self._group(clip) as group:
            return sorted(int(name.partition("x")[0]) for name in group if name != "score")

    def score(self, clip: str) -> np.ndarray:
        """Return the student's frame scores (T,) of a clip; errors as in ``read``."""
        with self._group(clip) as group:
            return read_array(group["score"])

    @contextmanager
    def _group(self, clip: str) -> Iterator[h5py.Group]:
        if clip not in self._path:
            raise InputError(f"clip {clip}: no maps in {', '.join(sorted({str(p) for p in self._path.values()}))}")
        path = self._path[clip]
        with damage_named(path, f"clip {clip}"):
            if path not in self._open:
                self._open[path] = opened(path)
            yield self._open[path][clip]


def maps_of_teachers(paths: list[Path], names: Sequence[str]) -> dict[str, MapStore]:
    """Return the maps of each teacher, which must be just the ones that are named.

    Raises:
        InputError: They are others.
    """
    given = by_teacher(paths)
    if set(given) != set(names):
        raise InputError(f"maps are given of {', '.join(sorted(given))}; expected those of {', '.join(names)}")
    return {name: MapStore(given[name]) for name in names}
