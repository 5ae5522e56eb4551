from math import ceil, floor

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_max_pool2d

from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.maps.rasterize import map_pyramid, rasterize


def dense_maps(frame, box, score, frames, size, cells):
    """The definition: every pixel that a box touches holds the highest score over it, every cell that of its pixels."""
    volume = np.zeros((frames, *size), np.float32)
    for t, (x1, y1, x2, y2), value in zip(frame, box, score, strict=True):
        down = [floor(y1) <= y < ceil(y2) for y in range(size[0])]
        across = [floor(x1) <= x < ceil(x2) for x in range(size[1])]
        volume[t] = np.maximum(volume[t], np.outer(down, across) * value)
    rows, columns = cells if isinstance(cells, tuple) else (cells, cells)
    made = np.zeros((frames, rows, columns), np.float32)
    for i, j in np.ndindex(rows, columns):
        down, across = ((n * side // count, -(-(n + 1) * side // count))
                        for n, side, count in ((i, size[0], rows), (j, size[1], columns)))  # fmt: skip
        made[:, i, j] = volume[:, slice(*down), slice(*across)].max((1, 2))
    return made


def test_the_definition_is_adaptive_max_pooling():
    rng = np.random.default_rng(0)
    volume = rng.random((1, 9, 14)).astype(np.float32)
    box = [(x, y, x + 1, y + 1) for y in range(9) for x in range(14)]
    made = dense_maps(np.zeros(126, int), box, volume.ravel(), 1, (9, 14), (4, 5))
    np.testing.assert_array_equal(made, adaptive_max_pool2d(torch.from_numpy(volume), (4, 5)).numpy())


@pytest.mark.parametrize("seed", range(12))
def test_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(3, 80, 2))
    frames, count, cells = 4, int(rng.integers(0, 25)), int(rng.integers(1, 40))
    corner = rng.uniform(-20, 90, (count, 2))
    box = np.concatenate([corner, corner + rng.uniform(0, 30, (count, 2))], 1)
    frame, score = rng.integers(0, frames, count), rng.random(count).astype(np.float32)
    made = rasterize(ScoredObjects(frames, size, frame, box, score), cells)
    np.testing.assert_array_equal(made, dense_maps(frame, box, score, frames, size, cells))


@pytest.mark.parametrize(
    "box", [[0, 0, 1, 1], [36, 22, 37, 23], [5, 5, 6, 23], [-9, -9, -1, -1], [37, 0, 50, 9], [-5, -5, 99, 99]]
)
def test_boxes_on_the_border_outside_and_one_pixel_wide(box):
    frame, box, score = np.array([1]), np.array([box], np.float32), np.array([0.5], np.float32)
    for cells in (1, 4, 16):
        made = rasterize(ScoredObjects(3, (23, 37), frame, box, score), cells)
        np.testing.assert_array_equal(made, dense_maps(frame, box, score, 3, (23, 37), cells))


@pytest.mark.parametrize("cells", [(3, 7), (10, 1), (23, 40)])
def test_rectangular_grids(cells):
    rng = np.random.default_rng(2)
    corner = rng.uniform(-5, 30, (12, 2))
    box = np.concatenate([corner, corner + rng.uniform(0, 15, (12, 2))], 1)
    frame, score = rng.integers(0, 3, 12), rng.random(12).astype(np.float32)
    made = rasterize(ScoredObjects(3, (23, 37), frame, box, score), cells)
    assert made.shape == (3, *cells)
    np.testing.assert_array_equal(made, dense_maps(frame, box, score, 3, (23, 37), cells))


def test_frames_without_boxes_are_zero():
    assert not rasterize(ScoredObjects(5, (20, 30), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0)), 4).any()


@pytest.mark.parametrize("resolutions", [(1, 4, 16), (2, 8, 16), (4, 16, 32), (3, 7), (16,)])
def test_every_resolution_equals_its_own_rasterisation(resolutions):
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 200, (40, 2))
    box = np.concatenate([corner, corner + rng.uniform(1, 60, (40, 2))], 1)
    frame, score = rng.integers(0, 6, 40), rng.random(40).astype(np.float32)
    pyramid = map_pyramid(ScoredObjects(6, (158, 238), frame, box, score), resolutions)
    assert list(pyramid) == list(resolutions)
    for cells, made in pyramid.items():
        np.testing.assert_array_equal(made, dense_maps(frame, box, score, 6, (158, 238), cells))


def test_height_and_width_are_not_swapped():
    made = rasterize(ScoredObjects(1, (20, 100), np.array([0]), np.array([[90.0, 0, 100, 10]]), np.array([1.0])), 4)
    assert np.argwhere(made[0]).tolist() == [[0, 3], [1, 3]]
