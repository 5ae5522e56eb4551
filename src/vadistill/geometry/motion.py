"""Motion on a coarse grid of the frame: how fast, and where to, its cells move, without any object."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

# In heights of the frame; below it lie the errors of dense flow where nothing moves.
MOVING = 0.003
USUAL_PERCENTILE = 95
LEAST = 50  # moving cells of a row; one with fewer takes the usual speed of rows around it


@dataclass(frozen=True)
class Motion:
    """The dense flow of a clip to an earlier and to a later frame, by R x C cells of the frame.

    Lengths are in heights of the frame, across as well as down, so that clips of one scene agree whatever their size in
    pixels. Axis 1 is the direction: to the frame ``step`` earlier, and to the one ``step`` later. At a clip's ends,
    where one of them is missing, frames show the motion around the nearest frame that has both.

    Attributes:
        clip: Name of the clip.
        size: Height and width of its stored frames in pixels.
        mean: (T, 2, R, C, 2) float16 mean flow (x, y) of each cell.
        highest: (T, 2, R, C) float16 highest speed within each cell.
    """

    clip: str
    size: tuple[int, int]
    mean: np.ndarray
    highest: np.ndarray

    def __len__(self) -> int:
        return len(self.highest)

    @property
    def cells(self) -> tuple[int, int]:
        """Rows R and columns C."""
        return self.highest.shape[2], self.highest.shape[3]

    @property
    def speed(self) -> np.ndarray:
        """The speed (T, R, C) of the cells, see ``cell_speed``."""
        return cell_speed(self.highest)

    def part(self, start: int, end: int) -> "Motion":
        """Return the frames from ``start`` to before ``end``, as far as there are any."""
        return replace(self, mean=self.mean[start:end], highest=self.highest[start:end])


def cell_speed(highest: np.ndarray) -> np.ndarray:
    """Return the speed (T, R, C) of cells: of the highest speeds (T, 2, R, C) in both directions, the smaller one.

    Where an object just leaves or arrives, only one of the two directions sees it move.
    """
    return highest.min(1)


def cell_edges(length: int, cells: int) -> np.ndarray:
    """Return where the cells of a side begin, and at last where it ends: (cells + 1,) whole pixels."""
    return np.arange(cells + 1) * length // cells


def by_cell(flow: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean flow (rows, columns, 2) of each cell and the highest speed (rows, columns) in it, float32.

    Both are in heights of the picture. A cell smaller than a pixel shows the pixel that it lies in.

    Args:
        flow: (H, W, 2) in pixels.
        rows: Of cells.
        columns: Of cells.
    """
    edges = [cell_edges(length, cells) for length, cells in zip(flow.shape, (rows, columns), strict=False)]
    (top, left), (height, width) = ([edge[:-1] for edge in edges], [np.diff(edge).clip(1) for edge in edges])
    total = np.add.reduceat(np.add.reduceat(flow, top, axis=0), left, axis=1)
    speed = np.hypot(flow[..., 0], flow[..., 1])
    highest = np.maximum.reduceat(np.maximum.reduceat(speed, top, axis=0), left, axis=1)
    return total / np.outer(height, width)[..., None] / len(flow), highest / len(flow)


def usual_speed(speeds: Sequence[np.ndarray]) -> np.ndarray:
    """Return the usual speed (R,) by row of cells: the 95th percentile of its moving cells.

    Distant people are slower in the picture. Rows where hardly anything moves lie between those where something does,
    or are as the nearest of them; where nothing moves at all, the usual speed is ``MOVING``.

    Args:
        speeds: (T, R, C) speed of the cells of each clip.
    """
    rows = range(speeds[0].shape[1])
    moving = [np.concatenate([speed[:, row][speed[:, row] >= MOVING] for speed in speeds]) for row in rows]
    known = [row for row in rows if len(moving[row]) >= LEAST]
    if not known:
        return np.full(len(rows), MOVING)
    return np.interp(rows, known, [np.percentile(moving[row].astype(np.float64), USUAL_PERCENTILE) for row in known])
