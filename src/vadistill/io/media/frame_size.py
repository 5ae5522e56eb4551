"""The frames of a clip have one size."""

import numpy as np

from vadistill.errors import InputError


def check_size(frame: np.ndarray, size: tuple[int, ...], name: str) -> None:
    """Refuse a frame whose shape (H, W, 3) is not that of the clip's first one."""
    if frame.shape != size:
        raise InputError(
            f"{name}: is {frame.shape[1]}x{frame.shape[0]} pixels; expected {size[1]}x{size[0]} as the first frame "
            "of the clip"
        )
