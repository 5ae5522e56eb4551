import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vadistill.errors import InputError
from vadistill.evaluation.localisation import (
    PixelCounts,
    box_regions,
    enlarge,
    low_threshold,
    map_regions,
    tracks_of_masks,
)
from vadistill.evaluation.mean_filter import filtered_frame_scores, filtered_volume
from vadistill.evaluation.rbdc_tbdc import Regions, rbdc_and_tbdc
from vadistill.geometry.scored_objects import ScoredObjects


def drawn(frames, *boxes, size=(60, 90)):
    """Masks with boxes (t, x1, y1, x2, y2), ends included."""
    mask = np.zeros((frames, *size), bool)
    for t, x1, y1, x2, y2 in boxes:
        mask[t, y1 : y2 + 1, x1 : x2 + 1] = True
    return mask


def rows(tracks):
    return np.column_stack([tracks.track, tracks.frame, tracks.box]).tolist()


def components(mask):
    """The 8-connected components of (H, W), as lists of pixels (y, x)."""
    todo, found = {tuple(p) for p in np.argwhere(mask)}, []
    while todo:
        edge, part = [todo.pop()], []
        while edge:
            y, x = edge.pop()
            part.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & todo
            todo -= near
            edge += near
        found.append(part)
    return found


def slow_enlarge(cells, size):
    """Bilinear interpolation between the centres of the cells."""
    (height, width), made = size, np.zeros(size)
    for y in range(height):
        for x in range(width):
            row = np.clip((y + 0.5) * cells.shape[0] / height - 0.5, 0, cells.shape[0] - 1)
            column = np.clip((x + 0.5) * cells.shape[1] / width - 0.5, 0, cells.shape[1] - 1)
            i, j = min(int(row), cells.shape[0] - 2), min(int(column), cells.shape[1] - 2)
            v, u = row - i, column - j
            made[y, x] = (1 - v) * ((1 - u) * cells[i, j] + u * cells[i, j + 1])
            made[y, x] += v * ((1 - u) * cells[i + 1, j] + u * cells[i + 1, j + 1])
    return made


def test_two_moving_rectangles_are_two_tracks():
    first = [(t, 2 + 3 * t, 5, 13 + 3 * t, 24) for t in range(8)]
    second = [(t, 70 - 2 * t, 35, 79 - 2 * t, 44) for t in range(3, 10)]
    tracks = tracks_of_masks(drawn(10, *first, *second))
    assert rows(tracks) == [[0, *box] for box in first] + [[1, *box] for box in second]
    found = {"x": Regions(tracks.frame, tracks.box, np.ones(len(tracks.frame)))}
    made = rbdc_and_tbdc({"x": tracks}, found, 10)
    assert (made.rbdc, made.tbdc) == (1, 1)


def test_a_track_goes_on_over_a_gap_and_a_leap_within_its_size():
    boxes = [(0, 5, 5, 14, 14), (3, 6, 5, 15, 14), (4, 15, 5, 24, 14), (5, 26, 5, 35, 14)]
    mask = drawn(6, *boxes)
    # Two frames are missing; then 9 pixels, which is less than its side of 10, then 11.
    assert [row[0] for row in rows(tracks_of_masks(mask))] == [0, 0, 0, 1]
    assert [row[0] for row in rows(tracks_of_masks(mask, gap=1))] == [0, 1, 1, 2]
    assert rows(tracks_of_masks(mask))[:2] == [[0, *boxes[0]], [0, *boxes[1]]]


def test_crossing_objects_are_two_tracks_before_and_after():
    broad = [(t, 10 + 4 * t, 20, 29 + 4 * t, 29) for t in range(8)]
    narrow = [(t, 62 - 6 * t, 20, 69 - 6 * t, 29) for t in range(8)]
    tracks = tracks_of_masks(drawn(8, *broad, *narrow), reach=0)
    counts = {t: int((tracks.frame == t).sum()) for t in range(8)}
    merged = [t for t, count in counts.items() if count == 1]
    assert merged and 0 not in merged and 7 not in merged
    before = [(n, x1 == 10 + 4 * t) for n, t, x1, *_ in rows(tracks) if t < merged[0]]
    assert set(before) == {(0, True), (1, False)}
    # Behind the merger nothing but their places tells which is which: there are two again, and no third one.
    assert tracks.count == 2 and {n for n, t, *_ in rows(tracks) if t > merged[-1]} == {0, 1}


def test_links_are_one_to_one_the_nearest_first():
    # Of two parts the one whose centre moved less goes on, though the other one comes first.
    split = drawn(2, (0, 0, 0, 9, 9), (1, 0, 0, 2, 9), (1, 4, 0, 9, 9))
    assert rows(tracks_of_masks(split, reach=0)) == [[0, 0, 0, 0, 9, 9], [0, 1, 4, 0, 9, 9], [1, 1, 0, 0, 2, 9]]
    assert [row[:2] for row in rows(tracks_of_masks(split[::-1], reach=0))] == [[0, 0], [1, 0], [1, 1]]


def test_parts_near_each_other_are_one_region():
    post = drawn(2, (0, 10, 10, 14, 39), (0, 20, 10, 24, 39), (1, 10, 10, 24, 39))
    # 5 pixels between them: squares of reach 2 leave one free, those of reach 3 overlap. The boxes do not grow.
    for reach in (0, 2):
        assert [row[:2] for row in rows(tracks_of_masks(post, reach=reach))] == [[0, 0], [0, 1], [1, 0]]
    assert rows(tracks_of_masks(post, reach=3)) == [[0, 0, 10, 10, 24, 39], [0, 1, 10, 10, 24, 39]]


def test_corners_connect_and_specks_are_dropped():
    mask = drawn(1, (0, 0, 0, 3, 3), (0, 4, 4, 7, 7), (0, 20, 20, 22, 22))
    assert rows(tracks_of_masks(mask, reach=0)) == [[0, 0, 0, 0, 7, 7]]
    assert rows(tracks_of_masks(mask, min_area=9, reach=0)) == [[0, 0, 0, 0, 7, 7], [1, 0, 20, 20, 22, 22]]
    # A pixel is a region with equal ends; a clip without abnormal pixels, or without frames, has no track.
    assert rows(tracks_of_masks(drawn(1, (0, 4, 5, 4, 5)), min_area=1)) == [[0, 0, 4, 5, 4, 5]]
    for frames in (0, 3):
        empty = tracks_of_masks(drawn(frames))
        assert len(empty.track) == len(empty.frame) == 0 and empty.box.shape == (0, 4)


@pytest.mark.parametrize("share", [0.0, 0.8])
@pytest.mark.parametrize("seed", range(8))
def test_map_regions_equal_a_flood_fill_of_the_interpolated_map(seed, share):
    rng = np.random.default_rng(seed)
    maps = (rng.random((5, 6, 6)) ** 3).astype(np.float32)
    maps[rng.random(5) < 0.3] = 0
    size = (rng.integers(18, 30), rng.integers(18, 40))
    expected = []
    for t, cells in enumerate(maps):
        enlarged = slow_enlarge(cells, size)
        np.testing.assert_allclose(enlarge(cells, size), enlarged, atol=1e-6)
        wide = [(part, max(enlarged[pixel] for pixel in part)) for part in components(enlarged > 0.3)]
        kept = np.zeros_like(enlarged, bool)
        for part, peak in wide:
            for pixel in part:
                kept[pixel] = enlarged[pixel] >= share * peak
        for part in components(kept):
            ys, xs = zip(*part, strict=True)
            expected.append([t, min(xs), min(ys), max(xs), max(ys), enlarged[ys, xs].max()])
    made = map_regions(maps, size, 0.3, share)
    made = np.column_stack([made.frame, made.box, made.score])
    order = [part[np.lexsort(part.T[::-1])] for part in (made, np.array(expected).reshape(-1, 6))]
    assert len(made)
    np.testing.assert_allclose(*order, atol=1e-6)


def test_maps_below_the_threshold_have_no_regions():
    made = map_regions(np.full((3, 4, 4), 0.2, np.float32), (20, 20), 0.2, 0.8)
    assert len(made.frame) == len(made.score) == 0 and made.box.shape == (0, 4)


@pytest.mark.parametrize("seed", range(8))
def test_box_regions_hold_the_highest_filtered_cell_inside_the_box(seed):
    rng = np.random.default_rng(seed)
    size, cell, side = (50, 70), int(rng.integers(1, 20)), int(rng.integers(1, 6))
    corner = rng.uniform(-15, 1, (30, 2)) + rng.random((30, 2)) * (70, 50)
    box, frame, score = (
        np.concatenate([corner, corner + rng.uniform(1, 25, (30, 2))], 1),
        np.arange(30) % 9,
        rng.random(30),
    )
    box[4] = 80, 10, 90, 20  # outside
    made = box_regions(ScoredObjects(9, size, frame, box, score), cell, side, side)
    volume, number = filtered_volume(ScoredObjects(9, size, frame, box, score), cell, side, side), 0
    for t, (x1, y1, x2, y2) in zip(frame, box, strict=True):
        xs = range(max(0, int(np.floor(x1))), min(70, int(np.ceil(x2))))
        ys = range(max(0, int(np.floor(y1))), min(50, int(np.ceil(y2))))
        if xs and ys:
            assert made.frame[number] == t and made.box[number].tolist() == [xs[0], ys[0], xs[-1], ys[-1]]
            assert made.score[number] == max(volume[t, y // cell, x // cell] for x in xs for y in ys)
            number += 1
    assert len(made.score) == len(made.frame) == len(made.box) == number < 30
    # The filter spreads scores beyond the boxes, so that no region exceeds the frame score, but all may stay below.
    best = [max(made.score[made.frame == t], default=0) for t in range(9)]
    assert (best <= filtered_frame_scores(ScoredObjects(9, size, frame, box, score), cell, side)).all()


def test_no_boxes_are_no_regions():
    made = box_regions(ScoredObjects(4, (20, 30), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0)), 8, 3, 3)
    assert len(made.frame) == len(made.score) == 0 and made.box.shape == (0, 4)


def test_low_threshold_is_a_share_of_the_99th_percentile():
    assert low_threshold(np.arange(1001.0), 0.2) == pytest.approx(0.2 * 990)
    assert low_threshold(np.arange(101.0).reshape(1, 101), 0.5, 50) == pytest.approx(25)
    for values in ([], [1.0, np.nan]):
        with pytest.raises(InputError, match="map values"):
            low_threshold(np.array(values), 0.2)


@pytest.mark.parametrize("high", [1.0, 7.0])
def test_pixel_auc_equals_that_of_all_pixels_at_once(high):
    rng = np.random.default_rng(0)
    mask = rng.random((6, 30, 40)) < 0.2
    scores = (rng.random(mask.shape) + 0.3 * mask).clip(0, 1) * high
    counts = PixelCounts(high)
    for frame in zip(scores, mask, strict=True):
        counts.update(*frame)
    assert counts.counts.sum() == mask.size
    # Ties are only those of the bins.
    assert counts.auc() == pytest.approx(roc_auc_score(mask.ravel(), scores.ravel()), abs=1e-4)


def test_pixel_auc_of_scores_in_the_middle_of_bins_is_exact():
    rng = np.random.default_rng(1)
    scores, mask = rng.integers(0, 50, (20, 30)), rng.random((20, 30)) < 0.4
    counts = PixelCounts(50, bins=50)
    counts.update((scores + 0.5).astype(np.float16), mask.astype(np.uint8) * 255)
    assert counts.auc() == pytest.approx(roc_auc_score(mask.ravel(), scores.ravel()), abs=1e-12)


def test_scores_beyond_the_ends_count_in_the_outer_bins():
    counts = PixelCounts(bins=4)
    counts.update(np.array([-3.0, 0.1, 1.0, 9.0]), np.array([False, True, False, True]))
    assert counts.counts.tolist() == [[1, 0, 0, 1], [1, 0, 0, 1]]
    assert counts.auc() == 0.5


def test_pixels_of_one_class_have_no_auc_and_bad_ones_are_refused():
    counts = PixelCounts()
    assert counts.auc() is None
    counts.update(np.ones((2, 3)), np.zeros((2, 3), bool))
    assert counts.auc() is None
    with pytest.raises(InputError, match="expected the same shape"):
        counts.update(np.ones((2, 3)), np.zeros((3, 2), bool))
    with pytest.raises(InputError, match="NaN"):
        counts.update(np.full((2, 3), np.nan), np.zeros((2, 3), bool))
