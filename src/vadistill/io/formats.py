"""Formats follow from the endings of names; nothing is written over a file of another kind."""

from collections.abc import Callable, Mapping
from pathlib import Path

from vadistill.errors import InputError

NO_ENDING = ""


def ending(path: str | Path) -> str:
    """Return the ending of a name with its dot in lower case, ".onnx" of Student.ONNX; a number like ".2" is none."""
    _, dot, last = Path(path).name.rpartition(".")
    return dot + last.lower() if any(letter.isalpha() for letter in last) and dot else NO_ENDING


def known_ending(path: Path, known: Mapping[str, str]) -> str:
    """Return the ending of a name, or ``NO_ENDING`` of a folder that is there.

    Args:
        path: The file or folder.
        known: The endings that are possible here, and what each one stands for.

    Raises:
        InputError: It is none of these.
    """
    found = ending(path)
    if found in known:
        return found
    if NO_ENDING in known and path.is_dir():
        return NO_ENDING
    raise InputError(f"{path}: {f'unknown ending {found}' if found else 'no ending'}; known are {listed(known)}")


def listed(known: Mapping[str, str]) -> str:
    """Return known endings and what each one stands for as text."""
    return ", ".join(f"{end or 'no ending'} ({what})" for end, what in known.items())


def refuse_to_replace(path: Path, is_earlier: Callable[[Path], bool], kind: str) -> None:
    """Refuse to write over anything but an earlier file of the same kind; of a link it is not clear what is meant.

    Args:
        path: What is to be written.
        is_earlier: Says whether what is there is an earlier file of the kind.
        kind: As the user is told.

    Raises:
        InputError: Something else is there.
    """
    linked = path.is_symlink()
    if not linked and (not path.exists() or is_earlier(path)):
        return
    there = "a link" if linked else "a folder" if path.is_dir() else "a file"
    raise InputError(f"{path}: {there} is there that is no earlier {kind}; expected another name, or remove it")


def size_text(path: Path) -> str:
    """Return the size of a file, or of the files in a folder, as text: "1.3 MB"."""
    files = [part for part in path.rglob("*") if part.is_file()] if path.is_dir() else [path]
    size, unit = float(sum(part.stat().st_size for part in files)), "bytes"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
