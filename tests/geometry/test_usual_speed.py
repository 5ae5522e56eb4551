"""The usual speed by row of cells, against loops."""

import numpy as np
import pytest

from vadistill.geometry.motion import LEAST, MOVING, Motion, usual_speed


def speeds(rng, frames, rows, columns):
    """About half of the cells move, lower rows faster."""
    moving = rng.random((frames, rows, columns)) < 0.5
    faster = np.arange(1, rows + 1)[:, None]
    return np.where(moving, MOVING + 0.01 * faster * rng.random((frames, rows, columns)), 0.5 * MOVING)


def test_the_usual_speed_is_the_95th_percentile_of_the_moving_cells_of_a_row():
    rng = np.random.default_rng(0)
    clips = [speeds(rng, frames, 4, 10) for frames in (20, 30)]
    for row, usual in enumerate(usual_speed(clips)):
        moving = sorted(value for clip in clips for value in clip[:, row].ravel() if value >= MOVING)
        below = moving[int(0.95 * (len(moving) - 1))], moving[int(0.95 * (len(moving) - 1)) + 1]
        assert len(moving) > LEAST and below[0] <= usual <= below[1]


def test_a_row_with_few_moving_cells_takes_the_speed_of_the_rows_around_it():
    made = np.zeros((LEAST, 6, 3))
    made[:, 1, 0], made[:, 4, 1] = 0.02, 0.08
    made[: LEAST - 1, 2, 2] = 0.5  # one too few
    np.testing.assert_allclose(usual_speed([made]), [0.02, 0.02, 0.04, 0.06, 0.08, 0.08])


def test_where_nothing_moves_the_usual_speed_is_the_least_that_counts_as_motion():
    np.testing.assert_array_equal(usual_speed([np.zeros((9, 3, 4), np.float16)]), [MOVING] * 3)


def test_the_speed_of_a_cell_is_the_smaller_of_both_directions():
    highest = np.random.default_rng(0).random((3, 2, 4, 5)).astype(np.float16)
    motion = Motion("clip", (10, 20), np.zeros((3, 2, 4, 5, 2), np.float16), highest)
    assert len(motion) == 3 and motion.speed.dtype == np.float16
    for place in np.ndindex(3, 4, 5):
        t, row, column = place
        assert motion.speed[place] == pytest.approx(min(highest[t, 0, row, column], highest[t, 1, row, column]))
