"""Opening and writing HDF5 files in which no flipped bit goes unnoticed.

Data sets carry checksums: HDF5's fletcher32 on every chunk, and a CRC of the whole, since to fletcher32 a block of
zeros, as a file system may leave behind, is as good as any. Everything else, attributes, names, shapes and places, is
metadata: HDF5's own format of version 1.10 has a checksum on each piece of it, so that files are written in that
format. Two things would escape it and are avoided: text of variable length, and attributes outside the header of what
they belong to. Files of older versions are read as well, without this protection of their metadata.
"""

import errno
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vadistill.errors import InputError, in_one_line
from vadistill.io.files import Stream, checked_path, whole_stream

FORMAT = (h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
MANY = 10_000  # attributes that stay in a header, beside what they belong to
# What h5py raises for damaged files and for files that hold something else.
DAMAGES = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError, OverflowError)
# What the system says of files that may be whole.
SYSTEM = {errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT}
CRC = "crc32"  # attribute of a data set
REMEDY = "delete it to have it made again"


class _Written(h5py.File):
    """A file that ends the work soon after a write has failed."""

    def create_group(self, *arguments: Any, **options: Any) -> h5py.Group:
        self.stream.check()
        return super().create_group(*arguments, **options)


@contextmanager
def writing(path: str | Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for writing; it takes its final name only when it is complete.

    Raises:
        OSError: It cannot be written; said at the next group or at the end.
    """
    with whole_stream(path) as stream, _created(stream) as file:
        file.stream = stream
        yield file


def _created(stream: Stream) -> _Written:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, stream)
    access.set_libver_bounds(*FORMAT)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_attr_phase_change(MANY, 0)
    creation.set_obj_track_times(False)  # the same content makes the same bytes
    return _Written(h5py.h5f.create(repr(stream).encode(), h5py.h5f.ACC_TRUNC, creation, access))


def opened(path: str | Path, cache: int | None = None) -> h5py.File:
    """Open an HDF5 file for reading; ``cache`` are the bytes of an array that it holds, by default HDF5's own number.

    Raises:
        InputError: The file is missing or is no HDF5 file.
    """
    if not checked_path(path).is_file():
        raise InputError(f"{path}: missing; expected an HDF5 file written by an earlier stage")
    try:
        return h5py.File(path, "r", rdcc_nbytes=cache)
    except OSError as error:
        _refuse_the_system(path, error)
        raise InputError(f"{path}: not a readable HDF5 file ({in_one_line(error)}); {REMEDY}") from error


@contextmanager
def reading(path: str | Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; whatever is wrong with what it holds names the file.

    Raises:
        InputError: As ``opened``, or what is read in the block is damaged or not there.
    """
    with damage_named(path), opened(path) as file:
        yield file


@contextmanager
def damage_named(path: str | Path, what: str = "") -> Iterator[None]:
    """Turn the errors of a block that reads a file of this project into one that names the file.

    Raises:
        InputError: What is read is damaged, or something else than the block expects.
    """
    try:
        yield
    except DAMAGES as error:
        _refuse_the_system(path, error)
        damaged = f"{what} is damaged" if what else "damaged"
        raise InputError(
            f"{path}: {damaged}, or not written by the stage expected ({in_one_line(error)}); {REMEDY}"
        ) from error


def _refuse_the_system(path: str | Path, error: BaseException) -> None:
    """Report a system error (missing folder, no permission) as such, and not as a damaged file."""
    stated = re.search(r"errno = (\d+)", str(error))
    number = int(stated[1]) if stated else getattr(error, "errno", None)
    if number in SYSTEM:
        raise InputError(
            f"{path}: cannot be read now ({in_one_line(error)}); expected a folder that answers"
        ) from error


def write_attributes(node: h5py.Group, **values: Any) -> None:
    """Add attributes, text and lists of text with a fixed length (see above)."""
    for name, value in values.items():
        array = np.asarray(value)
        node.attrs[name] = _fixed(array) if array.dtype.kind == "U" else value


def _fixed(texts: np.ndarray) -> np.ndarray:
    encoded = np.char.encode(texts, "utf-8")
    return encoded.astype(h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize)))


def read_attribute(node: h5py.Group, name: str) -> Any:
    """Return an attribute as it was given to ``write_attributes``; an array of text as a list.

    Raises:
        KeyError: There is none of that name.
    """
    value = node.attrs[name]
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        return [_text(part) for part in value.ravel()]
    return _text(value)


def _text(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def write_array(group: h5py.Group, name: str, array: np.ndarray, chunks: tuple[int, ...] | None = None) -> None:
    """Write an array as a data set with checksums, in one chunk unless told otherwise."""
    checked = {"chunks": chunks or array.shape, "fletcher32": True} if array.size else {}
    made = group.create_dataset(name, data=array, **checked)
    made.attrs[CRC] = crc(array)


def read_array(dataset: h5py.Dataset) -> np.ndarray:
    """Return what ``write_array`` wrote.

    Raises:
        OSError: Its checksums say that it is damaged.
    """
    array = dataset[:]
    if CRC in dataset.attrs and dataset.attrs[CRC] != crc(array):
        raise OSError(f"{dataset.name} differs from its checksum")
    return array


def crc(array: np.ndarray) -> np.uint32:
    """Return the CRC-32 of an array's bytes."""
    return np.uint32(zlib.crc32(np.ascontiguousarray(array).data))


def write_columns(group: h5py.Group, table: Any, kinds: dict[str, str]) -> None:
    """Write the named attributes of a table, arrays of N rows, as data sets with checksums.

    Args:
        group: Where they go.
        table: What holds the arrays.
        kinds: Stored NumPy type of each.
    """
    for name, kind in kinds.items():
        write_array(group, name, getattr(table, name).astype(kind))


def read_columns(group: h5py.Group, kinds: dict[str, str]) -> dict[str, Any]:
    """Return the arrays that ``write_columns`` wrote.

    Raises:
        KeyError: A column is missing.
        OSError: A column is damaged.
        ValueError: Columns have other types or different numbers of rows.
    """
    columns = {name: read_array(group[name]) for name in kinds}
    for name, column in columns.items():
        if column.dtype != kinds[name] or len(column) != len(next(iter(columns.values()))):
            raise ValueError(f"{name} of {group.name} is {column.shape} {column.dtype}")
    return columns


def by_teacher(paths: list[Path]) -> dict[str, list[Path]]:
    """Group object scores or maps by the teacher that their files name."""
    grouped: dict[str, list[Path]] = {}
    for path in paths:
        with reading(path) as file:
            if "teacher" not in file.attrs:
                raise InputError(f"{path}: names no teacher; expected object scores or maps of one teacher")
            grouped.setdefault(read_attribute(file, "teacher"), []).append(Path(path))
    return grouped


def attribute(path: Path, name: str) -> Any:
    """Return an attribute of a file that this project wrote.

    Raises:
        InputError: As ``reading``.
    """
    with reading(path) as file:
        return read_attribute(file, name)


def json_attribute(path: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in an attribute of a file that this project wrote; errors as in ``attribute``."""
    with damage_named(path, f"attribute {name}"):
        return dict(json.loads(attribute(path, name)))
