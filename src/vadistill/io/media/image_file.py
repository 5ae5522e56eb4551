"""Image files and what they hold, decoded by OpenCV."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vadistill.errors import InputError
from vadistill.extras import extra
from vadistill.io.files import checked_path
from vadistill.io.media.tiff import count_pages, is_tiff
from vadistill.io.names import IMAGE_SUFFIXES

with extra("opencv"):
    import cv2

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # damaged files are reported as InputError
DEEP = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
PAGES = 16  # of a file that are in memory at once


class Unreadable(InputError):
    """An image that cannot be decoded."""


def decode_image(content: bytes, path: Path | str, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Decode an image file's content to 8 bits: (H, W, 3) BGR, or what ``flags`` of OpenCV ask for.

    Grey becomes BGR, 16 bits a channel become 8 by dropping the lower byte, transparency is dropped.

    Raises:
        InputError: The content is no whole image; the message names ``path``.
    """
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise Unreadable(unreadable(path))
    return image


def read_grey(path: Path) -> np.ndarray:
    """Read an image as (H, W) uint8.

    Raises:
        InputError: It is missing, or no whole image.
    """
    if not checked_path(path).is_file():
        raise InputError(f"{path}: missing; expected a mask")
    return decode_image(path.read_bytes(), path, cv2.IMREAD_GRAYSCALE)


def values_of(content: bytes, path: Path) -> np.ndarray | None:
    """Return the values of an image file's content, (H, W, 3) in their own type; None for no whole image."""
    data = np.frombuffer(content, np.uint8)
    for flags in (DEEP, cv2.IMREAD_UNCHANGED):  # grey floats are not read as colours
        try:
            image = cv2.imdecode(data, flags)
        except cv2.error:
            image = None
        if image is not None:
            return _three(image)
    return None


def page_count(path: Path) -> int:
    """Return how many pictures an image file holds, 1 for what cannot be read.

    Raises:
        InputError: It is a TIFF that ends before its last page.
    """
    with checked_path(path).open("rb") as file:
        if is_tiff(file.read(4)):
            file.seek(0)
            return max(1, count_pages(file.read(), str(path)))
    try:
        return max(1, cv2.imcount(str(path)))
    except cv2.error:
        return 1


def pages_of(path: Path, count: int) -> Iterator[np.ndarray]:
    """Yield the values (H, W, 3) of all pages of a TIFF file, or all frames of an animated image.

    Raises:
        InputError: One of them cannot be decoded.
    """
    content = np.frombuffer(path.read_bytes(), np.uint8)
    tiff = content[:2].tobytes() in (b"II", b"MM")
    chunk = PAGES if tiff else count  # the frames of an animation build on each other
    for start in range(0, count, chunk):
        wanted = (start, min(start + chunk, count))
        pages = _decoded_pages(content, wanted if tiff else None)
        if len(pages) != wanted[1] - wanted[0]:
            raise InputError(f"{path}: {start + len(pages)} of {count} pages can be read; expected a whole file")
        yield from map(_three, pages)


def _decoded_pages(content: np.ndarray, wanted: tuple[int, int] | None) -> Sequence[np.ndarray]:
    for flags in (DEEP, cv2.IMREAD_UNCHANGED):
        try:
            if wanted is None:
                there, pages = cv2.imdecodemulti(content, flags)
            else:
                there, pages = cv2.imdecodemulti(content, flags, range=wanted)
        except cv2.error:
            continue
        if there:
            return pages
    return ()


def _three(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., :3]


def unreadable(path: Path | str) -> str:
    """Say that a file is no whole image."""
    return f"{path}: not a readable image; expected a whole file ({' '.join(sorted(IMAGE_SUFFIXES))})"
