"""Which frames are in a window, and the shape that it has with its flow."""

from collections.abc import Sequence

NO_FLOW = "none"
NEIGHBOURS = (-1, 1)  # of the middle frame, in the order of the window: between them and it there is flow


def plane_count(flow: str) -> int:
    """Return how many planes a window has beside its frames: across and down, to each neighbour of the middle frame.

    Args:
        flow: Preset of DIS, or ``none``.
    """
    return 0 if flow == NO_FLOW else 2 * len(NEIGHBOURS)


def window_shape(size: tuple[int, int], offsets: Sequence[int], flow: str = NO_FLOW) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of a window: 3 * F channels of the frames, then the planes of the flow."""
    return 3 * len(offsets) + plane_count(flow), *size
