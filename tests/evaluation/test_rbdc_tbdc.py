import time
from itertools import pairwise

import numpy as np
import pytest

from vadistill.errors import InputError
from vadistill.evaluation.rbdc_tbdc import Regions, Tracks, rbdc_and_tbdc
from vadistill.geometry.boxes import inclusive_iou


def tracks(*rows):
    rows = np.array(rows, float).reshape(-1, 6)
    return Tracks(rows[:, 0].astype(int), rows[:, 1].astype(int), rows[:, 2:])


def regions(*rows):
    rows = np.array(rows, float).reshape(-1, 6)
    return Regions(rows[:, 0].astype(int), rows[:, 1:5], rows[:, 5])


def found_again(truth):
    """The ground truth as its own detections."""
    return {clip: Regions(part.frame, part.box, np.ones(len(part.frame))) for clip, part in truth.items()}


def slow_iou(a, b):
    """Pixel by pixel, for whole numbers."""

    def pixels(box):
        x1, y1, x2, y2 = map(int, box)
        return {(x, y) for x in range(x1, x2 + 1) for y in range(y1, y2 + 1)}

    return len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b))


def slow_scores(truth, found, frames, alpha, beta):
    """The definition, one detection after the other."""
    wanted = [
        (clip, int(track), int(frame), box)
        for clip, part in truth.items()
        for track, frame, box in zip(part.track, part.frame, part.box, strict=True)
    ]
    made = [
        (clip, int(frame), box, score)
        for clip in sorted(found)
        for frame, box, score in zip(found[clip].frame, found[clip].box, found[clip].score, strict=True)
    ]
    length, hits = {}, {}
    for clip, track, *_ in wanted:
        length[clip, track] = length.get((clip, track), 0) + 1
        hits[clip, track] = 0
    matched, false = set(), 0
    curve = [(0.0, 0.0, 0.0)]
    for clip, frame, box, _ in sorted(made, key=lambda row: -row[3]):
        matches = [
            index
            for index, (c, _, f, wanted_box) in enumerate(wanted)
            if (c, f) == (clip, frame) and slow_iou(box, wanted_box) >= beta
        ]
        false += not matches
        for index in matches:
            if index not in matched:
                matched.add(index)
                hits[wanted[index][:2]] += 1
        followed = sum(hits[key] / length[key] >= alpha for key in length)
        curve.append((false / frames, len(matched) / len(wanted), followed / len(length)))
    curve = [point for point in curve if point[0] <= 1]
    curve.append((1.0, *curve[-1][1:]))
    areas = [sum((b[0] - a[0]) * (a[which] + b[which]) / 2 for a, b in pairwise(curve)) for which in (1, 2)]
    return *areas, np.array(curve)


def random_set(rng):
    """A few clips: tracks with gaps and overlaps, normal clips, clips without detections, tied scores."""
    clips = [f"c{number}" for number in rng.permutation(12)[: rng.integers(1, 5)]]

    def boxes(count):
        corner = rng.integers(0, 12, (count, 2))
        return np.concatenate([corner, corner + rng.integers(0, 9, (count, 2))], 1)

    truth, found = {}, {}
    for clip in clips:
        frames = int(rng.integers(1, 12))
        present = rng.random((rng.integers(0, 4), frames)) < 0.7
        track, frame = np.nonzero(present)
        shuffled = rng.permutation(len(track))
        truth[clip] = Tracks(track[shuffled] * 7, frame[shuffled], boxes(len(track)))
        count = int(rng.integers(0, 40))
        found[clip] = Regions(rng.integers(0, frames + 2, count), boxes(count), rng.integers(0, 9, count) / 8)
    for part in (truth, found):
        for clip in clips[1:]:
            if rng.random() < 0.2:
                del part[clip]
    if not any(len(t.track) for t in truth.values()):
        truth[clips[0]] = tracks([3, 1, 2, 2, 9, 4])
    return truth, found


@pytest.mark.parametrize("seed", range(60))
def test_equals_the_definition_one_detection_after_the_other(seed):
    rng = np.random.default_rng(seed)
    truth, found = random_set(rng)
    frames, alpha, beta = int(rng.integers(1, 60)), rng.choice([0.1, 0.3, 0.5, 1.0]), rng.choice([0.1, 0.25, 0.5])
    made = rbdc_and_tbdc(truth, found, frames, alpha, beta)
    rbdc, tbdc, curve = slow_scores(truth, found, frames, alpha, beta)
    assert (made.rbdc, made.tbdc) == pytest.approx((rbdc, tbdc), abs=1e-12)
    np.testing.assert_allclose(np.stack([made.fpr, made.rbdr, made.tbdr], 1), curve, atol=1e-12)


def test_iou_counts_pixels_of_both_ends():
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 10, (2, 200, 2))
    a, b = np.concatenate([corner, corner + rng.integers(0, 10, corner.shape)], 2)
    np.testing.assert_allclose(inclusive_iou(a, b), [slow_iou(*pair) for pair in zip(a, b, strict=True)])
    # One pixel each: the same, and neighbours that share none.
    pixel, others = np.array([[3, 4, 3, 4]] * 2), np.array([[3, 4, 3, 4], [4, 4, 4, 4]])
    np.testing.assert_array_equal(inclusive_iou(pixel, others), [1, 0])


def test_everything_found_and_nothing_else_is_one():
    rows = [0, 0, 1, 1, 5, 5], [0, 1, 2, 2, 6, 6], [1, 1, 20, 20, 25, 25]
    truth = {"a": tracks(*rows), "b": tracks([0, 9, 0, 0, 3, 3])}
    made = rbdc_and_tbdc(truth, found_again(truth), 100)
    assert (made.rbdc, made.tbdc) == (1, 1)
    # Straight up after each of four detections, then level to one false positive a frame.
    np.testing.assert_array_equal(made.fpr, [0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(made.rbdr, [0, 0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(made.tbdr, [0, 1 / 3, 1 / 3, 2 / 3, 1, 1])


def test_false_positives_alone_are_zero():
    truth = {"a": tracks([0, 0, 1, 1, 5, 5])}
    for found in (
        {"a": regions([0, 50, 50, 60, 60, 0.9])},  # elsewhere
        {"a": regions([1, 1, 1, 5, 5, 0.9])},  # another frame
        {"b": regions([0, 1, 1, 5, 5, 0.9])},  # another clip, without tracks
    ):
        made = rbdc_and_tbdc(truth, found, 10)
        assert (made.rbdc, made.tbdc) == (0, 0)
        np.testing.assert_array_equal(made.fpr, [0, 0.1, 1])


@pytest.mark.parametrize("found", [{}, {"a": regions()}])
def test_no_detections_find_nothing(found):
    made = rbdc_and_tbdc({"a": tracks([0, 0, 1, 1, 5, 5])}, found, 10)
    assert (made.rbdc, made.tbdc) == (0, 0)
    np.testing.assert_array_equal(np.stack([made.fpr, made.rbdr, made.tbdr]), [[0, 1], [0, 0], [0, 0]])


def test_one_box_matches_two_regions_and_a_repeated_match_is_nothing():
    truth = {"a": tracks([0, 0, 0, 0, 9, 9], [1, 0, 10, 0, 19, 9], [2, 0, 50, 50, 59, 59])}
    # Half of either region, then again one of them, then a false positive, then the third region.
    rows = [0, 0, 0, 19, 9, 0.9], [0, 0, 0, 9, 9, 0.8], [0, 80, 80, 90, 90, 0.7], [0, 50, 50, 59, 59, 0.6]
    made = rbdc_and_tbdc(truth, {"a": regions(*rows)}, 4)
    np.testing.assert_array_equal(made.fpr, [0, 0, 0, 0.25, 0.25, 1])
    np.testing.assert_allclose(made.rbdr, [0, 2 / 3, 2 / 3, 2 / 3, 1, 1])
    assert made.rbdc == pytest.approx(0.25 * 2 / 3 + 0.75) == made.tbdc


def test_what_comes_behind_one_false_positive_a_frame_is_cut_off():
    truth = {"a": tracks([0, 0, 0, 0, 9, 9], [0, 1, 0, 0, 9, 9])}
    false = [[0, 50 + n, 50, 60 + n, 60, 0.5] for n in range(3)]
    found = {"a": regions([0, 0, 0, 9, 9, 0.9], *false, [1, 0, 0, 9, 9, 0.1])}
    made = rbdc_and_tbdc(truth, found, 2)
    # With two frames the third false positive is one too many; with three it is the last point that counts.
    np.testing.assert_array_equal(made.fpr, [0, 0, 0.5, 1, 1])
    np.testing.assert_array_equal(made.rbdr, [0, 0.5, 0.5, 0.5, 0.5])
    assert (made.rbdc, made.tbdc) == (0.5, 1)
    assert rbdc_and_tbdc(truth, found, 3).rbdr[-1] == 1 and rbdc_and_tbdc(truth, found, 3).rbdc == 0.5


@pytest.mark.parametrize("length", range(1, 41))
@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.7])
def test_a_track_is_found_with_the_region_that_brings_its_share_to_alpha(alpha, length):
    truth = {"a": tracks(*([5, 3 * t, 0, 0, 9, 9] for t in range(length)))}
    found = {"a": regions(*([3 * t, 0, 0, 9, 9, -t] for t in range(length)))}
    expected = [n / length >= alpha for n in range(length + 1)]
    np.testing.assert_array_equal(rbdc_and_tbdc(truth, found, 9, alpha).tbdr[:-1], expected)


def test_ties_go_by_the_names_of_the_clips_then_by_row():
    truth = {"b": tracks([0, 0, 0, 0, 9, 9])}
    hit, miss = [0, 0, 0, 9, 9, 0.5], [0, 50, 50, 60, 60, 0.5]
    assert rbdc_and_tbdc(truth, {"b": regions(hit), "a": regions(miss)}, 2).rbdc == 0.5
    assert rbdc_and_tbdc(truth, {"c": regions(miss), "b": regions(hit)}, 2).rbdc == 1
    assert rbdc_and_tbdc(truth, {"b": regions(miss, hit)}, 2).rbdc == 0.5
    assert rbdc_and_tbdc(truth, {"b": regions(hit, miss)}, 2).rbdc == 1


@pytest.mark.parametrize(
    ("truth", "found", "settings", "message"),
    [
        ({}, {"a": regions([0, 0, 0, 9, 9, 1])}, {}, "no ground truth"),
        ({"a": tracks()}, {}, {}, "no ground truth"),
        ({"a": tracks([0, 0, 0, 0, 9, 9])}, {"b": regions([0, 0, 0, 9, 9, np.nan])}, {}, "clip b: region scores"),
        ({"a": tracks([0, 0, 0, 0, 9, 9])}, {"b": regions([0, 0, 0, 9, 9, np.inf])}, {}, "clip b: region scores"),
        ({"a": tracks([0, 0, 0, 0, 9, 9])}, {"b": regions([0, 5, 0, 4, 9, 1])}, {}, "clip b: a detected box"),
        ({"a": tracks([0, 0, 0, 0, np.nan, 9])}, {}, {}, "clip a: a ground truth box"),
        ({"a": tracks([0, 0, 0, 0, 9, 9])}, {}, {"frames": 0}, "0 frames"),
        ({"a": tracks([0, 0, 0, 0, 9, 9])}, {}, {"frames": -3}, "-3 frames"),
        ({"a": tracks([0, 0, 0, 0, 9, 9])}, {}, {"alpha": 0}, "alpha 0"),
        ({"a": tracks([0, 0, 0, 0, 9, 9])}, {}, {"beta": 1.5}, "beta 1.5"),
    ],
)
def test_what_cannot_be_judged_is_refused(truth, found, settings, message):
    with pytest.raises(InputError, match=message):
        rbdc_and_tbdc(truth, found, **({"frames": 10} | settings))


def test_a_million_detections_take_seconds():
    rng = np.random.default_rng(0)
    clips, length, per_clip = 107, 40_791 // 107, 9_400
    truth, found = {}, {}
    for clip in map(str, range(clips)):
        corner, start = rng.integers(0, 400, (2, 2)).repeat(90, 0), rng.integers(0, length - 90)
        frame = np.tile(np.arange(start, start + 90), 2)
        truth[clip] = Tracks(np.repeat([0, 1], 90), frame, np.concatenate([corner, corner + 80], 1))
        corner, frame = rng.integers(0, 400, (per_clip, 2)), rng.integers(0, length, per_clip)
        found[clip] = Regions(frame, np.concatenate([corner, corner + 60], 1), rng.random(per_clip).round(4))
    assert sum(len(part.score) for part in found.values()) > 1e6
    began = time.process_time()  # another's load does not count
    made = rbdc_and_tbdc(truth, found, 40_791)
    assert time.process_time() - began < 60
    assert 0 < made.rbdc < 1 and 0 < made.tbdc < 1
