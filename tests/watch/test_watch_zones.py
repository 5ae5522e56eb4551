"""Scores of parts of the picture, against loops over cells."""

import numpy as np
import pytest

from vadistill.watch.zones import Part, share_within

RESOLUTIONS = (1, 4, 16)
LEFT = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]
RIGHT = [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)]


def maps_of(seed, high=None):
    rng = np.random.default_rng(seed)
    maps = {g: rng.uniform(0, 0.5, (g, g)).astype(np.float32) for g in RESOLUTIONS}
    if high:
        row, column = high
        for g in RESOLUTIONS:
            maps[g][row * g // 16, column * g // 16] = 1.0
    return maps


def score_of(maps):
    return float(np.mean([grid.max() for grid in maps.values()]))


def test_the_whole_picture_has_the_score_of_the_frame():
    maps = maps_of(0)
    assert Part(RESOLUTIONS).whole and Part(RESOLUTIONS).score(0.25, maps) == 0.25


def test_shares_of_cells():
    np.testing.assert_allclose(share_within([LEFT], 4), [[1, 1, 0, 0]] * 4, atol=0.1)
    triangle = share_within([[(0, 0), (1, 0), (0, 1)]], 8)
    assert triangle[0, 0] == 1 and triangle[-1, -1] == 0 and triangle.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_masked_does_not_count(seed):
    inside, outside = maps_of(seed, high=(8, 12)), maps_of(seed, high=(8, 3))
    masked = Part(RESOLUTIONS, [LEFT])
    assert masked.score(score_of(inside), inside) == pytest.approx(score_of(inside))
    assert masked.score(score_of(outside), outside) < 0.6 * score_of(outside)
    zone = Part(RESOLUTIONS, zone=RIGHT)
    for maps in (inside, outside):
        assert zone.score(score_of(maps), maps) == pytest.approx(masked.score(score_of(maps), maps))
    x, _, width, height = masked.highest(outside)
    assert x >= 0.5 and (width, height) == (1 / 16, 1 / 16)
    assert zone.highest(inside) == (12 / 16, 8 / 16, 1 / 16, 1 / 16)


def test_a_zone_smaller_than_a_cell_is_the_cell_that_has_most_of_it():
    tiny = Part(RESOLUTIONS, zone=[(0.51, 0.51), (0.53, 0.51), (0.53, 0.53), (0.51, 0.53)])
    assert [int(cells.sum()) for cells in tiny.counted.values()] == [1, 1, 1]
    assert tiny.counted[16][8, 8] and tiny.counted[4][2, 2]


def test_a_zone_that_is_masked_is_empty():
    assert Part(RESOLUTIONS, [LEFT], [(0.1, 0.1), (0.3, 0.1), (0.3, 0.3)]).empty
    assert not Part(RESOLUTIONS, [LEFT], RIGHT).empty
