"""Names of files: the endings of videos and images, natural order, and what is no content."""

import re
from pathlib import Path

VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv",
    ".asf", ".flv", ".dv", ".mxf", ".ogv",
})  # fmt: skip
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
# What network stores, Windows, macOS and Linux leave in folders, in small letters.
LITTER = frozenset({"@eadir", "#recycle", "$recycle.bin", "system volume information", "thumbs.db", "ehthumbs.db",
                    "desktop.ini", "__macosx", "lost+found"})  # fmt: skip


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key by which clip2 comes before clip10; names that differ in zeros only keep a fixed order."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def visible(folder: Path) -> list[Path]:
    """Return the entries of a folder in natural order, without hidden files and litter of systems."""
    entries = (path for path in folder.iterdir() if not path.name.startswith(".") and path.name.lower() not in LITTER)
    return sorted(entries, key=lambda path: natural_key(path.name))
