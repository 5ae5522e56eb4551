from argparse import Namespace

import cv2
import numpy as np
import pytest
from trees import write_images

from vadistill.detection.moving_regions import moving_boxes, moving_regions
from vadistill.io.detections import read_shards
from vadistill.io.frames import write_frames
from vadistill.io.hdf5 import attribute
from vadistill.settings import MovingConfig, canonical
from vadistill.stages import find_moving

HEIGHT, WIDTH, SIDE, FRAMES = 120, 160, 20, 11
ANY_SIZE = MovingConfig(min_side=1, max_share=1.0)


def texture(height, width, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(smooth, None, 40, 210, cv2.NORM_MINMAX).astype(np.uint8)


def colour(gray):
    return np.repeat(gray[:, :, None], 3, 2)


def square_at(t):
    return 20 + 7 * t, 40 + 3 * t  # x, y


def clip(frames=FRAMES, moving=True):
    """A bright textured square that moves by its own size in three frames, over a still, textured ground."""
    ground, square = texture(HEIGHT, WIDTH) // 2, 150 + texture(SIDE, SIDE, seed=1) // 2
    made = []
    for t in range(frames):
        x, y = square_at(t if moving else 0)
        gray = ground.copy()
        gray[y : y + SIDE, x : x + SIDE] = square
        made.append(colour(gray))
    return made


def measured(*rectangles, speed=2.0, change=50):
    """Flow and change of rectangles (x1, y1, x2, y2) that move in a still frame."""
    flow, changed = np.zeros((HEIGHT, WIDTH, 2), np.float32), np.zeros((HEIGHT, WIDTH), np.uint8)
    for x1, y1, x2, y2 in rectangles:
        flow[y1:y2, x1:x2, 0] = speed
        changed[y1:y2, x1:x2] = change
    return flow, changed


def test_a_moving_square_is_found_in_every_frame():
    boxes = list(moving_boxes(iter(clip()), MovingConfig()))
    assert len(boxes) == FRAMES
    for t, found in enumerate(boxes):
        x, y = square_at(t)
        # Where a neighbour is missing, the place that the square comes to or comes from differs, too.
        slack = 4 if 3 <= t < FRAMES - 3 else 4 + 3 * 7
        joined = [*found[:, :2].min(0), *found[:, 2:].max(0)]
        np.testing.assert_allclose(joined, [x, y, x + SIDE, y + SIDE], atol=slack)
        assert found.dtype == np.float32 and found.shape[1] == 4


def test_noise_is_no_motion():
    rng = np.random.default_rng(2)
    noisy = [np.clip(frame + rng.normal(0, 3, frame.shape), 0, 255).astype(np.uint8) for frame in clip(moving=False)]
    assert sum(map(len, moving_boxes(noisy, ANY_SIZE))) == 0


def test_a_change_of_light_is_no_motion():
    still = clip(moving=False)
    brighter = [cv2.convertScaleAbs(frame, alpha=1, beta=5 * t) for t, frame in enumerate(still)]
    assert sum(map(len, moving_boxes(brighter, MovingConfig()))) == 0


def test_a_shaking_camera_moves_borders_only():
    wide = texture(HEIGHT + 40, WIDTH + 40)
    frames = [colour(wide[t : t + HEIGHT, 2 * t : 2 * t + WIDTH]) for t in range(FRAMES)]
    unmoved = MovingConfig(min_side=1, max_share=1.0, speed=1.5)
    for found in moving_boxes(frames, unmoved):
        inside = (found[:, :2] > 8).all(1) & (found[:, 2] < WIDTH - 8) & (found[:, 3] < HEIGHT - 8)
        whole = (found[:, 2:] - found[:, :2] > [WIDTH / 2, HEIGHT / 2]).all(1)
        assert not (inside | whole).any()


@pytest.mark.parametrize("frames", [0, 1, 3, 4])
def test_clips_shorter_than_the_step(frames):
    boxes = list(moving_boxes(clip(frames), MovingConfig(step=3)))
    assert [len(found) > 0 for found in boxes] == ([True, False, False, True] if frames == 4 else [False] * frames)


def test_what_moves_and_changes_is_boxed_largest_first():
    flow, change = measured((10, 10, 20, 30), (60, 40, 100, 70))
    assert moving_regions(flow, change, ANY_SIZE).tolist() == [[60, 40, 100, 70], [10, 10, 20, 30]]
    assert len(moving_regions(flow * 0.4, change, ANY_SIZE)) == 0
    assert len(moving_regions(flow, change // 10, ANY_SIZE)) == 0
    shaken = flow + np.float32([5, -3])
    assert len(moving_regions(shaken, change, ANY_SIZE)) == 2


def test_regions_of_other_sizes_are_dropped():
    flow, change = measured((10, 10, 20, 14), (60, 40, 100, 70))
    assert moving_regions(flow, change, MovingConfig(min_side=10, max_share=1.0))[:, 0].tolist() == [60, 10]
    assert moving_regions(flow, change, MovingConfig(min_side=11, max_share=1.0))[:, 0].tolist() == [60]
    share = 40 * 30 / (HEIGHT * WIDTH)
    assert moving_regions(flow, change, MovingConfig(min_side=1, max_share=share + 1e-6))[:, 0].tolist() == [60, 10]
    assert moving_regions(flow, change, MovingConfig(min_side=1, max_share=share - 1e-6))[:, 0].tolist() == [10]


def test_parts_that_touch_or_nearly_do_are_one_region_and_specks_are_none():
    flow, change = measured((10, 10, 20, 20), (24, 10, 34, 20), (100, 100, 102, 102))
    assert moving_regions(flow, change, ANY_SIZE).tolist() == [[10, 10, 34, 20]]


def test_stage_writes_detections_without_classes(tmp_path):
    clips = {"a": clip(), "b": clip(moving=False)}
    for name, frames in clips.items():
        write_images(tmp_path / name, frames, ".png")
        write_frames(tmp_path / f"{name}.h5", name, "test", tmp_path / name, "png")
    settings = {"moving": {"step": 2, "min_side": 8}, "version": 1}
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    find_moving.main(Namespace(settings=settings, frames=paths, output=tmp_path / "0.h5"))
    first, still = read_shards([tmp_path / "0.h5"])
    boxes = list(moving_boxes(clips["a"], MovingConfig(step=2, min_side=8)))
    np.testing.assert_array_equal(first.frame, np.repeat(np.arange(FRAMES), list(map(len, boxes))))
    np.testing.assert_array_equal(first.box, np.concatenate(boxes))
    assert (first.clip, first.frames, first.size) == ("a", FRAMES, (HEIGHT, WIDTH))
    assert (first.confidence == 1).all() and first.probabilities.shape == (len(first), 0)
    assert (still.clip, len(still), still.box.shape) == ("b", 0, (0, 4))
    assert attribute(tmp_path / "0.h5", "settings") == canonical(settings)
