import threading

import h5py
import numpy as np
import pytest
from stored_clips import FRAMES, HEIGHT, WIDTH, numbered_clip

from vadistill.data.detections import Detections, index_objects, write_clip
from vadistill.data.frames import write_images
from vadistill.data.objects import TrainingObjects, batches_of_clip, frame_stores, hold_out, scene_index
from vadistill.data.shards import held_out_part
from vadistill.errors import InputError
from vadistill.settings import Objects
from vadistill.teachers.base import CropRequest

OFFSETS = (-3, -2, -1, 0, 1, 2, 3)


@pytest.fixture
def numbered(tmp_path):
    return numbered_clip(tmp_path)


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


def test_every_frame_is_decoded_once(numbered, monkeypatch):
    read, times = numbered.read, []
    monkeypatch.setattr(numbered, "read", lambda t: times.append(t) or read(t))
    clip = detections(sorted([*range(FRAMES), *range(FRAMES)]))
    request = CropRequest(32, colour=OFFSETS, gray=(0,), flow=(-3, 3), irregular=4)
    assert sum(len(batch["box"]) for batch in batches_of_clip(numbered, clip, request, 0, 7)) == len(clip)
    assert len(times) == len(set(times)) and set(range(5, FRAMES - 5)) <= set(times)


def test_batches_keep_the_order_of_the_objects(numbered):
    clip = detections([0, 0, 7, 9, 9, 9, 20, 39])
    clip.box[:, 0] = np.arange(8)
    batches = list(batches_of_clip(numbered, clip, CropRequest(32, gray=(0,)), 0, 3))
    assert np.concatenate([batch["box"][:, 0] for batch in batches]).tolist() == list(range(8))
    assert list(batches_of_clip(numbered, detections([]), CropRequest(32, gray=(0,)), 0, 3)) == []


@pytest.fixture
def tree(tmp_path):
    """Return a function that writes clips of so many objects and returns their stores and index."""

    def write(objects, settings=None):
        paths = []
        with h5py.File(tmp_path / "0.h5", "w") as file:
            file.attrs["classes"] = ["person", "car"]
            for name, frame in objects.items():
                count = len(frame)
                box = np.tile(np.array((10, 5, 40, 50), np.float32), (count, 1))
                box[:, 0] += np.arange(count) / 100
                columns = (np.array(frame, np.int32), box, np.full(count, 0.9), np.full((count, 2), 0.5, np.float16))
                write_clip(file, Detections(name, FRAMES, (HEIGHT, WIDTH), *columns))
                paths.append(tmp_path / f"{name}.h5")
                images = (np.full((HEIGHT, WIDTH, 3), t, np.uint8) for t in range(FRAMES))
                write_images(paths[-1], name, "train", images, "png", 95)
        return frame_stores(paths), index_objects([tmp_path / "0.h5"], settings or Objects())

    return write


def samples(stores, parts, limit=99, seed=(0,), threads=1, request=None, scenes=("",)):
    request = request or CropRequest(32, colour=OFFSETS, irregular=4)
    return TrainingObjects(stores, parts, Objects(), scenes, request, limit, seed, threads)


def test_a_sample_is_limited_and_does_not_depend_on_threads(tree):
    stores, index = tree({"a": range(FRAMES), "b": range(FRAMES)})
    parts, _ = hold_out(index, 0)
    one, two = (samples(stores, parts, 8, threads=threads).sample(1) for threads in (1, 2))
    assert len(one["box"]) == 8
    assert all((one[key] == two[key]).all() for key in one)
    other = samples(stores, parts, 8).sample(2)
    assert (one["colour"] != other["colour"]).any()
    assert (samples(stores, parts, 8, seed=(1,)).sample(1)["box"] != one["box"]).any()


def test_a_sample_read_ahead_is_the_same_and_read_elsewhere(tree, monkeypatch):
    stores, index = tree({"a": range(FRAMES)})
    parts, _ = hold_out(index, 0)
    drawn = samples(stores, parts, 5)
    where, draw = [], TrainingObjects._draw
    monkeypatch.setattr(
        TrainingObjects,
        "_draw",
        lambda self, epoch: where.append((epoch, threading.current_thread())) or draw(self, epoch),
    )
    drawn.read_ahead(3)
    ahead, fresh = drawn.sample(3), samples(stores, parts, 5).sample(3)
    assert all((ahead[key] == fresh[key]).all() for key in fresh)
    assert [epoch for epoch, _ in where] == [3, 3]
    assert where[0][1] is not threading.main_thread() and where[1][1] is threading.main_thread()


def test_training_objects_are_never_cut_from_another_frame(tree):
    """Near a clip's end a clamped window would show the box where its object is no longer."""
    stores, index = tree({"a": range(FRAMES)})
    parts, _ = hold_out(index, 0)
    centres = samples(stores, parts).sample(0)["colour"][:, 3, 1, 16, 16].tolist()
    assert centres == list(range(15, FRAMES - 15))
    flow = samples(stores, parts, request=CropRequest(32, gray=(0,), flow=(-3, 3))).sample(0)
    assert len(flow["box"]) == FRAMES - 6


def test_objects_know_their_scene(tree):
    stores, index = tree({"cam1_a": [20], "cam2_b": [20, 21]}, Objects(scene=r"^(cam\d)"))
    parts, _ = hold_out(index, 0)
    made = samples(stores, parts, scenes=("cam2",)).sample(0)
    assert made["scene"].tolist() == [1, 0, 0], "a scene that is not among the known ones has the next number"
    assert scene_index(("x", "y"), "y") == 1 and scene_index(("x", "y"), "z") == 2
    clip = Detections("c", FRAMES, (HEIGHT, WIDTH), np.array([5]), np.zeros((1, 4)), np.ones(1), np.zeros((1, 2)))
    assert next(batches_of_clip(stores["cam1_a"], clip, CropRequest(32, gray=(0,)), 4, 8))["scene"].tolist() == [4]


def test_no_object_at_all_is_an_error_that_says_what_to_do(tree):
    stores, index = tree({"a": []})
    with pytest.raises(InputError, match=r"no object in .* training clips .*objects\.confidence"):
        samples(stores, hold_out(index, 0)[0]).sample(0)


def test_detections_without_frames_are_named(tree):
    _, index = tree({"a": [20]})
    with pytest.raises(InputError, match="clip a: detections without frames"):
        samples({}, hold_out(index, 0)[0])


def test_held_out_clips_are_stable_and_disjoint(tree):
    _, index = tree({f"clip {i}": [20] for i in range(10)})
    fitted, held = ({clip.clip for clip, _ in part} for part in hold_out(index, 0.2))
    assert len(held) == 2 and not fitted & held and fitted | held == {clip.clip for clip in index}
    assert {clip.clip for clip, _ in hold_out(index[::-1], 0.2)[1]} == held == set(held_out_part(fitted | held, 0.2))
    assert [clip.clip for clip, _ in hold_out(index, 0)[0]] == [clip.clip for clip in index]
    assert hold_out(index, 0)[1] == []


def test_of_a_single_clip_the_end_is_held_out(tree):
    _, index = tree({"a": range(FRAMES)})
    ((clip, fitted),), ((_, held),) = hold_out(index, 0.2)
    assert clip.frame[fitted].max() < clip.frame[held].min() and len(held) == 8 and len(fitted) == 32
