import cv2
import numpy as np
import pytest

from vadistill.errors import InputError
from vadistill.evaluation.baselines import largest_cell_mean, speed_in_heights, trivial_scores
from vadistill.io import frame_scores
from vadistill.io.hdf5 import writing

HEIGHT, WIDTH, FRAMES = 80, 120, 12
NAMES = {"boxes", "not_person", "box_height", "speed", "frame_difference", "local_difference"}


def textured(seed, height, width):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def moving_square(step=2):
    """A 24 x 24 patch that moves to the right by ``step`` pixels a frame, and its boxes."""
    ground, patch = textured(0, HEIGHT, WIDTH) // 2, textured(1, 24, 24) // 2 + 127
    images, boxes = [], []
    for t in range(FRAMES):
        image, left = ground.copy(), 10 + step * t
        image[30:54, left : left + 24] = patch
        images.append(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
        boxes.append([left, 30, left + 24, 54])
    return images, np.arange(FRAMES), np.array(boxes, np.float32)


def test_pixel_scores_compare_with_the_frame_three_before():
    images = [np.full((32, 32, 3), t * t, np.uint8) for t in range(8)]
    images[5][:16, 16:] += 16
    made = trivial_scores(iter(images), np.zeros(0, int), np.zeros((0, 4)), np.zeros((0, 2)), 0)
    steps = [0, 0, 0, 9, 15, 21, 27, 33]
    np.testing.assert_allclose(made["local_difference"], np.add(steps, [0, 0, 0, 0, 0, 16, 0, 0]))
    np.testing.assert_allclose(made["frame_difference"], np.add(steps, [0, 0, 0, 0, 0, 4, 0, 0]))
    assert all(not made[name].any() for name in NAMES - {"frame_difference", "local_difference"})


@pytest.mark.parametrize("shape", [(48, 64), (50, 79), (9, 40), (16, 16)])
def test_largest_cell_mean_is_that_of_some_cell_and_cells_have_at_least_their_side(shape):
    values = np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)
    rows, columns = (max(1, length // 16) for length in shape)
    means = [
        part.mean()
        for band in np.array_split(values, [i * shape[0] // rows for i in range(1, rows)])
        for part in np.array_split(band, [i * shape[1] // columns for i in range(1, columns)], axis=1)
    ]
    assert largest_cell_mean(values) == pytest.approx(max(means))


def test_object_scores_take_the_most_abnormal_object_of_each_frame():
    images = [np.zeros((50, 60, 3), np.uint8)] * 4
    frame = np.array([0, 0, 0, 2])
    box = np.array([[0, 0, 5, 10], [9, 5, 20, 30], [30, 5, 50, 15], [0, 40, 10, 60]], np.float32)
    probabilities = np.array([[0.1, 0.9], [0.3, 0.25], [0, 0.5], [1, 0]], np.float16)
    made = trivial_scores(images, frame, box, probabilities, 1)
    assert made.keys() == NAMES
    np.testing.assert_array_equal(made["boxes"], [3, 0, 1, 0])
    np.testing.assert_allclose(made["not_person"], [0.75, 0, 1, 0])
    np.testing.assert_allclose(made["box_height"], [0.5, 0, 0.4, 0])
    assert trivial_scores(images, frame, box, probabilities, None).keys() == NAMES - {"not_person"}


def test_speed_is_the_distance_over_three_frames_in_box_heights():
    images, frame, box = moving_square(step=2)
    still = np.tile(np.array([[80, 2, 100, 22]], np.float32), (FRAMES, 1))
    order = np.argsort(np.tile(frame, 2), kind="stable")
    made = trivial_scores(
        iter(images), np.tile(frame, 2)[order], np.concatenate([still, box])[order], np.zeros((2 * FRAMES, 1)), None
    )
    np.testing.assert_allclose(made["speed"][:-3], 6 / 24, rtol=0.1)
    assert not made["speed"][-3:].any()
    alone = trivial_scores(iter(images), frame, still, np.zeros((FRAMES, 1)), None)
    assert alone["speed"].max() < 0.05


def test_speed_is_the_ninetieth_percentile_and_only_of_the_box():
    flow = np.zeros((20, 30, 2), np.float32)
    flow[5:15, 10:20, 0] = np.arange(1, 101).reshape(10, 10)
    boxes = np.array([[10, 5, 20, 15], [0, 0, 10, 5], [40, 5, 50, 15], [-10, -10, 10, 5]], np.float32)
    np.testing.assert_allclose(speed_in_heights(flow, boxes), [90 / 10, 0, 0, 0])
    flow[..., 1] = flow[..., 0]
    np.testing.assert_allclose(speed_in_heights(flow, boxes)[0], np.sqrt(2) * 9, rtol=1e-6)


def test_stored_scores_come_back_by_name_and_clip(tmp_path):
    scores = {clip: {"boxes": np.arange(n, dtype=float), "speed": np.full(n, 0.5)} for clip, n in (("a", 3), ("b", 5))}
    for clip, values in scores.items():
        with writing(tmp_path / f"{clip}.h5") as file:
            frame_scores.write_clip(file, clip, values)
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    found = frame_scores.read_shards(paths)
    assert list(found) == ["boxes", "speed"] and list(found["speed"]) == ["a", "b"]
    for clip, values in scores.items():
        for name, expected in values.items():
            np.testing.assert_array_equal(found[name][clip], expected)
    with writing(tmp_path / "b.h5") as file:
        frame_scores.write_clip(file, "b", {"boxes": np.zeros(5)})
    with pytest.raises(InputError, match=r"b\.h5: clip b has the scores \['boxes'\]"):
        frame_scores.read_shards(paths)
    with pytest.raises(InputError, match="missing"):
        frame_scores.read_shards([tmp_path / "c.h5"])
