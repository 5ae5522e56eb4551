import numpy as np
import pytest

from vadistill.evaluation.mean_filter import filtered_frame_scores
from vadistill.evaluation.metrics import frame_scores_from_objects
from vadistill.geometry.scored_objects import ScoredObjects


def scored_boxes(rng, frames, size, count):
    height, width = size
    corner = rng.uniform(-15, 1, (count, 2)) + rng.random((count, 2)) * (width, height)
    box = np.concatenate([corner, corner + rng.uniform(1, 25, (count, 2))], 1)
    return rng.integers(0, frames, count), box, rng.random(count)


def dense(frame, box, score, frames, size, cell, side):
    """Cells from every pixel of every box, and every mean written out."""
    height, width = size
    volume = np.zeros((frames, -(-height // cell), -(-width // cell)))
    for t, (x1, y1, x2, y2), value in zip(frame, box, score, strict=True):
        for y in range(max(0, int(np.floor(y1))), min(height, int(np.ceil(y2)))):
            for x in range(max(0, int(np.floor(x1))), min(width, int(np.ceil(x2)))):
                volume[t, y // cell, x // cell] = max(volume[t, y // cell, x // cell], value)
    back, forth = side // 2, side - side // 2
    made = np.zeros(frames)
    for t in range(frames):
        near = volume[max(0, t - back) : t + forth]
        for row in range(volume.shape[1]):
            for column in range(volume.shape[2]):
                window = near[:, max(0, row - back) : row + forth, max(0, column - back) : column + forth]
                made[t] = max(made[t], window.sum() / (len(near) * side * side))
    return made


@pytest.mark.parametrize("seed", range(12))
def test_equals_the_dense_filter(seed):
    rng = np.random.default_rng(seed)
    frames, size = int(rng.integers(1, 14)), tuple(int(n) for n in rng.integers(5, 70, 2))
    cell, side = int(rng.integers(1, 20)), int(rng.integers(1, 10))
    boxes = scored_boxes(rng, frames, size, int(rng.integers(0, 25)))
    made = filtered_frame_scores(ScoredObjects(frames, size, *boxes), cell, side)
    assert made.shape == (frames,)
    np.testing.assert_allclose(made, dense(*boxes, frames, size, cell, side), atol=1e-6)


def test_side_one_is_the_highest_object_of_each_frame():
    rng = np.random.default_rng(0)
    frame, _, score = scored_boxes(rng, 20, (40, 60), 15)
    corner = rng.uniform(0, 30, (15, 2))
    box = np.concatenate([corner, corner + 5], 1)
    made = filtered_frame_scores(ScoredObjects(20, (40, 60), frame, box, score), 16, 1)
    np.testing.assert_allclose(made, frame_scores_from_objects(frame, score, 20, 0.0), rtol=1e-6)


def test_a_lasting_object_weighs_the_same_in_the_middle_in_a_corner_and_at_the_ends_of_the_clip():
    frame, score = np.arange(15), np.full(15, 0.8)
    made = [
        filtered_frame_scores(
            ScoredObjects(15, (160, 240), frame, np.tile([[x, y, x + 16, y + 32]], (15, 1)), score), 16, 5
        )
        for x, y in ((112, 64), (0, 0), (224, 128))
    ]
    np.testing.assert_allclose(made, 0.8 * 2 / 25, rtol=1e-6)


def test_a_box_outside_the_frame_counts_nowhere_even_where_the_last_cells_jut_out():
    box = np.array([[71, 0, 79, 40], [0, 50, 40, 60]])
    assert not filtered_frame_scores(ScoredObjects(2, (50, 70), np.array([0, 1]), box, np.ones(2)), 16, 3).any()


def test_a_flash_counts_less_than_what_lasts():
    box = np.array([[40, 40, 72, 72]])
    flash = filtered_frame_scores(ScoredObjects(21, (160, 240), np.array([10]), box, np.array([1.0])), 16, 9)
    lasting = filtered_frame_scores(
        ScoredObjects(21, (160, 240), np.arange(21), np.repeat(box, 21, 0), np.ones(21)), 16, 9
    )
    np.testing.assert_allclose(lasting[10] / flash[10], 9, rtol=1e-5)
    # Nothing is left of it in frames out of reach: not even rounding noise, which would be ranked.
    assert (np.flatnonzero(flash) == np.arange(6, 15)).all()
