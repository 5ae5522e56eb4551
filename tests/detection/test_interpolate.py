"""Boxes between looked-at frames."""

from itertools import pairwise, permutations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from stored_clips import store_of

from vadistill.datasets.demo.clips import render_clip
from vadistill.detection.interpolate import LINKED, interpolate, linked, looked_at
from vadistill.geometry.boxes import iou
from vadistill.io.detections import KINDS, Detections, read_clip
from vadistill.io.frames import FrameStore
from vadistill.settings import DemoConfig
from vadistill.stages import detect_objects

WEIGHTS = Path(__file__).parents[2] / "resources/weights/demo.pt"
SIZE = (60, 80)


def table(frames, rows):
    """Detections of rows (frame, box, confidence), each with class probabilities of its own."""
    frame, box, confidence = zip(*rows, strict=True) if rows else ((), (), ())
    probabilities = np.random.default_rng(0).random((len(rows), 3)).astype("f2")
    columns = np.array(frame, "i4"), np.array(box, "f4").reshape(-1, 4), np.array(confidence, "f4"), probabilities
    return Detections("clip", frames, SIZE, *columns)


def at(x, y=0, width=10, height=20):
    return (x, y, x + width, y + height)


def random_clip(seed, frames=11):
    """Up to four walkers a frame, each seen in nine of ten frames."""
    rng = np.random.default_rng(seed)
    start, step = rng.uniform((0, 0), (40, 20), (4, 2)), rng.uniform(-1, 3, (4, 2))
    places = np.clip(start + np.arange(frames)[:, None, None] * step, 0, (SIZE[1] - 10, SIZE[0] - 20))
    seen = rng.random((frames, 4)) < 0.9
    return table(frames, [(t, at(*places[t, k]), rng.random()) for t in range(frames) for k in np.flatnonzero(seen[t])])


def one_by_one(found, stride):
    """Rows (frame, box, confidence, probabilities) of all frames: every pairing tried, every number mixed alone."""

    def pairing(first, second):
        turned = len(first) > len(second)
        few, many = (second, first) if turned else (first, second)
        shared = iou(found.box[few], found.box[many])
        shared[shared < LINKED] = 0
        best = max(permutations(range(len(many)), len(few)), key=lambda to: sum(shared[k, j] for k, j in enumerate(to)))
        pairs = [(few[k], many[j]) for k, j in enumerate(best) if shared[k, j]]
        return [pair[::-1] for pair in pairs] if turned else pairs

    def row(t, i, j, share):
        told = [(float(a), float(b)) for k in ("box", "confidence", "probabilities")
                for a, b in zip(getattr(found, k)[i].flat, getattr(found, k)[j].flat, strict=True)]  # fmt: skip
        return [t, *(a + (b - a) * share for a, b in told)]

    rows = []
    seen = [t for t in range(found.frames) if t % stride == 0 or t == found.frames - 1]
    for a, b in pairwise([*seen, seen[-1] + 1]):
        first, second = (np.flatnonzero(found.frame == t).tolist() for t in (a, b if b in seen else -1))
        rows += [row(a, i, i, 0) for i in first]
        pairs = pairing(first, second)
        for t in range(a + 1, b):
            early = (t - a) * 2 <= b - a
            rows += [row(t, i, j, (t - a) / (b - a)) for i, j in pairs]
            rows += [row(t, i, i, 0) for i in (first if early else second) if i not in np.ravel(pairs)]
    return rows


def numbers(found):
    return np.column_stack([found.frame, found.box, found.confidence, found.probabilities])


@pytest.mark.parametrize(
    ("frames", "stride", "seen"),
    [(1, 2, [0]), (3, 9, [0, 2]), (6, 2, [0, 2, 4, 5]), (7, 3, [0, 3, 6]), (3, 1, [0, 1, 2])],
)
def test_looks_at_every_nth_frame_and_the_last(frames, stride, seen):
    assert looked_at(frames, stride).tolist() == seen


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 30])
@pytest.mark.parametrize("seed", range(5))
def test_equals_every_pairing_tried_and_every_number_mixed_alone(seed, stride):
    found = random_clip(seed)
    made, expected = interpolate(found, stride), np.array(one_by_one(found, stride))
    assert len(made) == len(expected) > 10
    values = numbers(made)
    order, wanted = np.lexsort(values[:, 1::-1].T), np.lexsort(expected[:, 1::-1].T)
    np.testing.assert_allclose(values[order], expected[wanted], rtol=1e-3, atol=1e-3)  # float16 probabilities


@pytest.mark.parametrize("stride", [2, 3, 30])
def test_looked_at_frames_stay_and_nothing_lies_outside_the_clip(stride):
    found = random_clip(7)
    made, seen = interpolate(found, stride), looked_at(found.frames, stride)
    np.testing.assert_array_equal(
        numbers(made.take(np.isin(made.frame, seen))), numbers(found.take(np.isin(found.frame, seen)))
    )
    assert (np.diff(made.frame) >= 0).all() and made.frame.min() >= 0 and made.frame.max() == found.frames - 1
    assert (made.box >= 0).all() and (made.box <= (*SIZE[::-1], *SIZE[::-1])).all()
    assert [getattr(made, k).dtype for k in KINDS] == [getattr(found, k).dtype for k in KINDS]
    assert made.frames == found.frames


def test_frames_that_are_not_looked_at_do_not_count():
    found = random_clip(3)
    looked = found.take(np.isin(found.frame, looked_at(found.frames, 3)))
    np.testing.assert_array_equal(numbers(interpolate(found, 3)), numbers(interpolate(looked, 3)))


def test_linked_boxes_move_linearly():
    made = interpolate(table(5, [(0, at(0), 1), (4, at(4, 2, height=24), 0.5)]), 4)
    assert made.frame.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(made.box[:, 0], [0, 1, 2, 3, 4])
    np.testing.assert_allclose(made.box[:, 3], [20, 21.5, 23, 24.5, 26])
    np.testing.assert_allclose(made.confidence, [1, 0.875, 0.75, 0.625, 0.5])


def test_crossing_objects_keep_their_way():
    made = interpolate(table(3, [(0, at(0, 0), 0.9), (0, at(6, 8), 0.5), (2, at(2, 8), 0.5), (2, at(4, 0), 0.9)]), 2)
    between = made.take(made.frame == 1)
    assert sorted(between.box[:, :2].tolist()) == [[2, 0], [4, 8]]
    assert sorted(between.confidence.tolist()) == pytest.approx([0.5, 0.9])


@pytest.mark.parametrize(("frames", "left"), [(5, [0, 0, 0, 50, 50]), (4, [0, 0, 50, 50])])
def test_what_vanishes_stays_for_half_the_gap_and_what_appears_comes_after(frames, left):
    last = frames - 1
    made = interpolate(table(frames, [(0, at(0), 0.9), (last, at(50), 0.8)]), last)
    assert made.frame.tolist() == list(range(frames)) and made.box[:, 0].tolist() == left


def test_boxes_that_hardly_meet_are_two_objects():
    first, second = np.array([at(0)], "f4"), np.array([at(9)], "f4")  # 20 of 380 square pixels
    assert [len(rows) for rows in linked(first, second)] == [0, 0]
    assert [rows.tolist() for rows in linked(first, second - (4, 0, 4, 0))] == [[0], [0]]
    flat = np.array([at(3, width=0)], "f4")
    assert [len(rows) for rows in linked(flat, flat)] == [0, 0]


def test_frames_without_a_box():
    assert len(interpolate(table(5, []), 2)) == 0
    assert interpolate(table(5, []), 2).probabilities.shape == (0, 3)
    assert interpolate(table(5, [(2, at(0), 0.9)]), 2).frame.tolist() == [2, 3]


def test_a_clip_of_one_frame():
    found = table(1, [(0, at(0), 0.9), (0, at(30), 0.8)])
    np.testing.assert_array_equal(numbers(interpolate(found, 2)), numbers(found))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    drawn = render_clip(DemoConfig(height=90, width=160, frames=11), "train", "train_01")
    return store_of(tmp_path_factory.mktemp("clip"), "drawn", [frame for frame, *_ in drawn])


def detected(store, output, stride):
    settings = {
        "detection": {"weights": "demo.pt", "image_size": 160, "batch": 1, "frame_stride": stride},
        "version": 1,
    }
    detect_objects.main(SimpleNamespace(weights=WEIGHTS, frames=[store.path], output=output, settings=settings))
    return read_clip(output, store.clip)


@pytest.mark.parametrize(("stride", "seen"), [(1, list(range(11))), (4, [0, 4, 8, 10])])
def test_the_stage_reads_what_it_looks_at_once_and_fills_in_the_rest(store, tmp_path, monkeypatch, stride, seen):
    every = detected(store, tmp_path / "every.h5", 1)
    read, frames_read = FrameStore.read, []
    monkeypatch.setattr(FrameStore, "read", lambda store, t: (frames_read.append(t), read(store, t))[1])
    made = detected(store, tmp_path / "made.h5", stride)
    assert frames_read == seen and made.frames == 11
    # The stage mixes probabilities before they are rounded to float16.
    np.testing.assert_allclose(numbers(made), numbers(interpolate(every, stride)), rtol=1e-6, atol=1e-3)
    assert set(made.frame) == set(range(11)) and len(every) > 11


def test_a_clip_in_which_nothing_is_found(tmp_path):
    blank = store_of(tmp_path, "blank", [np.full((90, 160, 3), 128, np.uint8)] * 3)
    assert len(detected(blank, tmp_path / "none.h5", 2)) == 0
