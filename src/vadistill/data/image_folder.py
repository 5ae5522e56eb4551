"""Frames of a clip's source that is a folder of images, in natural order of their names."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vadistill.data.clips import IMAGE_SUFFIXES, visible
from vadistill.errors import InputError
from vadistill.files import checked_path

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # damaged files are reported as InputError
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


def images_of(folder: Path) -> Iterator[SourceFrame]:
    """Yield the images of a folder, in natural order of their names.

    A single image that cannot be decoded is replaced by the one before it, the first one by the second: labels count
    frames, so that none may be left out. Every replacement is logged and marked. At most one image in 20 and five a
    clip are replaced, and never two in a row; a clip of fewer than 20 images is not repaired.

    Raises:
        InputError: As ``frames_of``; of images that cannot be decoded, more than these.
    """
    images = (path for path in visible(checked_path(folder)) if path.suffix.lower() in IMAGE_SUFFIXES)
    paths = [checked_path(path) for path in images if path.is_file()]
    size, repaired = None, []
    for t, path in enumerate(paths):
        try:
            image = _read_image(path)
        except InputError as error:
            _check_repairable(error, t, repaired, len(paths))
            neighbour = paths[t - 1] if t else paths[1]
            image = _read_image(neighbour)._replace(repaired=True)
            repaired.append(t)
            log.warning("%s; frame %d is replaced by a copy of %s", error, t, neighbour.name)
        size = size or image.frame.shape
        check_size(image.frame, size, str(path))
        yield image
    if size is None:
        raise InputError(f"{folder}: no frames; expected images ({' '.join(sorted(IMAGE_SUFFIXES))})")


def _read_image(path: Path) -> SourceFrame:
    content = path.read_bytes()
    return SourceFrame(decode_image(content, path), content)


def _check_repairable(error: InputError, t: int, repaired: list[int], images: int) -> None:
    """Pass on the error of an image that is not to be replaced; see ``images_of``."""
    most = min(MOST_REPAIRED, images // REPAIR_SHARE)
    if len(repaired) == most or t - 1 in repaired:
        raise InputError(f"{error}; of {images} images, at most {most} single ones are replaced") from error


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
        raise InputError(f"{path}: not a readable image; expected a whole file ({' '.join(sorted(IMAGE_SUFFIXES))})")
    return image


def check_size(frame: np.ndarray, size: tuple[int, ...], name: str) -> None:
    """Refuse a frame whose shape (H, W, 3) is not that of the clip's first one."""
    if frame.shape != size:
        raise InputError(
            f"{name}: is {frame.shape[1]}x{frame.shape[0]} pixels; expected {size[1]}x{size[0]} as the first frame "
            "of the clip"
        )
