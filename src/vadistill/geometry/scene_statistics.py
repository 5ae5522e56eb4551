"""Statistics of normal objects by the place where they stand: scene, and row of the box's lower edge.

Where a box stands in the picture decides what is normal there: near objects are larger and faster. Tables are fitted
on training objects only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]
"""From the values (n, V) of the objects of a band to its statistics (W,)."""

BANDS = 8
LEAST = 50  # objects in a band; one with fewer is merged with the next


@dataclass(frozen=True)
class Bands:
    """Statistics of one scene.

    Attributes:
        rows: (B,) mean rows of the bands' objects, ascending, as fractions of the frame height.
        values: (B, W) statistics of the bands.
    """

    rows: np.ndarray
    values: np.ndarray

    def __call__(self, row: np.ndarray) -> np.ndarray:
        """Return the statistics (N, W) at rows (N,): linear between the bands, constant beyond the outer ones."""
        return np.stack([np.interp(row, self.rows, column) for column in self.values.T], axis=1)


def fit_bands(row: np.ndarray, value: np.ndarray, statistic: Statistic, least: int = LEAST) -> Bands:
    """Fit the statistics of one scene.

    The rows that occur are cut into ``BANDS`` bands of equal height; neighbours are merged until each has ``least``
    objects, so that few objects make one band.

    Args:
        row: (N,) rows of the objects as fractions of the frame height, N at least 1.
        value: (N, V) what is measured of each object.
        statistic: Taken of each band.
        least: Objects of a band.
    """
    inner = np.linspace(row.min(), row.max(), BANDS + 1)[1:-1]
    band = np.searchsorted(inner, row)
    groups = _merged(np.bincount(band, minlength=BANDS).tolist(), least)
    members = [(band >= first) & (band < end) for first, end in groups]
    return Bands(
        np.array([row[of].mean() for of in members], np.float64),
        np.stack([statistic(value[of]) for of in members]).astype(np.float64),
    )


def _merged(counts: list[int], least: int) -> list[tuple[int, int]]:
    """Return half-open ranges of bands with at least ``least`` objects each, or one range of all bands."""
    groups, first, held = [], 0, 0
    for index, count in enumerate(counts):
        held += count
        if held >= least:
            groups.append((first, index + 1))
            first, held = index + 1, 0
    last = groups.pop()[0] if groups else 0
    return [*groups, (last, len(counts))]


def fit_scenes(scene: np.ndarray, row: np.ndarray, value: np.ndarray, statistic: Statistic, scenes: int) -> list[Bands]:
    """Fit a table for each scene, and behind them one for all: for scenes that are unknown, or have no object.

    Args:
        scene: (N,) scene of each object, an index below ``scenes``.
        row: (N,) as in ``fit_bands``.
        value: (N, V) as in ``fit_bands``.
        statistic: As in ``fit_bands``.
        scenes: Number of scenes S.

    Returns:
        S + 1 tables.
    """
    overall = fit_bands(row, value, statistic)
    tables = []
    for index in range(scenes):
        of = scene == index
        tables.append(fit_bands(row[of], value[of], statistic) if of.any() else overall)
    return [*tables, overall]


def at_scene(tables: list[Bands], scene: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return the statistics (N, W) for objects of scenes (N,) at rows (N,); unknown scenes take the last table."""
    made = np.empty((len(row), tables[-1].values.shape[1]))
    for index in np.unique(scene):
        of = scene == index
        made[of] = tables[min(int(index), len(tables) - 1)](row[of])
    return made
