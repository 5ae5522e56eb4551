import cv2
import numpy as np
import pytest

from vadistill.data.detections import Detections
from vadistill.data.frames import FrameStore, write_frames
from vadistill.data.objects import ClipCrops, batches_of_clip, draw_objects, hold_out
from vadistill.errors import InputError
from vadistill.teachers.base import CropRequest

HEIGHT, WIDTH, FRAMES = 60, 90, 40
OFFSETS = (-3, -2, -1, 0, 1, 2, 3)


def store_of(folder, name, images):
    source = folder / f"{name}_images"
    source.mkdir()
    for t, image in enumerate(images):
        cv2.imwrite(str(source / f"{t:03d}.png"), image)
    write_frames(folder / f"{name}.h5", name, "train", source, "png", 95, "")
    return FrameStore(folder / f"{name}.h5")


@pytest.fixture
def numbered(tmp_path):
    """A clip whose pixel values are the frame number, in the blue channel twice of it."""
    images = [np.full((HEIGHT, WIDTH, 3), t, np.uint8) for t in range(FRAMES)]
    for t, image in enumerate(images):
        image[..., 0] = 2 * t
    return store_of(tmp_path, "numbered", images)


def detections(frame, box=(10, 5, 40, 50), clip="numbered", frames=FRAMES):
    count = len(frame)
    return Detections(
        clip,
        frames,
        (HEIGHT, WIDTH),
        np.array(frame),
        np.tile(np.array(box, np.float32), (count, 1)),
        np.full(count, 0.9, np.float32),
        np.full((count, 2), 0.5, np.float32),
    )


@pytest.mark.parametrize(("t", "centre"), [(0, 3), (2, 3), (3, 3), (15, 15), (36, 36), (39, 36)])
def test_windows_hold_the_right_frames_and_are_clamped_at_the_borders(numbered, t, centre):
    crops = ClipCrops(numbered, CropRequest(32, colour=OFFSETS, gray=(0,)))
    made = crops.cut(t, np.array([[10, 5, 40, 50]], np.float32), np.random.default_rng(0))
    assert made["colour"].shape == (1, 7, 3, 32, 32) and made["gray"].shape == (1, 1, 32, 32)
    assert made["colour"][0, :, 1, 16, 16].tolist() == [centre + k for k in OFFSETS]
    assert made["colour"][0, :, 0, 16, 16].tolist() == [2 * (centre + k) for k in OFFSETS]


def test_irregular_sequences_keep_the_middle_frame_and_skip_at_least_one(numbered):
    crops = ClipCrops(numbered, CropRequest(32, colour=OFFSETS, irregular=4))
    made = crops.cut(20, np.tile(np.array([[10, 5, 40, 50]], np.float32), (50, 1)), np.random.default_rng(0))
    times = made["irregular"][:, :, 1, 16, 16].astype(int)
    steps = np.diff(times, axis=1)
    inside = (times > 0) & (times < FRAMES - 1)
    assert (times[:, 3] == 20).all()
    assert ((steps >= 2) & (steps <= 5))[inside[:, 1:] & inside[:, :-1]].all()
    assert len({tuple(row) for row in times}) > 10


def test_a_crop_is_the_box_resized(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    store = store_of(tmp_path, "noise", [image] * 8)
    made = ClipCrops(store, CropRequest(32, colour=(0,))).cut(4, np.array([[8, 4, 40, 36]], np.float32), rng)
    np.testing.assert_array_equal(made["colour"][0, 0].transpose(1, 2, 0), image[4:36, 8:40])


@pytest.mark.parametrize(
    "box", [[-5, -5, 3, 3], [88, 58, 95, 70], [20, 20, 20.4, 20.4], [0, 0, 90, 60], [89.5, 0, 91, 60]]
)
def test_boxes_at_the_border_and_tiny_ones_give_crops(numbered, box):
    request = CropRequest(32, colour=OFFSETS, gray=(0,), flow=(-3, 3))
    made = ClipCrops(numbered, request).cut(5, np.array([box], np.float32), np.random.default_rng(0))
    assert made["colour"].shape == (1, 7, 3, 32, 32)
    assert made["flow"].shape == (1, 2, 2, 32, 32) and made["flow"].dtype == np.float16


def test_flow_is_the_displacement_in_pixels(tmp_path):
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (HEIGHT, 300, 3), np.uint8), (0, 0), 2)
    store = store_of(tmp_path, "moving", [texture[:, 100 - 2 * t : 100 - 2 * t + WIDTH] for t in range(12)])
    made = ClipCrops(store, CropRequest(32, flow=(-3, 3))).cut(6, np.array([[30, 10, 60, 50]], np.float32), rng)
    past, future = made["flow"][0].astype(float).mean((2, 3))
    np.testing.assert_allclose(future, [6, 0], atol=0.5)
    np.testing.assert_allclose(past, [-6, 0], atol=0.5)


def test_every_frame_is_decoded_once(numbered, monkeypatch):
    read, times = numbered.read, []
    monkeypatch.setattr(numbered, "read", lambda t: times.append(t) or read(t))
    clip = detections(sorted([*range(FRAMES), *range(FRAMES)]))
    request = CropRequest(32, colour=OFFSETS, gray=(0,), flow=(-3, 3), irregular=4)
    assert sum(len(batch["box"]) for batch in batches_of_clip(numbered, clip, request, 7)) == len(clip)
    assert len(times) == len(set(times)) and set(range(5, FRAMES - 5)) <= set(times)


def test_batches_keep_the_order_of_the_objects(numbered):
    clip = detections([0, 0, 7, 9, 9, 9, 20, 39])
    clip.box[:, 0] = np.arange(8)
    batches = list(batches_of_clip(numbered, clip, CropRequest(32, gray=(0,)), 3))
    assert np.concatenate([batch["box"][:, 0] for batch in batches]).tolist() == list(range(8))
    assert list(batches_of_clip(numbered, detections([]), CropRequest(32, gray=(0,)), 3)) == []


def test_a_sample_is_limited_and_does_not_depend_on_threads(numbered):
    stores, clips = {"numbered": numbered}, [detections(range(FRAMES))]
    request = CropRequest(32, colour=OFFSETS, irregular=4)
    one, two = (draw_objects(stores, clips, request, 8, (0, 1), threads) for threads in (1, 2))
    assert len(one["box"]) == 8
    assert all((one[key] == two[key]).all() for key in one)
    other = draw_objects(stores, clips, request, 8, (0, 2), 1)
    assert (one["colour"] != other["colour"]).any()


def test_training_objects_are_never_cut_from_another_frame(numbered):
    """Near a clip's end a clamped window would show the box where its object is no longer."""
    request = CropRequest(32, colour=OFFSETS, irregular=4)
    drawn = draw_objects({"numbered": numbered}, [detections(range(FRAMES))], request, 99, (0,), 1)
    centres = drawn["colour"][:, 3, 1, 16, 16].tolist()
    assert centres == [t for t in range(FRAMES) if 15 <= t < FRAMES - 15] == sorted(centres)
    flow = draw_objects(
        {"numbered": numbered}, [detections(range(FRAMES))], CropRequest(32, gray=(0,), flow=(-3, 3)), 99, (0,), 1
    )
    assert len(flow["box"]) == FRAMES - 6


def test_clips_without_objects_are_not_held_out():
    clips = [detections([], clip="a"), detections(range(FRAMES), clip="b"), detections([], clip="c")]
    (fitted,), (held,) = hold_out(clips, 0.2)
    assert fitted.clip == held.clip == "b" and len(fitted) + len(held) == FRAMES


def test_no_object_at_all_is_an_error_that_says_what_to_do(numbered):
    with pytest.raises(InputError, match=r"no object in 1 training clips .*objects\.confidence"):
        draw_objects({"numbered": numbered}, [detections([])], CropRequest(32, gray=(0,)), 9, (0,), 1)


def test_held_out_clips_are_stable_and_disjoint():
    clips = [detections([1], clip=f"clip {i}") for i in range(10)]
    fitted, held = hold_out(clips, 0.2)
    assert len(held) == 2 and {c.clip for c in fitted} | {c.clip for c in held} == {c.clip for c in clips}
    assert [c.clip for c in hold_out(clips[::-1], 0.2)[1]] == [c.clip for c in held][::-1]
    assert hold_out(clips, 0) == (clips, [])


def test_of_a_single_clip_the_end_is_held_out():
    (fitted,), (held,) = hold_out([detections(range(FRAMES))], 0.2)
    assert fitted.frame.max() < held.frame.min() and len(held) == 8
