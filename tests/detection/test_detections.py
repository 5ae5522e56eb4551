from dataclasses import replace

import numpy as np
import pytest

from vadistill.datasets.splits import scene_of
from vadistill.detection.objects import index_objects, load_objects, object_rows, read_objects, with_regions
from vadistill.errors import InputError
from vadistill.io import detections as module
from vadistill.io.detections import KINDS, Detections, read_shards
from vadistill.io.hdf5 import writing
from vadistill.settings import ObjectsConfig


def table(frame, box, confidence=None, clip="clip", frames=10):
    count = len(frame)
    confidence = np.full(count, 0.9) if confidence is None else np.array(confidence)
    probabilities = np.tile(np.array([[0.25, 0.5]], np.float32), (count, 1))
    box = np.array(box, np.float32).reshape(-1, 4)
    return Detections(clip, frames, (120, 160), np.array(frame, int), box, confidence.astype("f4"), probabilities)


def brute_force(detections, settings):
    """The rules, box by box."""

    def iou(a, b):
        w = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        return w / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w)

    d = detections
    big = [max(b[2] - b[0], b[3] - b[1]) >= settings.min_side for b in d.box]
    alive = [i for i in range(len(d)) if d.confidence[i] >= settings.confidence and big[i]]

    def rivals(i, group):
        return [j for j in group if j != i and d.frame[j] == d.frame[i]]

    def doubled(i, j):
        return iou(d.box[i], d.box[j]) > settings.max_overlap and (d.confidence[j], -j) > (d.confidence[i], -i)

    def inside(a, b):
        return a[0] > b[0] and a[1] > b[1] and a[2] < b[2] and a[3] < b[3]

    single = [i for i in alive if not any(doubled(i, j) for j in rivals(i, alive))]
    if not settings.drop_contained:
        return single
    return [i for i in single if not any(inside(d.box[i], d.box[j]) for j in rivals(i, single))]


@pytest.mark.parametrize("seed", range(20))
def test_objects_equal_the_rules_taken_literally(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 60))
    corner = rng.integers(0, 40, (count, 2))
    box = np.concatenate([corner, corner + rng.integers(3, 40, (count, 2))], 1)
    made = table(np.sort(rng.integers(0, 5, count)), box, rng.choice([0.1, 0.3, 0.5, 0.9], count))
    settings = ObjectsConfig(confidence=0.2, min_side=8, max_overlap=0.5, drop_contained=bool(seed % 2))
    assert object_rows(made, settings).tolist() == brute_force(made, settings)


def test_store_gives_back_what_was_written(tmp_path):
    made = table([0, 0, 3], [[0, 0, 50, 60], [90, 10, 130, 70], [5, 5, 40, 80]], [0.9, 0.1, 0.4])
    with writing(tmp_path / "0.h5") as file:
        module.write_clip(file, made)
        module.write_clip(file, table([], [], clip="empty one"))
    first, empty = sorted(read_shards([tmp_path / "0.h5"]), key=lambda clip: clip.clip)
    assert (first.clip, first.frames, first.size) == ("clip", 10, (120, 160))
    for name in ("frame", "box", "confidence", "probabilities"):
        np.testing.assert_array_equal(getattr(first, name), getattr(made, name))
    assert len(empty) == 0 and empty.box.shape == (0, 4)
    chosen = {clip.clip: clip.frame.tolist() for clip in read_objects([tmp_path / "0.h5"], ObjectsConfig())}
    assert chosen == {"clip": [0, 3], "empty one": []}


def test_a_damaged_store_is_named(tmp_path):
    (tmp_path / "0.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"0\.h5: not a readable HDF5 file"):
        list(read_shards([tmp_path / "0.h5"]))
    with pytest.raises(InputError, match=r"1\.h5: missing"):
        list(read_shards([tmp_path / "1.h5"]))


def regions(frame, box, clip="clip", frames=10):
    """Moving regions as find_moving writes them: no classes."""
    made = table(frame, box, np.ones(len(frame)), clip, frames)
    return replace(made, probabilities=np.zeros((len(frame), 0)))


def stored(path, *clips):
    with writing(path) as file:
        for clip in clips:
            module.write_clip(file, clip)
    return path


def test_regions_that_no_box_covers_are_added_in_the_order_of_frames():
    found = table([1, 4], [[10, 10, 30, 50], [10, 10, 30, 50]])
    boxes = [
        [10, 10, 30, 50],  # frame 0, where there is no box
        [60, 10, 80, 30],  # frame 1, beside the box
        [26, 10, 46, 30],  # 20 % of it in the box
        [22, 40, 42, 60],  # 20 % in the box
        [60, 60, 90, 90],
        [23, 10, 43, 30],  # frame 4: 35 % in the box
        [5, 5, 100, 100],  # around the box
    ]
    added = with_regions(found, regions([0, 1, 1, 1, 1, 4, 4], boxes))
    assert added.frame.tolist() == [0, 1, 1, 1, 1, 1, 4]
    assert added.box.tolist() == [boxes[0], [10, 10, 30, 50], *boxes[1:5], [10, 10, 30, 50]]
    moving = np.array([True, False, True, True, True, True, False])
    assert (added.confidence[moving] == 1).all() and (added.confidence[~moving] < 1).all()
    assert added.probabilities.tolist() == [[0, 0] if moves else [0.25, 0.5] for moves in moving]
    assert (added.clip, added.frames, added.size) == (found.clip, found.frames, found.size)


def test_of_regions_that_overlap_the_largest_stays():
    boxes = [[0, 0, 20, 20], [2, 2, 40, 40], [10, 10, 20, 20], [38, 0, 58, 20]]
    assert with_regions(table([], []), regions([0, 0, 0, 1], boxes)).box.tolist() == [boxes[1], boxes[3]]
    assert len(with_regions(table([], []), regions([0, 1], boxes[:2]))) == 2


@pytest.fixture
def shards(tmp_path):
    """Two shards of detections, and the moving regions of the same clips, sharded otherwise."""
    rng = np.random.default_rng(0)

    def boxes(count):
        corner = rng.integers(0, 100, (count, 2))
        return np.concatenate([corner, corner + rng.integers(5, 40, (count, 2))], 1)

    def frames(count):
        return np.sort(rng.integers(0, 10, count))

    names = ["01_a", "01_b", "02_a"]
    found = {name: table(frames(30), boxes(30), rng.choice([0.1, 0.9], 30), name) for name in names}
    moving = {name: regions(frames(20), boxes(20), name) for name in names}
    detections = [stored(tmp_path / "0.h5", found["01_a"], found["02_a"]), stored(tmp_path / "1.h5", found["01_b"])]
    others = [stored(tmp_path / "m0.h5", moving["01_b"]), stored(tmp_path / "m1.h5", moving["02_a"], moving["01_a"])]
    return detections, others


@pytest.mark.parametrize("moving", [True, False])
def test_the_index_leads_to_the_same_objects(shards, moving):
    settings = ObjectsConfig(moving=moving, scene=r"^(\d+)_")
    whole = list(read_objects(shards[0], settings, shards[1]))
    index = index_objects(shards[0], settings, shards[1])
    assert [clip.clip for clip in whole] == [entry.clip for entry in index] == ["01_a", "02_a", "01_b"]
    assert any((clip.probabilities == 0).all(1).any() for clip in whole) == moving
    for clip, entry in zip(whole, index, strict=True):
        loaded = load_objects(entry, settings)
        for name in KINDS:
            np.testing.assert_array_equal(getattr(loaded, name), getattr(clip, name))
        np.testing.assert_array_equal(entry.frame, clip.frame)
        assert entry.frame.dtype == np.int32 and len(entry.frame) == len(loaded) > 0
        assert (np.diff(clip.frame) >= 0).all()
        same = [(d.clip, d.frames, d.size, d.scene) for d in (clip, entry, loaded)]
        assert same == [(clip.clip, 10, (120, 160), clip.clip[:2])] * 3


def test_without_the_setting_moving_files_are_not_opened(shards, tmp_path):
    plain = list(read_objects(shards[0], ObjectsConfig()))
    for clip, other in zip(plain, read_objects(shards[0], ObjectsConfig(), [tmp_path / "none.h5"]), strict=True):
        np.testing.assert_array_equal(clip.box, other.box)


def test_missing_and_foreign_moving_regions_are_named(shards, tmp_path):
    with pytest.raises(InputError, match="clip 01_a: no moving regions"):
        list(read_objects(shards[0], ObjectsConfig(moving=True)))
    with pytest.raises(InputError, match="clip 01_a: no moving regions"):
        index_objects(shards[0], ObjectsConfig(moving=True), shards[1][:1])
    foreign = stored(tmp_path / "foreign.h5", regions([], [], "01_b", frames=7))
    with pytest.raises(InputError, match=r"foreign\.h5: clip 01_b has 7 frames .* expected 10"):
        list(read_objects(shards[0][1:], ObjectsConfig(moving=True), [foreign]))


def test_the_scene_is_the_first_group_found_in_the_name():
    assert scene_of("01_0014", "") == ""
    assert scene_of("01_0014", r"^(\d+)_(\d+)") == "01"
    assert scene_of("normal_scene_7_x", r"scene_(\d+)") == "7"
    with pytest.raises(InputError, match=r"clip Test001: .*objects\.scene '\^\(\\d\+\)_'"):
        scene_of("Test001", r"^(\d+)_")
    with pytest.raises(InputError, match=r"objects\.scene: '\(' is no regular expression"):
        scene_of("01_0014", "(")
    with pytest.raises(InputError, match=r"objects\.scene: '\\d' has no group"):
        scene_of("01_0014", r"\d")
    with pytest.raises(InputError, match="clip b: its name does not match"):
        scene_of("b", "(a)|b")
