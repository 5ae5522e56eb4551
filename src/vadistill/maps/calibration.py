"""From the terms of a teacher's objects to object scores and map values, fitted on training clips.

Everything is optional but the last step: probabilities become logits, terms are standardised by place, their mean is
squashed, and an affine map takes two percentiles of the training scores to two map values.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vadistill.geometry.scene_statistics import Bands, at_scene, fit_bands, fit_scenes
from vadistill.maps.percentiles import steady
from vadistill.settings import CalibrationConfig

CERTAIN = 1e-6  # probabilities nearer to 0 or 1 are cut before the logit
SQUASH_PERCENTILE = 99.9


@dataclass(frozen=True)
class Affine:
    """A linear map: slope * score + intercept."""

    slope: float
    intercept: float

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Return calibrated scores, not cut to any range."""
        return self.slope * score + self.intercept


@dataclass(frozen=True)
class Calibrator:
    """What was fitted for some terms of a teacher.

    Attributes:
        terms: Names of the K terms that count.
        logits: Which of them enter as logits.
        scenes: Names of the scenes that the tables are of.
        tables: Mean and deviation of each term by place, a table (B, 2 K) a scene and one for all; empty where terms
            are not standardised.
        squash: The scores that squashing takes to 0 and to tanh(1); None where scores are not squashed.
        affine: From scores to map values.
    """

    terms: tuple[str, ...]
    logits: tuple[bool, ...]
    scenes: tuple[str, ...]
    tables: tuple[Bands, ...]
    squash: tuple[float, float] | None
    affine: Affine

    def __call__(self, terms: np.ndarray, scene: str, row: np.ndarray) -> np.ndarray:
        """Return calibrated scores (N,) of objects of one scene, at least 0, not cut at 1.

        An object is never less abnormal than no object, whose map value is 0.

        Args:
            terms: (N, K) the terms that count.
            scene: Name of the scene.
            row: (N,) lower edges of the boxes as fractions of the frame height.
        """
        index = self.scenes.index(scene) if scene in self.scenes else len(self.scenes)
        return np.maximum(self.affine(self._score(terms, np.full(len(row), index), row)), 0)

    def knows(self, scene: str) -> bool:
        """Return whether statistics of this scene were fitted, or none are needed."""
        return not (self.tables and self.scenes) or scene in self.scenes

    def _score(self, terms: np.ndarray, scene: np.ndarray, row: np.ndarray) -> np.ndarray:
        values = _logits(terms, self.logits)
        if self.tables:
            mean, deviation = np.split(at_scene(list(self.tables), scene, row), 2, axis=1)
            values = (values - mean) / deviation
        score = values.mean(axis=1)
        return score if self.squash is None else _squashed(score, self.squash)

    def to_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads."""
        tables = [{"rows": table.rows.tolist(), "values": table.values.tolist()} for table in self.tables]
        return {**asdict(self), "tables": tables}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Calibrator":
        """Return the calibrator that ``to_json`` described."""
        tables = tuple(Bands(np.array(part["rows"]), np.array(part["values"])) for part in content["tables"])
        squash = tuple(content["squash"]) if content["squash"] else None
        names = {key: tuple(content[key]) for key in ("terms", "logits", "scenes")}
        return cls(**names, tables=tables, squash=squash, affine=Affine(**content["affine"]))


def map_values(calibrated: np.ndarray) -> np.ndarray:
    """Return calibrated scores cut to [0, 1], the values of anomaly maps."""
    return np.clip(calibrated, 0, 1)


def fit(
    names: Sequence[str],
    probabilities: Sequence[str],
    terms: np.ndarray,
    scene: np.ndarray,
    row: np.ndarray,
    scenes: Sequence[str],
    settings: CalibrationConfig,
) -> Calibrator:
    """Fit a calibrator to training objects.

    Args:
        names: Names of the K terms that count.
        probabilities: Names of terms that are probabilities.
        terms: (N, K), N at least 1.
        scene: (N,) indices into ``scenes``.
        row: (N,) lower edges of the boxes as fractions of the frame height.
        scenes: Names of the scenes.
        settings: What to fit.
    """
    logits = tuple(settings.logits and name in probabilities for name in names)
    values = _logits(terms, logits)
    tables: tuple[Bands, ...] = ()
    if settings.standardise == "all":
        tables = (fit_bands(row, values, _mean_and_deviation, least=len(row)),)
        scenes = ()
    elif settings.standardise == "scene":
        tables = tuple(fit_scenes(scene, row, values, _mean_and_deviation, len(scenes)))
    plain = Calibrator(tuple(names), logits, tuple(scenes), tables, None, Affine(1.0, 0.0))
    score = plain._score(terms, scene, row)
    squash = None
    if settings.squash:
        # From the median: the scores of normal objects may all be negative, as means of logits are.
        low, high = np.percentile(score, [50, steady(SQUASH_PERCENTILE, len(score))])
        squash = float(low), float(high)
        score = _squashed(score, squash)
    return Calibrator(plain.terms, logits, plain.scenes, tables, squash, fit_affine(score, settings))


def fit_affine(scores: np.ndarray, settings: CalibrationConfig) -> Affine:
    """Fit the map that takes two percentiles of the training scores (N,) to two values.

    Of few scores the percentiles lie farther inward (``maps.percentiles``). Equal scores all go to the low value.
    Its slope is then 1: a higher test score still stands out.
    """
    wished = (settings.low_percentile, settings.high_percentile)
    low, high = np.percentile(scores, [steady(percentile, len(scores)) for percentile in wished])
    slope = (settings.high_value - settings.low_value) / (high - low) if high > low else 1.0
    return Affine(float(slope), float(settings.low_value - slope * low))


def _squashed(score: np.ndarray, squash: tuple[float, float]) -> np.ndarray:
    zero, one = squash
    return np.tanh((score - zero) / max(one - zero, 1e-6))


def _logits(terms: np.ndarray, which: Sequence[bool]) -> np.ndarray:
    values = np.asarray(terms, np.float64).copy()
    chosen = np.flatnonzero(which)
    cut = values[:, chosen].clip(CERTAIN, 1 - CERTAIN)
    values[:, chosen] = np.log(cut / (1 - cut))
    return values


def _mean_and_deviation(values: np.ndarray) -> np.ndarray:
    """Return means and standard deviations (2 K,) of values (n, K); a term that never varies keeps its unit."""
    deviation = values.std(axis=0)
    return np.concatenate([values.mean(axis=0), np.where(deviation > 1e-9, deviation, 1.0)])
