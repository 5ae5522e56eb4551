"""Frame scores from speed alone: how much faster a cell moves than cells of its row usually do. Nothing is learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vadistill.geometry.motion import usual_speed
from vadistill.maps.percentiles import steady

HIGH_PERCENTILE = 99  # of the training frames, where scores reach tanh(1)


@dataclass(frozen=True)
class FlowByRow:
    """What was fitted on training clips.

    Attributes:
        usual: Usual speed (R,) by row of cells, of each scene.
        overall: The same of all scenes together, for scenes without a training clip.
        high: Speed of a frame's fastest cell, in units of its row, that is rare in training.
    """

    usual: dict[str, np.ndarray]
    overall: np.ndarray
    high: float

    def __call__(self, speed: np.ndarray, scene: str) -> np.ndarray:
        """Return the scores (T,), from 0 to 1, of a clip whose cells have the speeds (T, R, C)."""
        return np.tanh(highest_in_units(speed, self.usual.get(scene, self.overall)) / self.high)


def fit(clips: Sequence[tuple[str, np.ndarray]]) -> FlowByRow:
    """Fit usual speeds to training clips, at least one: the scene of each, and the speed (T, R, C) of its cells."""
    scenes = sorted({scene for scene, _ in clips})
    usual = {scene: usual_speed([speed for other, speed in clips if other == scene]) for scene in scenes}
    overall = usual_speed([speed for _, speed in clips]) if len(scenes) > 1 else usual[scenes[0]]
    highest = np.concatenate([highest_in_units(speed, usual[scene]) for scene, speed in clips])
    # Where hardly anything moves, what is as fast as the usual speed is still rare.
    high = max(float(np.percentile(highest, steady(HIGH_PERCENTILE, len(highest)))), 1.0)
    return FlowByRow(usual, overall, high)


def highest_in_units(speed: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return the highest speed (T,) of any cell in units of its row's usual speed (R,); speeds are (T, R, C)."""
    return (speed.max(2).astype(np.float64) / usual).max(1)
