"""A frame-level detector's maps as heat: on the scale of pictures, whatever the detector's own."""

from functools import lru_cache

import numpy as np

from vadistill.io.maps import MapStore
from vadistill.report.plots import HIGH
from vadistill.settings import calibrated_maps

ORDINARY, HOT = 50, 99.9  # percentiles of all cells of all clips that are without heat, and that have most


def heat_of(maps: MapStore, clip: str, detector: str) -> np.ndarray:
    """Return the finest maps (T, g, g) of a clip, ``HIGH`` being most heat.

    Calibrated maps are heat as they are; others are judged by their own values in all clips.

    Args:
        maps: Of all clips.
        clip: One of them.
        detector: Name of the detector.
    """
    side = max(maps.resolutions(clip))
    grid = maps.read(clip, (side,))[side].astype(np.float32)
    return grid if calibrated_maps(detector) else _between(grid, *_scale(maps, side))


def heat_of_video(grid: np.ndarray, detector: str) -> np.ndarray:
    """Return the finest maps (T, g, g) of a single video as heat, as ``heat_of``; other maps are judged by themselves.

    Args:
        grid: The maps.
        detector: Name of the detector.
    """
    grid = grid.astype(np.float32)
    return grid if calibrated_maps(detector) else _between(grid, *_bounds(grid))


def _between(grid: np.ndarray, low: float, high: float) -> np.ndarray:
    return HIGH * (grid - low) / (high - low) if high > low else np.zeros_like(grid)


@lru_cache(maxsize=1)  # of the same maps, clip by clip
def _scale(maps: MapStore, side: int) -> tuple[float, float]:
    """Return the values without heat and with most of it, the highest one where nearly all cells are alike."""
    cells = np.concatenate([maps.read(name, (side,))[side].ravel() for name in maps.clips()]).astype(np.float32)
    return _bounds(cells)


def _bounds(cells: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(cells, (ORDINARY, HOT))
    return float(low), float(high if high > low else cells.max())
