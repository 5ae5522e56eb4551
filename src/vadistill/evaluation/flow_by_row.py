"""Frame scores from speed alone: how much faster a cell moves than cells of its row usually do. Nothing is learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vadistill.geometry.motion import usual_speed
from vadistill.io.json_records import JsonRecord, key
from vadistill.maps.percentiles import steady

HIGH_PERCENTILE = 99  # of the training frames, where scores reach tanh(1)


@dataclass(frozen=True, kw_only=True)
class FlowByRow(JsonRecord):
    """What was fitted on training clips; speeds are in heights of the frame."""

    usual: dict[str, list[float]] = key("usual speed by row of cells (R), of each scene")
    overall: list[float] = key("the same of all scenes together, for scenes without a training clip")
    high: float = key("speed of a frame's fastest cell, in units of its row, that is rare in training")

    def __call__(self, speed: np.ndarray, scene: str) -> np.ndarray:
        """Return the scores (T,), from 0 to 1, of a clip whose cells have the speeds (T, R, C)."""
        return np.tanh(highest_in_units(speed, np.array(self.usual.get(scene, self.overall))) / self.high)


def fit(clips: Sequence[tuple[str, np.ndarray]]) -> FlowByRow:
    """Fit usual speeds to training clips, at least one: the scene of each, and the speed (T, R, C) of its cells."""
    scenes = sorted({scene for scene, _ in clips})
    usual = {scene: usual_speed([speed for other, speed in clips if other == scene]) for scene in scenes}
    overall = usual_speed([speed for _, speed in clips]) if len(scenes) > 1 else usual[scenes[0]]
    highest = np.concatenate([highest_in_units(speed, usual[scene]) for scene, speed in clips])
    # Where hardly anything moves, what is as fast as the usual speed is still rare.
    high = max(float(np.percentile(highest, steady(HIGH_PERCENTILE, len(highest)))), 1.0)
    by_scene = {scene: rows.tolist() for scene, rows in usual.items()}
    return FlowByRow(usual=by_scene, overall=overall.tolist(), high=high)


def highest_in_units(speed: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return the highest speed (T,) of any cell in units of its row's usual speed (R,); speeds are (T, R, C)."""
    return (speed.max(2).astype(np.float64) / usual).max(1)
