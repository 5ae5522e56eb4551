"""From scored boxes to max-pooled anomaly maps, without drawing the full-size map."""

import numpy as np

from vadistill.geometry.boxes import clip_to_pixels
from vadistill.geometry.scored_objects import ScoredObjects


def rasterize(objects: ScoredObjects, cells: int | tuple[int, int]) -> np.ndarray:
    """Rasterise scored boxes into max-pooled maps of ``cells``.

    Row i of a grid of g rows covers the pixel rows floor(i H / g) to ceil((i + 1) H / g), likewise the columns, and a
    cell takes the highest score of the boxes that touch it: exactly adaptive max pooling of the dense map whose pixels
    hold the highest score of the boxes over them, 0 without one (Fast-AED, arXiv 2211.15597, section 3).

    Args:
        objects: Of a clip of T frames; parts of boxes outside the frame are cut off.
        cells: Rows and columns of the map; one number for both.

    Returns:
        (T, rows, columns) float32 maps.
    """
    height, width = objects.size
    rows, columns = cells if isinstance(cells, tuple) else (cells, cells)
    maps = np.zeros((objects.frames, rows, columns), np.float32)
    pixels = clip_to_pixels(objects.box, height, width)
    top, bottom = _touched_cells(pixels[:, 1], pixels[:, 3], height, rows)
    left, right = _touched_cells(pixels[:, 0], pixels[:, 2], width, columns)
    # From the lowest score to the highest, so that the last one to paint a cell is its maximum; a list's numbers are
    # several times faster to index with than an array's.
    order = np.argsort(objects.score, kind="stable")
    painted = (array[order].tolist() for array in (objects.frame, objects.score, top, bottom, left, right))
    for t, value, y1, y2, x1, x2 in zip(*painted, strict=True):
        maps[t, y1:y2, x1:x2] = value
    return maps


def _touched_cells(start: np.ndarray, end: np.ndarray, length: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the half-open range of cells that pixels [start, end) of an axis touch; empty where end <= start."""
    edges = np.arange(cells)
    first_pixel = edges * length // cells
    end_pixel = -((-(edges + 1) * length) // cells)
    first = np.searchsorted(end_pixel, start, side="right")
    last = np.searchsorted(first_pixel, end, side="left")
    return first, np.where(end > start, last, first)


def map_pyramid(objects: ScoredObjects, resolutions: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Return the maps (T, g, g) of every resolution g.

    Where g divides the finest resolution, the cells nest exactly and the map is a maximum over the finest one's cells.
    """
    finest = max(resolutions)
    made = {finest: rasterize(objects, finest)}
    for cells in resolutions:
        if finest % cells:
            made[cells] = rasterize(objects, cells)
        elif cells != finest:
            factor = finest // cells
            made[cells] = made[finest].reshape(objects.frames, cells, factor, cells, factor).max((2, 4))
    return {cells: made[cells] for cells in resolutions}
