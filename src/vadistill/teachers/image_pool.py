"""A folder of unrelated images, from which pseudo-anomalies of appearance are cut."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vadistill.errors import InputError
from vadistill.io.files import checked_path
from vadistill.io.media.image_file import decode_image
from vadistill.io.names import IMAGE_SUFFIXES, visible
from vadistill.io.resize import resize


def read_image_pool(folder: Path, side: int, limit: int = 2560) -> np.ndarray:
    """Read the images of a folder and its folders, each as the square in its middle.

    Args:
        folder: The folder.
        side: Side of the squares in pixels.
        limit: At most so many images; of more, some spread evenly over their names.

    Returns:
        (P, 3, side, side) uint8 BGR, at least two.

    Raises:
        InputError: The folder is missing, holds fewer than two images, or one cannot be read.
    """
    if not checked_path(folder).is_dir():
        raise InputError(f"{folder}: missing; expected a folder of images")
    paths = list(_images(folder))
    if len(paths) < 2:
        wanted = " ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"{folder}: {len(paths)} images; expected at least two ({wanted}), some to hold out")
    chosen = np.linspace(0, len(paths) - 1, min(limit, len(paths))).round().astype(int)
    return np.stack([_square(decode_image(paths[i].read_bytes(), paths[i]), side).transpose(2, 0, 1) for i in chosen])


def _images(folder: Path) -> Iterator[Path]:
    for path in visible(folder):
        if path.is_dir():
            yield from _images(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            yield checked_path(path)


def _square(image: np.ndarray, side: int) -> np.ndarray:
    """Return the square in the middle of an image (H, W, 3), resized to (side, side, 3)."""
    cut = min(image.shape[:2])
    top, left = (image.shape[0] - cut) // 2, (image.shape[1] - cut) // 2
    square = image[top : top + cut, left : left + cut]
    return resize(square, (side, side))
