"""Opening and writing HDF5 files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from vadistill.errors import InputError
from vadistill.files import whole_stream


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
    with whole_stream(path) as stream, _Written(stream, "w") as file:
        file.stream = stream
        yield file


def reading(path: str | Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises:
        InputError: The file is missing or is no HDF5 file.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: missing; expected an HDF5 file written by an earlier stage")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file ({error}); delete it to have it made again") from error


def write_columns(group: h5py.Group, table: Any, kinds: dict[str, str]) -> None:
    """Write the named attributes of a table, arrays of N rows, as data sets with checksums.

    Args:
        group: Where they go.
        table: What holds the arrays.
        kinds: Stored NumPy type of each.
    """
    for name, kind in kinds.items():
        column = getattr(table, name).astype(kind)
        checked = {"chunks": column.shape, "fletcher32": True} if column.size else {}
        group.create_dataset(name, data=column, **checked)


def by_teacher(paths: list[Path]) -> dict[str, list[Path]]:
    """Group object scores or maps by the teacher that their files name."""
    grouped: dict[str, list[Path]] = {}
    for path in paths:
        with reading(path) as file:
            if "teacher" not in file.attrs:
                raise InputError(f"{path}: names no teacher; expected object scores or maps of one teacher")
            grouped.setdefault(str(file.attrs["teacher"]), []).append(Path(path))
    return grouped


def attribute(path: Path, name: str) -> Any:
    """Return an attribute of a file that this project wrote."""
    with reading(path) as file:
        return file.attrs[name]
