"""Files that are either whole or not there, and fingerprints of their content."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vadistill.errors import InputError

SAMPLES, SAMPLE_BYTES = 256, 4096
_unfinished: set[Path] = set()


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it to ``path`` on success, remove it on failure.

    A reader never meets a half-written file, and a killed job leaves the old one in place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: libraries choose their format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    _remove_stale(path.parent, f".{path.stem}.", f".part{path.suffix}")
    _unfinished.add(temporary)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        _remove(temporary)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` and put it in its place on success; remove it on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    _remove_stale(path.parent, f".{path.name}.", ".part")
    temporary.mkdir()
    _unfinished.add(temporary)
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    finally:
        _remove(temporary)


def remove_unfinished() -> None:
    """Remove what this process has half written: for a process that is about to end without unwinding."""
    for path in list(_unfinished):
        if f".{os.getpid()}.part" in path.name:  # a forked worker does not touch its parent's files
            _remove(path)


def _remove(path: Path) -> None:
    _unfinished.discard(path)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_stale(folder: Path, start: str, end: str) -> None:
    """Remove what a killed writer of the same file left behind; its temporary name differs in the number alone."""
    for path in folder.iterdir():
        if path.name.startswith(start) and path.name.endswith(end) and path.name[len(start) : -len(end)].isdecimal():
            _remove(path)


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all. Non-finite numbers are refused."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InputError: The file is missing or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error


def sha256(path: str | Path) -> str:
    """Return the hex SHA-256 of a file, or of the files of a folder in the order of their names."""
    path = Path(path)
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
    path = Path(path)
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
