"""Frames of a clip's source that is a folder of images, in natural order of their names."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vadistill.errors import InputError
from vadistill.io.files import checked_path
from vadistill.io.media.depth import Range, ToBytes
from vadistill.io.media.frame_size import check_size
from vadistill.io.media.image_file import Unreadable, page_count, pages_of, unreadable, values_of
from vadistill.io.media.numbering import missing_images
from vadistill.io.names import IMAGE_SUFFIXES, visible

log = logging.getLogger(__name__)
# Of the images of a clip, those that cannot be decoded and are replaced: one in so many, and not more than these.
REPAIR_SHARE, MOST_REPAIRED = 20, 5


class SourceFrame(NamedTuple):
    """A frame of a clip's source.

    Attributes:
        frame: (H, W, 3) uint8 BGR.
        content: Of its image file; nothing for a frame of a video.
        repaired: Whether it is a neighbour of the frame that should stand here.
    """

    frame: np.ndarray
    content: bytes = b""
    repaired: bool = False


def images_of(folder: Path, scale: Range | None = None) -> Iterator[SourceFrame]:
    """Yield the images of a folder, in natural order of their names.

    A single image that cannot be decoded is replaced by the one before it, the first one by the second: labels count
    frames, so that none may be left out. Every replacement is logged and marked. At most one image in 20 and five a
    clip are replaced, and never two in a row; a clip of fewer than 20 images is not repaired. A file of several pages
    that is the only one gives all of them. The log says which numbers are missing, how many other files there are and
    what range images of more than 8 bits have.

    Args:
        folder: The folder.
        scale: Values of images of more than 8 bits that become 0 and 255; None for the full range of 16 bits.

    Raises:
        InputError: As ``frames_of``; of images that cannot be decoded, more than these; two images have one number; a
            file of several pages lies beside others.
    """
    paths, to_bytes, size = _image_files(folder), ToBytes(scale), None
    images = _pages(paths[0], to_bytes) if len(paths) == 1 else _single_images(paths, to_bytes)
    for image, path in images:
        size = size or image.frame.shape
        check_size(image.frame, size, str(path))
        yield image
    to_bytes.report(folder)


def _image_files(folder: Path) -> list[Path]:
    """Return the images of a folder in order, at least one; say what is missing and what else there is."""
    found = visible(checked_path(folder))
    paths = [checked_path(path) for path in found if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not paths:
        held = f", found {', '.join(path.name for path in found[:3])}" if found else ""
        raise InputError(
            f"{folder}: no frames; expected images ({' '.join(sorted(IMAGE_SUFFIXES))}){held}; videos of a data set "
            "lie in train and test themselves"
        )
    if missing := missing_images(folder, [path.name for path in paths]):
        log.warning("%s: %s; the images that are there count as its frames", folder, missing)
    if others := [path.name for path in found if path not in set(paths)]:
        log.warning("%s: %d other files than images are left out, %s first", folder, len(others), others[0])
    return paths


def _pages(path: Path, to_bytes: ToBytes) -> Iterator[tuple[SourceFrame, Path]]:
    """Yield what the only image of a folder holds."""
    count = page_count(path)
    if count == 1:
        yield _read_image(path, to_bytes), path
        return
    log.info("%s: its %d pages are the frames", path, count)
    for values in pages_of(path, count):
        yield SourceFrame(to_bytes(values, str(path))), path


def _single_images(paths: list[Path], to_bytes: ToBytes) -> Iterator[tuple[SourceFrame, Path]]:
    """Yield the images of a folder of several; see ``images_of``."""
    repaired: list[int] = []
    for t, path in enumerate(paths):
        if (count := page_count(path)) > 1:
            raise InputError(
                f"{path}: {count} pages in one file beside other images; expected one picture a file, or the file "
                "alone in its folder"
            )
        try:
            image = _read_image(path, to_bytes)
        except Unreadable as error:
            _check_repairable(error, t, repaired, len(paths))
            neighbour = paths[t - 1] if t else paths[1]
            image = _read_image(neighbour, to_bytes)._replace(repaired=True)
            repaired.append(t)
            log.warning("%s; frame %d is replaced by a copy of %s", error, t, neighbour.name)
        yield image, path


def _read_image(path: Path, to_bytes: ToBytes) -> SourceFrame:
    content = path.read_bytes()
    values = values_of(content, path)
    if values is None:
        raise Unreadable(unreadable(path))
    return SourceFrame(to_bytes(values, str(path)), content)


def _check_repairable(error: InputError, t: int, repaired: list[int], images: int) -> None:
    """Pass on the error of an image that is not to be replaced; see ``images_of``."""
    most = min(MOST_REPAIRED, images // REPAIR_SHARE)
    if len(repaired) == most or t - 1 in repaired:
        raise InputError(f"{error}; of {images} images, at most {most} single ones are replaced") from error
