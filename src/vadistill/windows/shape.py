"""Which frames are in a window, and the shape that it has with its flow."""

from collections.abc import Mapping, Sequence
from typing import Any

from vadistill.errors import InputError

NO_FLOW = "none"
FROM_FRAME_TO_FRAME = 4  # version of the stage distill_student since which flow is so
FLOWS = 2  # from the earlier neighbour of the middle frame to it, and from it to the later one


def plane_count(flow: str) -> int:
    """Return how many planes a window has beside its frames: across and down, of each flow.

    Args:
        flow: Preset of DIS, or ``none``.
    """
    return 0 if flow == NO_FLOW else 2 * FLOWS


def check_flow(student: object, flow: str, settings: Mapping[str, Any]) -> None:
    """Check that a student got its flow as it is measured now: from frame to frame.

    Args:
        student: What the error calls it.
        flow: Its preset of DIS, or ``none``.
        settings: It was trained with.

    Raises:
        InputError: It was trained when both flows led away from the middle frame.
    """
    if flow != NO_FLOW and settings.get("version", FROM_FRAME_TO_FRAME) < FROM_FRAME_TO_FRAME:
        raise InputError(
            f"{student}: learned from flow that led from the middle frame to both sides, and now it leads "
            "from frame to frame; expected a student that this version has trained"
        )


def window_shape(size: tuple[int, int], offsets: Sequence[int], flow: str = NO_FLOW) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of a window: 3 * F channels of the frames, then the planes of the flow."""
    return 3 * len(offsets) + plane_count(flow), *size
