import cv2
import numpy as np
import pytest

from vadistill.errors import InputError
from vadistill.report.mistakes import BOX_COLOURS, Panel, mistake_sheet, rank_in_clip, worst


def near(image, red, green, blue):
    """Return the mask of the pixels of (nearly) one colour."""
    return np.abs(image.astype(int) - (blue, green, red)).max(2) < 14


def panel(box=(), score=(), mask=None, clip="clip"):
    frame = np.full((60, 90, 3), 40, np.uint8)
    return Panel(clip, 7, 0.5, 0.25, frame, np.reshape(box, (-1, 4)), np.array(score), mask)


def drawn(path, panels):
    mistake_sheet(path, "a title with $", panels)
    return cv2.imread(str(path))


def test_worst_are_the_extremes_of_both_classes_over_all_clips():
    scores = {"a": np.array([0.1, 0.9, 0.8, 0.2, 0.3]), "b": np.array([0.5, 0.05, 0.95])}
    labels = {"a": np.array([0, 0, 1, 1, 0]), "b": np.array([0, 1, 1])}
    alarms, misses = worst(scores, labels, count=3, apart=1)
    assert alarms == [("a", 1), ("b", 0), ("a", 4)]
    assert misses == [("b", 1), ("a", 3), ("a", 2)]


@pytest.mark.parametrize("apart", [1, 7, 40])
def test_worst_keep_their_distance_within_a_clip_only(apart):
    rng = np.random.default_rng(0)
    scores = {clip: rng.random(60) for clip in "abc"}
    labels = {clip: rng.integers(0, 2, 60) for clip in "abc"}
    alarms, misses = worst(scores, labels, 12, apart)
    for found, wanted, sign in ((alarms, 0, 1), (misses, 1, -1)):
        rank = [sign * scores[clip][t] for clip, t in found]
        assert rank == sorted(rank, reverse=True)
        assert all(labels[clip][t] == wanted for clip, t in found)
        # Greedy: every frame of the class left out is either below the last one or close to a better one.
        for clip in "abc":
            for t in np.flatnonzero(labels[clip] == wanted):
                value = sign * scores[clip][t]
                better = [s for c, s in found if c == clip and sign * scores[c][s] > value]
                close = any(abs(t - s) < apart for s in better)
                assert ((clip, t) in found) == (not close and (len(found) < 12 or value >= rank[-1]))


def test_worst_refuses_scores_and_labels_that_do_not_fit():
    with pytest.raises(InputError, match="expected the same clips"):
        worst({"a": np.zeros(3)}, {"b": np.zeros(3)})
    with pytest.raises(InputError, match="clip a: 3 scores, 4 labels"):
        worst({"a": np.zeros(3)}, {"a": np.zeros(4)})


def test_rank_is_the_share_of_the_other_frames_that_score_lower():
    scores = np.array([0.3, 0.1, 0.9, 0.1, 0.5])
    assert [rank_in_clip(scores, t) for t in range(5)] == [0.5, 0, 1, 0, 0.75]
    assert rank_in_clip(np.array([0.4]), 0) == 0


def test_boxes_are_coloured_on_one_scale_where_they_lie(tmp_path):
    boxes = [[20, 10, 40, 50]]
    image = drawn(tmp_path / "sheet.png", [panel(boxes, [0.1]), panel(boxes, [0.9])])
    half = image.shape[1] * 0.46  # the colour bar takes the rest
    for score, left in ((0.0, True), (1.0, False)):
        columns = near(image, *(255 * np.array(BOX_COLOURS(score)[:3]))).nonzero()[1]
        columns = columns[columns < 2 * half]
        assert len(columns) and ((columns < half) == left).all()
        # 20 of 90 pixels of the frame wide.
        assert np.ptp(columns) / half == pytest.approx(20 / 90, rel=0.1)


def test_the_mask_is_outlined(tmp_path):
    mask = np.zeros((60, 90), bool)
    mask[30:50, 50:80] = True
    outlined, plain = drawn(tmp_path / "mask.png", [panel(mask=mask)]), drawn(tmp_path / "none.png", [panel()])
    rows, columns = (np.abs(outlined.astype(int) - plain).max(2) > 60).nonzero()
    scale = 540 / 90  # pixels of the picture to one of the frame
    assert (np.ptp(columns) / scale, np.ptp(rows) / scale) == pytest.approx((30, 20), abs=1.5)
    assert len(rows) < 5 * 2 * (30 + 20) * scale  # a line, not an area


def test_equal_scores_and_boxes_at_the_frame_s_edges_are_drawn(tmp_path):
    boxes = [[-3, -3, 8, 6], [80, 0, 95, 30], [0, 50, 20, 70], [30, 0, 40, 60]]
    assert drawn(tmp_path / "sheet.png", [panel(boxes, [0.5] * 4)]).size


@pytest.mark.parametrize("count", [1, 3, 10])
def test_rows_of_two_that_can_be_read_on_a_screen(tmp_path, count):
    image = drawn(tmp_path / "sheet.png", [panel(clip=f"c_{i}$") for i in range(count)])
    rows = -(-count // 2)
    assert 1000 < image.shape[1] < 1400 and rows * 300 < image.shape[0] < rows * 460 + 60
    grey = near(image, 40, 40, 40)
    assert grey.sum() / image.shape[0] / image.shape[1] > 0.6 * count / (2 * rows)


def test_a_sheet_of_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"sheet\.png: no frames to draw"):
        mistake_sheet(tmp_path / "sheet.png", "none", [])
    assert not (tmp_path / "sheet.png").exists()
