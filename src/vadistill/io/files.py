"""Files that are either whole or not there, and fingerprints of their content."""

import errno
import hashlib
import io
import json
import os
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vadistill.errors import UNPRINTABLE, InputError

SAMPLES, SAMPLE_BYTES = 256, 4096
WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE}  # what only a write ends in
_unfinished: set[Path] = set()


def checked_path(path: str | Path) -> Path:
    """Return a path given by a user, if all libraries take it: some crash on names that are not UTF-8.

    Whatever opens a file passes its path through here.

    Raises:
        InputError: It has bytes that are not UTF-8, line breaks or other control characters, or begins with a ``~``
            that no shell has replaced.
    """
    path = Path(path)
    # Libraries are given absolute paths, so that the working folder's name counts, too.
    if any(unicodedata.category(char) in UNPRINTABLE for char in str(path.absolute())):
        raise InputError(
            f"{str(path)!a} in {str(path.absolute().parent)!a}: cannot be used, its name is not UTF-8 or has control "
            "characters; expected another name (rename it, or make a link of another name)"
        )
    if path.parts[:1] == ("~",):
        raise InputError(f"{path}: a '~' in quotes is no home folder; expected the path without quotes, or in full")
    return path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it to ``path`` on success, remove it on failure.

    A reader never meets a half-written file, and a killed job leaves the old one in place.

    Raises:
        OSError: The file cannot be written; the error names ``path``.
    """
    path = Path(path)
    # The suffix stays last: libraries choose their format by it.
    start, end = f".{path.stem}.", f".part{path.suffix}"
    with _beside(path, start, end) as temporary:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # a network folder may say only now that it has no space
        os.replace(temporary, path)


@contextmanager
def whole_stream(path: str | Path) -> Iterator["Stream"]:
    """Like ``whole_file``, but give an open file: for libraries that do not survive a failing write.

    Raises:
        OSError: The file cannot be written; the error names ``path``.
    """
    with whole_file(path) as temporary, Stream(temporary) as stream:
        try:
            yield stream
        finally:
            stream.check()


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` and put it in its place on success; remove it on failure.

    Raises:
        OSError: It cannot be written; the error names ``path`` or a file in it.
    """
    path = Path(path)
    with _beside(path, f".{path.name}.", ".part") as temporary:
        temporary.mkdir()
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)


class Stream(io.RawIOBase):
    """A new file that takes every write and says by ``check`` whether one has failed.

    On a full disk HDF5 loses data without an error, or ends the process, and torch ends in an error that names no file;
    so neither is told.
    """

    def __init__(self, path: Path) -> None:
        self._file: io.FileIO = path.open("w+b", buffering=0)
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise the error of the first write that failed."""
        if self._failure:
            raise self._failure from None

    def write(self, data) -> int:
        """Write all bytes, as far as there is space."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and not self._failure:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file, as far as there is space."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return self.tell() if size is None else size

    def readinto(self, buffer) -> int:
        """Read into the buffer."""
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place, also beyond the end."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def readable(self) -> bool:
        """It is."""
        return True

    writable = seekable = readable

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def remove_unfinished() -> None:
    """Remove what this process has half written: for a process that is about to end without unwinding."""
    for path in list(_unfinished):
        if f".{os.getpid()}.part" in path.name:  # a forked worker does not touch its parent's files
            _remove(path)


@contextmanager
def _beside(path: Path, start: str, end: str) -> Iterator[Path]:
    """Give a temporary path beside ``path``, removed at the end unless it has been renamed."""
    path = checked_path(path)
    temporary = path.with_name(f"{start}{os.getpid()}{end}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path.parent, start, end)
        _unfinished.add(temporary)
        yield temporary
    except OSError as error:
        try:
            _name(error, temporary, path)
        except AttributeError:  # PyAV's errors have names that cannot be set
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        _remove(temporary)


def _name(error: OSError, temporary: Path, path: Path) -> None:
    """Let an error of writing name the file as its reader knows it."""
    name = error.filename
    if name is None and error.errno in WRITING:
        error.filename = str(path)
    elif isinstance(name, str | os.PathLike) and os.fspath(name).startswith(str(temporary)):
        error.filename = str(path) + os.fspath(name).removeprefix(str(temporary))
        del error.filename2


def _remove(path: Path) -> None:
    _unfinished.discard(path)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # nothing is there, or the folder is gone or cannot be written
            path.unlink()


def _remove_stale(folder: Path, start: str, end: str) -> None:
    """Remove what a killed writer of the same file left behind; its temporary name differs in the number alone.

    A process that still runs keeps its file: the orphan of a killed workflow may write what is being made anew. That is
    known of processes of this machine only; another node's writer would end in an error and be tried again.
    """
    for path in folder.iterdir():
        number = path.name[len(start) : -len(end)]
        if path.name.startswith(start) and path.name.endswith(end) and number.isdecimal() and not _other(int(number)):
            _remove(path)


def _other(process: int) -> bool:
    """Return whether it is another process that runs."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all.

    Raises:
        InputError: A number is not finite.
    """
    try:
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise InputError(f"{path}: not written, a number in it is not finite ({error})") from error
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InputError: The file is missing or no JSON.
    """
    path = checked_path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error


def sha256(path: str | Path) -> str:
    """Return the hex SHA-256 of a file, or of the files of a folder in the order of their names."""
    path = checked_path(path)
    digest = hashlib.sha256()
    for part in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def fingerprint(path: str | Path) -> str:
    """Return a short hash of size and sampled content: cheap for large videos and folders, blind to dates.

    A file is read whole up to 1 MiB, else in 256 evenly spread samples of 4 KiB; of a folder, the name, the size and
    a sample in the middle of every file count.
    """
    path = checked_path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        for name in sorted(entry.name for entry in os.scandir(path) if entry.is_file()):
            digest.update(os.fsencode(name) + b"\0" + _sample(path / name, 1))
    else:
        digest.update(_sample(path, SAMPLES))
    return digest.hexdigest()[:16]


def _sample(path: Path, samples: int) -> bytes:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= samples * SAMPLE_BYTES:
            digest.update(file.read())
        else:
            for index in range(samples):
                # The first sample of several is the file's start and the last one its end; a single one its middle.
                file.seek((size - SAMPLE_BYTES) * index // (samples - 1) if samples > 1 else (size - SAMPLE_BYTES) // 2)
                digest.update(file.read(SAMPLE_BYTES))
    return digest.digest()
