"""Masks and zones: which cells of the maps count, and the score of a part of the picture."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

FINE = 16  # points along each side of a cell at which it is asked whether it lies in a polygon
MOST_MASKED = 0.5  # share of a cell from which on, masked, it does not count; a zone has those with as much in it
Corners = Sequence[tuple[float, float]]


def share_within(polygons: Sequence[Corners], side: int) -> np.ndarray:
    """Return the share (side, side) float64 of each cell of a grid that lies in any of some polygons.

    Args:
        polygons: Corners x, y as shares of the picture's width and height.
        side: Of the grid.
    """
    fine = np.zeros((side * FINE, side * FINE), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(fine, [np.rint(np.array(polygon) * side * FINE - 0.5).astype(np.int32)], 1)
    return fine.reshape(side, FINE, side, FINE).mean((1, 3))


class Part:
    """A part of the picture: a zone without what is masked.

    A score is a student's: the mean over the resolutions of each map's maximum, here over the cells of the part. A map
    of one cell does not say where it is high; it counts as far as the highest cell of the finest map in the part is as
    high as the highest one of all.

    Args:
        resolutions: Sides of the maps.
        masks: Polygons that never count.
        zone: Corners of the zone; None for the whole picture.

    Attributes:
        counted: {g: (g, g) bool} cells that count.
        whole: Whether that is all of them.
    """

    def __init__(self, resolutions: Sequence[int], masks: Sequence[Corners] = (), zone: Corners | None = None) -> None:
        self.counted = {}
        for g in resolutions:
            inside = share_within([zone], g) if zone else np.ones((g, g))
            self.counted[g] = (inside >= min(MOST_MASKED, inside.max())) & (share_within(masks, g) < MOST_MASKED)
        self.whole = all(cells.all() for cells in self.counted.values())
        self._finest = max(resolutions)

    @property
    def empty(self) -> bool:
        """Return whether no cell of the finest map counts."""
        return not self.counted[self._finest].any()

    def score(self, score: float, maps: Mapping[int, np.ndarray]) -> float:
        """Return the score of the part.

        Args:
            score: Of the whole frame.
            maps: {g: (g, g)} of the frame.
        """
        if self.whole:
            return score
        finest = maps[self._finest]
        high, highest = float(finest[self.counted[self._finest]].max()), float(finest.max())
        share = min(1.0, max(0.0, high / highest)) if highest > 0 else 1.0
        values = [
            float(grid[self.counted[g]].max()) if g > 1 and self.counted[g].any() else share * float(grid.max())
            for g, grid in maps.items()
        ]
        return sum(values) / len(values)

    def highest(self, maps: Mapping[int, np.ndarray]) -> tuple[float, float, float, float]:
        """Return x, y, width and height, as shares of the frame, of the highest cell of the finest map that counts."""
        grid = np.where(self.counted[self._finest], maps[self._finest], -np.inf)
        row, column = np.unravel_index(int(grid.argmax()), grid.shape)
        cell = 1 / self._finest
        return float(column * cell), float(row * cell), cell, cell
