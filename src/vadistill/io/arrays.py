"""Arrays of plain numbers in .npy and .npz files; nothing that would have to be unpickled is ever loaded."""

from pathlib import Path

import numpy as np

from vadistill.errors import InputError, in_one_line
from vadistill.io.files import checked_path


def load_arrays(path: Path, mapped: bool = False) -> np.ndarray | np.lib.npyio.NpzFile:
    """Load a .npy file, or open a .npz file; with ``mapped``, an array stays on the disk.

    Raises:
        InputError: The file is missing, damaged or holds objects.
    """
    path = checked_path(path)
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # damaged files make numpy, zipfile and zlib raise errors of many kinds
        raise InputError(
            f"{path}: not a readable {Path(path).suffix} file of plain numbers ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """Say why NumPy reads no array; its own words advise to load objects, which could run code."""
    if "pickle" in str(error) or "Python objects" in str(error):
        return (
            "it holds Python objects, or is of another format; save an array of numbers with numpy.save, arrays of "
            "several clips with numpy.savez(path, **{clip: array})"
        )
    return in_one_line(error)


def load_member(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    """Load the array of one clip from a .npz file; ``path`` is named in errors, which are those of ``load_arrays``."""
    try:
        if archive.zip and f"{name}.npy" in archive.zip.namelist():
            # An array whose header names fewer numbers would not be read to where its checksum is looked at.
            archive.zip.read(f"{name}.npy")
        return archive[name]
    except Exception as error:
        raise InputError(
            f"{path}: clip '{name}' is not a readable array of plain numbers ({_reason(error)})"
        ) from error
