"""Helpers for layouts: find a data set's folder, list what matches, and say in errors what is there."""

from collections.abc import Callable
from pathlib import Path

from vadistill.errors import InputError
from vadistill.io.names import visible

LEVELS = 2  # at which a data set is looked for below its folder


def contents_text(folder: Path) -> str:
    """Say what a folder, or what there is of it, holds, for error messages."""
    if not folder.is_dir():
        there = next(parent for parent in folder.parents if parent.is_dir())
        return f"there is no {folder.relative_to(there)} in {there}, {contents_text(there)}"
    names = [f"{path.name}{'/' if path.is_dir() else ''}" for path in visible(folder)]
    return f"found {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "which is empty"


def base_folder(root: Path, *markers: str) -> Path:
    """Return the folder, ``root`` or one below it, that holds one of the markers: archives bring folders of their own.

    Raises:
        InputError: Several folders of one level do.
    """
    level = [root]
    for _ in range(LEVELS + 1):
        holding = [folder for folder in level if any((folder / marker).exists() for marker in markers)]
        if len(holding) == 1:
            return holding[0]
        if holding:
            raise InputError(
                f"{root}: {holding[0].name} and {holding[1].name} both hold {markers[0]}; expected the path of one"
            )
        level = [path for folder in level for path in _folders(folder)]
    return root


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in visible(folder) if path.is_dir()]
    except OSError:  # not for this user
        return []


def matching(folder: Path, accept: Callable[[Path], bool], expected: str) -> list[Path]:
    """Return the entries of ``folder`` that ``accept`` takes; at least one.

    Raises:
        InputError: The folder is missing or has no such entry.
    """
    paths = [path for path in visible(folder) if accept(path)] if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: expected {expected}; {contents_text(folder)}")
    return paths


def required_labels(path: Path, clip: str) -> Path:
    """Return the path of a test clip's labels.

    Raises:
        InputError: It is missing.
    """
    if not path.exists():
        raise InputError(f"test clip '{clip}' has no labels; expected {path}")
    return path


def is_avi(path: Path) -> bool:
    """Return whether a path is an AVI file."""
    return path.suffix.lower() == ".avi" and path.is_file()
