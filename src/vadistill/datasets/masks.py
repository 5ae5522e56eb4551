"""Readers of frame labels and pixel masks, of the kinds that several layouts use."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vadistill.errors import InputError
from vadistill.io.arrays import load_arrays
from vadistill.io.files import checked_path


def labels_of_intervals(intervals: Iterable[tuple[int, int]], frames: int, path: Path, clip: str) -> np.ndarray:
    """Turn intervals [start, end) into frame labels (T,) uint8, 1 = abnormal; ``path`` is named in errors.

    Raises:
        InputError: An interval lies outside the clip.
    """
    labels = np.zeros(frames, np.uint8)
    for start, end in intervals:
        if not 0 <= start < end <= frames:
            raise InputError(
                f"{path}: clip '{clip}' has {frames} frames; the labels name [{start}, {end}) from 0; expected "
                "intervals within the clip"
            )
        labels[start:end] = 1
    return labels


def load_array(path: Path, kinds: str = "biu") -> np.ndarray:
    """Map a .npy file of booleans or integers, or of other ``kinds`` of numbers."""
    array = load_arrays(path, mapped=True)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
        kind = array.dtype if isinstance(array, np.ndarray) else "an archive"
        expected = "booleans or integers" if kinds == "biu" else "floats"
        raise InputError(f"{path}: holds {kind}; expected a .npy array of {expected}")
    return array


def frame_array(path: Path, frames: int) -> np.ndarray:
    """Read frame labels (T,) uint8, 1 = abnormal, of a clip of so many frames from a .npy file.

    Raises:
        InputError: It holds something else.
    """
    array = load_array(path)
    if array.shape != (frames,):
        raise InputError(f"{path}: labels of shape {array.shape}; expected ({frames},), one a frame")
    if not np.isin(array, (0, 1)).all():
        raise InputError(f"{path}: labels from {array.min()} to {array.max()}; expected 0 (normal) and 1 (abnormal)")
    return array.astype(np.uint8)


def mask_array(path: Path, frames: int, size: tuple[int, int] | None) -> np.ndarray:
    """Read pixel masks (T, H, W) bool, True = abnormal, from a .npy file; ``size`` is (H, W), None for any.

    Raises:
        InputError: It holds something else.
    """
    array = load_array(path)
    if array.ndim != 3 or array.shape != (frames, *(size or array.shape[1:])):
        height, width = size or ("H", "W")
        raise InputError(f"{path}: masks of shape {array.shape}; expected ({frames}, {height}, {width})")
    return np.asarray(array != 0)


def checked_masks(
    masks: list[np.ndarray], frames: int, size: tuple[int, int] | None, path: Path, files: Sequence[Path] = ()
) -> np.ndarray:
    """Check the masks of a clip, from one file or one file each, against its frames; (T, H, W) bool."""
    if len(masks) != frames:
        raise InputError(f"{path}: {len(masks)} masks; expected {frames}, one a frame")
    size = size or masks[0].shape
    for index, mask in enumerate(masks):
        if mask.shape != tuple(size):
            raise InputError(
                f"{files[index] if files else path}: mask {index} has shape {mask.shape}; expected {tuple(size)}, "
                "height and width"
            )
    return np.stack(masks)


def text_lines(path: Path) -> list[str]:
    """Return the lines of a text file of labels.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return checked_path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror}); expected a text file") from error
