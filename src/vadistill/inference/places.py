"""What is usual at each place of the picture, for a detector that another camera's clips have trained.

Seen from another place, a tree or a far pavement may keep a cell of the maps high all day. Each cell is therefore
measured by its own mean and standard deviation in normal video of the camera.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vadistill.errors import InputError, in_one_line
from vadistill.inference.backend import Backend, BatchScores

LEAST_SPREAD = 0.5  # of a cell, as a share of the median of all cells: a cell that never changes explains nothing


@dataclass(frozen=True, eq=False)
class PlaceStatistics:
    """Mean and standard deviation of each cell of the maps in normal video.

    Attributes:
        mean: {g: (g, g) float32}.
        spread: {g: (g, g) float32}.
    """

    mean: Mapping[int, np.ndarray]
    spread: Mapping[int, np.ndarray]

    def scored(self, maps: Mapping[int, np.ndarray]) -> BatchScores:
        """Return maps {g: (N, g, g)} in which every cell has the mean and spread of the median cell in normal video.

        With frame scores (N,): the mean over the resolutions of each map's maximum, as a student's are.
        """
        made = {g: grid * self._lines[g][0] + self._lines[g][1] for g, grid in maps.items()}
        highest = np.stack([grid.reshape(len(grid), -1).max(1) for grid in made.values()])
        return BatchScores(highest.mean(0), made)

    @cached_property
    def _lines(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Factor and summand (g, g) float32 of each cell, by resolution."""
        made = {}
        for g, mean in self.mean.items():
            usual = np.maximum(self.spread[g], LEAST_SPREAD * np.median(self.spread[g]))
            factor = np.divide(np.median(self.spread[g]), usual, out=np.ones_like(usual), where=usual > 0)
            made[g] = factor.astype(np.float32), (np.median(mean) - mean * factor).astype(np.float32)
        return made

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what ``from_arrays`` reads: (g, g) float32 arrays named ``mean_16``, ``spread_16``."""
        kinds = {"mean": self.mean, "spread": self.spread}
        return {f"{kind}_{g}": grid for kind, grids in kinds.items() for g, grid in grids.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], resolutions: tuple[int, ...]) -> "PlaceStatistics":
        """Return the statistics that were kept in arrays.

        Raises:
            InputError: They are damaged, or of other maps.
        """
        try:
            mean, spread = ({g: np.asarray(arrays[f"{kind}_{g}"], np.float32) for g in resolutions}
                            for kind in ("mean", "spread"))  # fmt: skip
            for g in resolutions:
                if mean[g].shape != (g, g) or spread[g].shape != (g, g):
                    raise ValueError(f"{mean[g].shape} and {spread[g].shape} in place of {(g, g)}")
            if not all(np.isfinite(grid).all() for grid in (*mean.values(), *spread.values())):
                raise ValueError("numbers that are not finite")
            return cls(mean, spread)
        except (KeyError, ValueError) as error:
            raise InputError(f"the statistics of places are damaged ({in_one_line(error)}); adapt again") from error


class PlaceSums:
    """Adds up maps of normal video for ``PlaceStatistics``.

    Attributes:
        count: Frames so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, maps: Mapping[int, np.ndarray]) -> None:
        """Take the maps {g: (N, g, g)} of more frames."""
        for g, grid in maps.items():
            values = grid.astype(np.float64)
            total, squares = self._sums.get(g, (0.0, 0.0))
            self._sums[g] = total + values.sum(0), squares + (values**2).sum(0)
        self.count += len(next(iter(maps.values())))

    def __add__(self, other: "PlaceSums") -> "PlaceSums":
        made = PlaceSums()
        made.count = self.count + other.count
        for g, (total, squares) in self._sums.items():
            more, of_squares = other._sums.get(g, (0.0, 0.0))
            made._sums[g] = total + more, squares + of_squares
        return made

    def statistics(self) -> PlaceStatistics:
        """Return mean and standard deviation of each cell."""
        mean, spread = {}, {}
        for g, (total, squares) in self._sums.items():
            middle = total / self.count
            mean[g] = middle.astype(np.float32)
            spread[g] = np.sqrt(np.maximum(squares / self.count - middle**2, 0)).astype(np.float32)
        return PlaceStatistics(mean, spread)


class PlacedBackend:
    """A backend whose maps are measured by what is usual at each place; see ``Backend``."""

    def __init__(self, backend: Backend, places: PlaceStatistics) -> None:
        self._backend, self._places = backend, places
        self.name, self.size, self.offsets, self.flow = backend.name, backend.size, backend.offsets, backend.flow
        self.resolutions, self.conditions, self.detector = backend.resolutions, backend.conditions, backend.detector

    def __call__(self, frames: np.ndarray) -> BatchScores:
        """Score windows; see ``PlaceStatistics.scored``."""
        return self._places.scored(self._backend(frames).maps)
