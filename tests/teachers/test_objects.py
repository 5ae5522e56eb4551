import threading
from concurrent.futures import CancelledError
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from stored_clips import FRAMES, HEIGHT, WIDTH, numbered_clip

from vadistill.datasets.splits import first_held_out, held_out_part, scene_of
from vadistill.detection.objects import index_objects
from vadistill.errors import InputError
from vadistill.io.detections import Detections, write_clip
from vadistill.io.frames import frame_stores, write_images
from vadistill.settings import ObjectsConfig
from vadistill.teachers import loader
from vadistill.teachers.crops import CropRequest
from vadistill.teachers.loader import TrainingObjects, batches_of_clips, hold_out, scene_index

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


def batches(store, clip, request, batch, scenes=("",)):
    """Return the batches of one clip."""
    made = list(batches_of_clips({clip.clip: store}, [clip], request, scenes, batch, 1))
    assert made[-1] == (clip, None) and all(owner is clip for owner, _ in made)
    return [batch for _, batch in made[:-1]]


def test_every_frame_is_decoded_once(numbered, monkeypatch):
    read, times = numbered.read, []
    monkeypatch.setattr(numbered, "read", lambda t: times.append(t) or read(t))
    clip = detections(sorted([*range(FRAMES), *range(FRAMES)]))
    request = CropRequest(32, colour=OFFSETS, gray=(0,), flow=(-3, 3), irregular=4)
    assert sum(len(batch["box"]) for batch in batches(numbered, clip, request, 7)) == len(clip)
    assert len(times) == len(set(times)) and set(range(5, FRAMES - 5)) <= set(times)


def test_batches_keep_the_order_of_the_objects(numbered):
    clip = detections([0, 0, 7, 9, 9, 9, 20, 39])
    clip.box[:, 0] = np.arange(8)
    made = batches(numbered, clip, CropRequest(32, gray=(0,)), 3)
    assert np.concatenate([batch["box"][:, 0] for batch in made]).tolist() == list(range(8))
    assert batches(numbered, detections([]), CropRequest(32, gray=(0,)), 3) == []


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
        return frame_stores(paths), index_objects([tmp_path / "0.h5"], settings or ObjectsConfig())

    return write


REQUEST = CropRequest(32, colour=OFFSETS, gray=(0,), flow=(-3, 3), irregular=4)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_batches_of_many_clips_take_turns_and_do_not_depend_on_threads(tree, threads):
    frames = {"a": range(FRAMES), "b": [], "c": [7, 7, 9], "d": range(0, FRAMES, 2), "e": range(20)}
    stores, _ = tree(frames)
    clips = [detections(list(frame), clip=name) for name, frame in frames.items()]
    alone = list(batches_of_clips(stores, clips, REQUEST, [""], 6, 1))
    ends = [clip.clip for clip, batch in alone if batch is None]
    assert ends == list(frames) and [clip.clip for clip, _ in alone] == sorted(clip.clip for clip, _ in alone)
    together = list(batches_of_clips(stores, clips, REQUEST, [""], 6, threads))
    order = [clip.clip for clip, _ in together]
    first = list(frames)[:threads]
    assert order[: len(first)] == first and order != sorted(order)
    for clip in clips:
        (*one, end), (*other, other_end) = ([b for owner, b in made if owner is clip] for made in (alone, together))
        assert end is other_end is None and len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_clips_are_taken_and_cut_only_as_others_end(tree, monkeypatch):
    stores, _ = tree({name: range(FRAMES) for name in "abcde"})
    taken, cut, ended = [], [], set()
    grouped = loader._grouped
    monkeypatch.setattr(loader, "_grouped", lambda *given: (cut.append(0) or made for made in grouped(*given)))
    clips = (taken.append(name) or detections(list(range(FRAMES)), clip=name) for name in "abcde")
    used = 0
    for clip, batch in batches_of_clips(stores, clips, CropRequest(32, gray=(0,)), [""], 4, 2):
        used += batch is not None
        ended |= {clip.clip} if batch is None else set()
        assert len(taken) <= len(ended) + 2 and len(cut) <= used + 2
    assert ended == set("abcde") and used == 5 * FRAMES / 4


def test_what_is_wrong_with_one_of_many_clips_is_said(tree):
    stores, _ = tree({"a": [20], "b": [20]})
    clips = [detections([20], clip=name) for name in "abc"]
    with pytest.raises(InputError, match="clip c: detections without frames"):
        list(batches_of_clips(stores, clips, REQUEST, [""], 6, 2))
    stores["b"].path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"b\.h5"):
        list(batches_of_clips(stores, clips[:2], REQUEST, [""], 6, 2))


def samples(stores, parts, limit=99, seed=(0,), threads=1, request=None, scenes=("",)):
    request = request or CropRequest(32, colour=OFFSETS, irregular=4)
    return TrainingObjects(stores, parts, ObjectsConfig(), scenes, request, limit, seed, threads)


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


def test_a_sample_that_nobody_needs_is_given_up(tree, monkeypatch):
    stores, index = tree({name: range(FRAMES) for name in "abcdef"})
    drawn = samples(stores, hold_out(index, 0)[0])
    begun, go_on, load = [], threading.Event(), loader.load_objects
    reading = threading.Event()
    monkeypatch.setattr(
        loader,
        "load_objects",
        lambda clip, chosen: (begun.append(clip.clip), reading.set(), go_on.wait(5), load(clip, chosen))[-1],
    )
    drawn.read_ahead(1)
    assert reading.wait(5)
    drawn.close()
    go_on.set()
    with pytest.raises((CancelledError, RuntimeError)):  # whether its clips were queued already or not
        drawn.sample(1)
    assert begun == ["a"]


def test_training_objects_are_never_cut_from_another_frame(tree):
    """Near a clip's end a clamped window would show the box where its object is no longer."""
    stores, index = tree({"a": range(FRAMES)})
    parts, _ = hold_out(index, 0)
    centres = samples(stores, parts).sample(0)["colour"][:, 3, 1, 16, 16].tolist()
    assert centres == list(range(15, FRAMES - 15))
    flow = samples(stores, parts, request=CropRequest(32, gray=(0,), flow=(-3, 3))).sample(0)
    assert len(flow["box"]) == FRAMES - 6


def test_objects_know_their_scene(tree):
    stores, index = tree({"cam1_a": [20], "cam2_b": [20, 21]}, ObjectsConfig(scene=r"^(cam\d)"))
    parts, _ = hold_out(index, 0)
    made = samples(stores, parts, scenes=("cam2",)).sample(0)
    assert made["scene"].tolist() == [1, 0, 0], "a scene that is not among the known ones has the next number"
    assert scene_index(("x", "y"), "y") == 1 and scene_index(("x", "y"), "z") == 2
    clip = replace(detections([5]), scene="cam9")
    (batch,) = batches(stores["cam1_a"], clip, CropRequest(32, gray=(0,)), 8, ("cam1", "cam9"))
    assert batch["scene"].tolist() == [1]


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
    assert (
        {clip.clip for clip, _ in hold_out(index[::-1], 0.2)[1]}
        == held
        == set(held_out_part(dict.fromkeys(fitted | held, ""), 0.2))
    )
    assert [clip.clip for clip, _ in hold_out(index, 0)[0]] == [clip.clip for clip in index]
    assert hold_out(index, 0)[1] == []


def test_of_a_single_clip_the_end_is_held_out(tree):
    _, index = tree({"a": range(FRAMES)})
    ((clip, fitted),), ((_, held),) = hold_out(index, 0.2)
    assert clip.frame[fitted].max() < clip.frame[held].min() and len(held) == 8 and len(fitted) == 32


def test_clips_are_held_out_of_every_scene_that_has_two():
    scenes = {f"{scene}_{number}": scene for scene in ("a", "b", "c") for number in range(4 if scene == "a" else 2)}
    held = held_out_part(scenes, 0.15)
    assert sorted(scenes[clip] for clip in held) == ["a", "b", "c"] and set(held.values()) == {0.0}
    assert set(held_out_part({**scenes, "d_0": "d"}, 0.15)) == set(held), "a scene of one clip keeps it"
    lonely = {str(number): str(number) for number in range(4)}
    assert len(held_out_part(lonely, 0.25)) == 1


@pytest.mark.parametrize(("clips", "share", "held"), [(10, 0.14, 1), (10, 0.16, 2), (10, 0.28, 3), (3, 0.1, 1)])
def test_the_share_of_the_clips_is_rounded_to_the_nearest_number(clips, share, held):
    assert len(held_out_part({str(number): "" for number in range(clips)}, share)) == held


def test_no_frame_of_a_single_clip_is_both_fitted_and_held_out():
    for frames in range(1, 500):
        border = first_held_out(0.85, frames)
        assert border - 1 < 0.85 * frames <= border


def test_a_validation_clip_shows_the_scene_of_its_source():
    assert scene_of("street_cam2.fast", r"_(cam\d)$") == "cam2" == scene_of("street_cam2", r"_(cam\d)$")
