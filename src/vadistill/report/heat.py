"""A frame-level detector's maps as heat: on the scale of pictures, whatever the detector's own."""

import numpy as np

from vadistill.io.maps import MapStore
from vadistill.report.plots import HIGH, STUDENT

ORDINARY, HOT = 50, 99.9  # percentiles of all cells of all clips that are without heat, and that have most


def heat_of(maps: MapStore, clip: str, detector: str) -> np.ndarray:
    """Return the finest maps (T, g, g) of a clip, ``HIGH`` being most heat.

    The student has learned calibrated maps, which are heat as they are; others are judged by their own values.

    Args:
        maps: Of all clips.
        clip: One of them.
        detector: Name of the detector.
    """
    side = max(maps.resolutions(clip))
    grid = maps.read(clip, (side,))[side].astype(np.float32)
    if detector == STUDENT:
        return grid
    cells = np.concatenate([maps.read(name, (side,))[side].ravel() for name in maps.clips()])
    low, high = np.percentile(cells.astype(np.float32), (ORDINARY, HOT))
    return HIGH * (grid - low) / max(high - low, np.finfo(np.float32).tiny)
