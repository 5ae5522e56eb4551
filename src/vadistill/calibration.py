"""The affine map from a teacher's object scores to map values."""

from dataclasses import dataclass

import numpy as np

from vadistill.settings import Calibration


@dataclass(frozen=True)
class Affine:
    """score -> slope * score + intercept."""

    slope: float
    intercept: float

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Return calibrated scores, not cut to any range."""
        return self.slope * score + self.intercept

    def map_values(self, score: np.ndarray) -> np.ndarray:
        """Return calibrated scores cut to [0, 1], the values of anomaly maps."""
        return np.clip(self(score), 0, 1)


def fit_affine(scores: np.ndarray, settings: Calibration) -> Affine:
    """Fit the map that takes two percentiles of the training scores (N,) to two values.

    Equal scores all go to the low value. Its slope is then 1: a higher test score still stands out.
    """
    low, high = np.percentile(scores, [settings.low_percentile, settings.high_percentile])
    slope = (settings.high_value - settings.low_value) / (high - low) if high > low else 1.0
    return Affine(float(slope), float(settings.low_value - slope * low))
