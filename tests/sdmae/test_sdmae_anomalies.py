import cv2
import numpy as np
import pytest

from vadistill.sdmae.anomalies import FASTEST, moving_thing, pasted

OFFSETS = (-3, -1, 0, 1, 3)


def scene(left, height=60, width=90):
    """Gray noise with a bright rectangle of 12 x 8 pixels."""
    made = np.random.default_rng(0).integers(90, 100, (height, width, 3), dtype=np.uint8)
    made[20:32, left : left + 8] = 220
    return made


def test_what_moves_is_cut_out():
    thing = moving_thing(scene(20), scene(32), scene(44), np.random.default_rng(0))
    gray, mask = thing[..., 0], thing[..., 1] > 0
    assert thing.shape[:2] == (16, 12), "the rectangle and a margin"
    assert np.count_nonzero(gray[mask] == 220) == 96 and (gray[:2] < 101).all()


def test_where_nothing_moves_an_ellipse_is_cut_out():
    still = scene(20)
    thing = moving_thing(still, still, still, np.random.default_rng(3))
    mask = thing[..., 1]
    assert min(mask.shape) >= 4 and mask[mask.shape[0] // 2].mean() > 0.8 and not mask[0, 0]
    ellipse = np.pi / 4 * mask.size
    assert 0.8 * ellipse < mask.sum() < 1.2 * ellipse


@pytest.mark.parametrize("seed", range(30))
def test_a_thing_moves_evenly_and_nothing_else_changes(seed):
    frames = np.stack([scene(20)] * 5)
    thing = np.stack([np.full((9, 7), 17, np.uint8), np.ones((9, 7), np.uint8)], 2)
    made, mask = pasted(frames, OFFSETS, thing, np.random.default_rng(seed))
    assert made.shape == frames.shape and mask.shape == (60, 90) and set(np.unique(mask)) <= {0, 1}
    changed = (made != frames).any(3)
    assert (made[changed] == 17).all() and np.array_equal(changed[2], mask > 0) and mask.any()
    whole = [part for part in changed if part.any() and not (part[[0, -1]].any() or part[:, [0, -1]].any())]
    if len(whole) == 5:
        centres = np.array([np.argwhere(part).mean(0) for part in changed])
        steps = np.diff(centres, axis=0) / np.diff(OFFSETS)[:, None]
        assert np.ptp(steps, axis=0).max() <= 1 and np.linalg.norm(steps, axis=1).max() <= 60 * FASTEST + 1


def test_things_differ_and_equal_draws_paste_the_same():
    frames = np.stack([scene(20)] * 5)
    thing = moving_thing(scene(20), scene(32), scene(44), np.random.default_rng(0))
    one, again, other = (pasted(frames, OFFSETS, thing, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one[0], again[0]) and np.array_equal(one[1], again[1]) and (one[1] != other[1]).any()


def test_a_thing_larger_than_the_frame_is_made_smaller():
    thing = np.stack([cv2.resize(scene(20)[..., 0], (300, 200)), np.ones((200, 300), np.uint8)], 2)
    _, mask = pasted(np.stack([scene(20)] * 5), OFFSETS, thing, np.random.default_rng(0))
    assert 0 < mask.mean() < 0.7


def test_things_move_at_many_speeds():
    frames = np.stack([scene(20)] * 5)
    thing = np.stack([np.full((4, 4), 17, np.uint8), np.ones((4, 4), np.uint8)], 2)
    speeds = []
    for seed in range(60):
        made, _ = pasted(frames, OFFSETS, thing, np.random.default_rng(seed))
        places = [np.argwhere((part == 17).all(2)) for part in made]
        if all(len(place) and len(place) == len(places[0]) for place in places):  # wholly within all frames
            speeds.append(np.linalg.norm(places[-1].mean(0) - places[0].mean(0)) / (OFFSETS[-1] - OFFSETS[0]))
    assert len(speeds) > 20 and min(speeds) < 0.2 * 60 * FASTEST and max(speeds) > 0.8 * 60 * FASTEST
