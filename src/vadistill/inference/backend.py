"""The one interface of all inference backends."""

from typing import NamedTuple, Protocol

import numpy as np

from vadistill.windows.training_conditions import Conditions


class BatchScores(NamedTuple):
    """What a student says of N frames.

    Attributes:
        score: (N,) float32 frame scores.
        maps: {g: (N, g, g) float32} anomaly maps by resolution.
    """

    score: np.ndarray
    maps: dict[int, np.ndarray]


class Backend(Protocol):
    """A trained student, ready to score frames of one size.

    Attributes:
        name: What it runs on and in which precision, as tables name it: ``eager-fp32``, ``openvino-bf16``.
        size: Height and width of its input in pixels.
        offsets: Of the frames in its input from the judged one, (-3, 0, 3) for three frames three apart.
        flow: Preset of the flow that it gets beside its frames (``windows.flow_planes``), or ``none``.
        resolutions: Sides g of its maps.
        conditions: How the clips were filmed that it was trained on, if it says so.
        detector: Name of the frame-level detector.
    """

    name: str
    size: tuple[int, int]
    offsets: tuple[int, ...]
    flow: str
    resolutions: tuple[int, ...]
    conditions: Conditions | None
    detector: str

    def __call__(self, frames: np.ndarray) -> BatchScores:
        """Score windows (N, C, H, W) uint8: BGR triples in the order of ``offsets``, then the flow's planes; any N."""
        ...
