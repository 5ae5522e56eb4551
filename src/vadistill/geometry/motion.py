"""Motion on a coarse grid of the frame: how fast, and where to, its cells move, without any object."""

from dataclasses import dataclass

import numpy as np


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
