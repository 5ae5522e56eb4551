"""Stored flow of objects: one HDF5 file a shard, one group a clip.

A group holds ``frame`` (N,), ``box`` (N, 4), ``flow`` (N, 2, S, S, 2) float16 to the past and to the future, (x, y) in
pixels of the stored frame, and ``crc32`` (N,), a checksum of each object's flow. The attributes of the file say how it
was cut.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np

from vadistill.errors import InputError
from vadistill.io.detections import Detections
from vadistill.io.hdf5 import (
    crc,
    damage_named,
    opened,
    read_array,
    read_attribute,
    reading,
    write_array,
    write_attributes,
)

CHUNK = 16  # objects: read, and checked, together
Cut = tuple[int, int, str]
"""How flow is cut: side S of the crops in pixels, frames to its other end, border at a clip's ends."""


def write_cut(file: h5py.File, cut: Cut) -> None:
    """Say in an open file how its flow is cut."""
    crop, step, border = cut
    write_attributes(file, crop=crop, step=step, border=border)


def write_clip(file: h5py.File, objects: Detections, flows: Iterable[np.ndarray]) -> None:
    """Add the flow of one clip's objects to an open file that says how it is cut.

    Args:
        file: To write to.
        objects: All objects of the clip.
        flows: Theirs, in their order, any number (n, 2, 2, S, S) float16 at a time.
    """
    group, count, side = file.create_group(objects.clip), len(objects), int(file.attrs["crop"])
    write_array(group, "frame", objects.frame.astype("i4"))
    write_array(group, "box", objects.box.astype("f4"))
    checked = {"chunks": (min(CHUNK, count), 2, side, side, 2), "fletcher32": True} if count else {}
    data = group.create_dataset("flow", (count, 2, side, side, 2), "f2", **checked)
    sums: list[np.uint32] = []
    for flow in flows:
        stored = flow.transpose(0, 1, 3, 4, 2)
        data[len(sums) : len(sums) + len(flow)] = stored
        sums += map(crc, stored)
    write_array(group, "crc32", np.array(sums, np.uint32))


class ObjectFlow:
    """The stored flow of the objects of one clip; the file is open from the first one that is read until ``close``."""

    def __init__(self, path: Path, clip: str) -> None:
        """Take where it is; nothing is read yet."""
        self.path, self.clip = path, clip
        self._file: h5py.File | None = None

    def of(self, objects: Detections) -> np.ndarray:
        """Return the flow (n, 2, 2, S, S) float16 of objects of one frame.

        Raises:
            InputError: The file is damaged, or does not hold these objects.
        """
        with damage_named(self.path, f"clip {self.clip}"):
            self._open()
            start, end = np.searchsorted(self._frame, (objects.frame[0], objects.frame[0] + 1))
            same = (objects.box[:, None] == self._box[start:end]).all(2)
            if not same.any(1).all():
                raise InputError(
                    f"{self.path}: clip {self.clip}, frame {objects.frame[0]}: flow of other objects than those given; "
                    "expected flow of the same detections, delete it to have it made again"
                )
            flow = self._flow[start:end]
            if [crc(one) for one in flow] != self._sums[start:end].tolist():
                raise OSError("it differs from its checksum")
        # In the order in memory of newly cut ones: sums over it are rounded alike.
        return flow[same.argmax(1)].transpose(0, 1, 4, 2, 3)

    def close(self) -> None:
        """Let go of the file; the next object that is read opens it again."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _open(self) -> None:
        if self._file is None:
            self._file = opened(self.path)
            group = self._file[self.clip]
            self._frame, self._box, self._sums = (read_array(group[name]) for name in ("frame", "box", "crc32"))
            self._flow = group["flow"]


def flow_stores(paths: Sequence[Path], cut: Cut | None) -> dict[str, ObjectFlow]:
    """Return the stored flow of objects by the name of their clip, not opened yet; empty without files.

    Raises:
        InputError: A file is damaged, or its flow is cut otherwise.
    """
    found: dict[str, ObjectFlow] = {}
    for path in paths:
        with reading(path) as file:
            stored = (int(file.attrs["crop"]), int(file.attrs["step"]), read_attribute(file, "border"))
            if stored != cut:
                raise InputError(f"{path}: flow cut by crop, step, border {stored}; expected {cut}, as the teacher's")
            found |= {clip: ObjectFlow(path, clip) for clip in file}
    return found
