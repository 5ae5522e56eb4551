"""A 3D mean filter over the teachers' object scores, laid on a grid, before each frame's maximum is taken."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import uniform_filter, uniform_filter1d

from vadistill.geometry.boxes import clip_to_pixels
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.maps.rasterize import rasterize


def filtered_frame_scores(objects: ScoredObjects, cell: int, side: int) -> np.ndarray:
    """Return the frame scores (T,) of scored boxes: the highest cell of each frame of ``filtered_volume``."""
    return filtered_volume(objects, cell, side, side).max((1, 2))


def filtered_volume(objects: ScoredObjects, cell: int, side: int, span: int) -> np.ndarray:
    """Return the scores of boxes in place and time after a 3D mean filter.

    The frame is cut into cells of ``cell`` x ``cell`` pixels, the last ones smaller where it is no multiple. A cell
    holds the highest score of the boxes that touch it, 0 without one; it is replaced by the mean of the
    ``span`` x ``side`` x ``side`` cells around it. The code published with Fast-AED (arXiv 2211.15597) filters pixels,
    with side and span 9.

    Borders: cells beyond the picture count as 0, so that the visible part of an object weighs the same everywhere. A
    mean over the cells that exist, or mirrored ones, would multiply what stands at the picture's edge, up to fourfold
    in a corner. Over time the mean is of the frames that exist: a clip's ends are cuts, not ends of what happens.

    Args:
        objects: Of a clip of T frames; parts of boxes outside the frame are cut off.
        cell: Side of a cell in pixels.
        side: Rows and columns of cells of the filter; 1 filters nothing. An even number reaches one further back than
            forth.
        span: Its frames.

    Returns:
        (T, rows, columns) float64.
    """
    rows, columns = (-(-length // cell) for length in objects.size)
    # Boxes are cut to the frame first, as the grid may be larger than it.
    inside = clip_to_pixels(objects.box, *objects.size)
    volume = rasterize(replace(objects, box=inside, size=(rows * cell, columns * cell)), (rows, columns))
    uniform_filter(volume, side, output=volume, mode="constant", axes=(1, 2))
    uniform_filter1d(volume, span, axis=0, output=volume, mode="constant")
    existing = uniform_filter1d(np.ones(objects.frames), span, mode="constant")
    return volume / existing[:, None, None]
