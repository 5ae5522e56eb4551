"""What can be scored: the videos, folders of images and stored clips that a user's words stand for."""

import re
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from vadistill.errors import InputError
from vadistill.io.names import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural_key, visible

FILM = ".overlay.mp4"  # ending of the films that are drawn over scored videos
RECORD = "record it to a file first, for example with ffmpeg, and score that"
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)")


def sources_of(given: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the sources that paths stand for, and a line for each of those that stand for none.

    A folder without images that holds videos stands for all of these, in natural order.
    """
    found: list[Path] = []
    errors: list[str] = []
    for path in (match for pattern in given for match in _matching(pattern)):
        try:
            found += _sources(path)
        except (InputError, OSError) as error:
            errors.append(str(error))
    return found, errors


def source_name(source: Path) -> str:
    """Return the name of a source's results."""
    return source.absolute().name if source.is_dir() else source.stem


def _sources(path: Path) -> list[Path]:
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return [path]
    if path.exists():
        raise InputError(
            f"{path}: a device or pipe; expected a video file, a folder of images or a stored clip: {RECORD}"
        )
    raise InputError(_missing(str(path)))


def _matching(pattern: Path) -> list[Path]:
    """Return the files that a pattern in quotes stands for, in natural order; the path itself where it is none."""
    if pattern.exists() or not set(str(pattern)) & set("*?["):
        return [pattern]
    found = glob(str(pattern), recursive=True)
    return sorted(map(Path, found), key=lambda path: natural_key(str(path))) or [pattern]


def _of_folder(folder: Path) -> list[Path]:
    """Return the folder itself where it holds images, or the videos in it."""
    entries = visible(folder)
    images = [path for path in entries if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    films = [path for path in entries if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()]
    videos = [path for path in films if not path.name.endswith(FILM)]  # those are drawn over scored videos
    if images and videos:
        raise InputError(
            f"{folder}: holds {len(images)} images and {len(videos)} videos; expected images of one clip, or videos: "
            f"name the files, for example {videos[0]}"
        )
    if images or videos:
        return [folder] if images else videos
    held = f"holds {', '.join(path.name for path in entries[:3])}" if entries else "is empty"
    more = ", ..." if len(entries) > 3 else ""
    raise InputError(f"{folder}: {held}{more}; expected a folder of images, or of videos ({_endings()})")


def _missing(words: str) -> str:
    """Say what is wrong with words that name nothing in the file system."""
    if address := ADDRESS.fullmatch(words):  # a path has lost one of its slashes
        scheme, place = address.groups()
        if scheme.lower() == "file":
            return f"{scheme}:///{place}: an address; expected the path alone, /{place}"
        return f"{scheme}://{place}: an address, and nothing is read from a network; expected a file: {RECORD}"
    if words == "-":
        return f"-: the standard input is not read; expected a file: {RECORD}"
    if re.fullmatch(r"\d{1,2}|/dev/video\d+", words):
        return f"{words}: no file of this name, and cameras are not read; expected a file: {RECORD}"
    if set(words) & set("*?["):
        return f"{words}: no file matches; expected videos ({_endings()}), folders of images or stored clips (.h5)"
    return f"{words}: missing; expected a video ({_endings()}), a folder of images or a stored clip (.h5)"


def _endings() -> str:
    return " ".join(sorted(VIDEO_SUFFIXES))
