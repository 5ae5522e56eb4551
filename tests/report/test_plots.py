import itertools

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

from vadistill.errors import InputError
from vadistill.report import plots


def picture(path):
    image = cv2.imread(str(path))
    assert image is not None
    return image.astype(int)


def coloured(image, hexadecimal):
    """Return the mask of the pixels of (nearly) one colour."""
    red, green, blue = (int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5))
    return np.abs(image - (blue, green, red)).max(2) < 12


def strip(path, maps, masks=None, boxes=None, high=1.0, count=2):
    frames = [np.full((60, 100, 3), 90, np.uint8)] * count
    plots.map_strip(path, "clip", frames, list(range(count)), maps, masks, boxes, high)
    return picture(path)


def heat(image):
    """Return the mask of the pixels that are neither grey, nor text, nor outline."""
    return (image.max(2) - image.min(2) > 40) & ~coloured(image, plots.CONTOUR_COLOUR)


def test_score_plot_shades_the_abnormal_frames_and_draws_the_student_bold(tmp_path):
    curves = {name: np.full(100, height) for name, height in (("student", 0.5), ("multi_task", 0.9))}
    labels = np.zeros(100, bool)
    plots.score_plot(tmp_path / "plain.png", "clip", curves, labels, {"student": 0.5})
    labels[20:40] = labels[60] = True
    plots.score_plot(tmp_path / "deep" / "shaded.png", "clip", curves, labels, {"student": 0.5, "multi_task": None})
    plain, shaded = picture(tmp_path / "plain.png"), picture(tmp_path / "deep" / "shaded.png")
    assert shaded.shape == (405, 1200, 3)
    student, teacher = (coloured(plain, colour).sum(0) for colour in (plots.STUDENT_COLOUR, plots.OTHER_COLOURS[0]))
    assert np.median(student) > np.median(teacher) >= 1
    # A row of pixels without curves, near the bottom of the axes: where it is no longer white, frames are abnormal.
    line = coloured(plain, plots.STUDENT_COLOUR).sum(0) > 0
    tint = (np.abs(shaded[320] - plain[320]).max(1) > 10)[line]
    share = np.flatnonzero(tint) / tint.size
    first, second = share[share < 0.5], share[share > 0.5]
    np.testing.assert_allclose([first.min(), first.max(), second.min(), second.max()], [0.2, 0.4, 0.6, 0.61], atol=0.02)


@pytest.mark.parametrize("labels", [None, np.ones(1, int), np.zeros(1, int)])
def test_score_plot_of_a_one_frame_clip(tmp_path, labels):
    plots.score_plot(tmp_path / "one.png", "cost $x_ and $", {"student": np.array([-0.5])}, labels, {})
    assert picture(tmp_path / "one.png").size


def test_map_strip_puts_the_heat_where_the_map_is_high(tmp_path):
    cells = np.zeros((4, 4))
    cells[0, 3] = 1.0
    image = strip(tmp_path / "s.png", {"student": [cells, cells * 0], "multi_task": [cells * 0, cells]})
    rows, columns = np.nonzero(heat(image)[:, : -plots.DPI // 2])
    panel, height = plots.PANEL_INCHES * plots.DPI, 0.6 * plots.PANEL_INCHES * plots.DPI
    left, top = 0.38 * plots.DPI, 0.42 * plots.DPI
    # Two blobs: student under frame 0 and multi_task under frame 1, each in the upper right of its panel.
    for row, column in ((1, 0), (2, 1)):
        x, y = (columns - left) / panel - column, (rows - top) / height - row
        inside = (x > 0.6) & (x < 1.1) & (y > 0) & (y < 0.4)
        assert inside.sum() > 200
        rows, columns = rows[~inside], columns[~inside]
    assert not rows.size


def test_all_maps_share_one_scale(tmp_path):
    cold = heat(strip(tmp_path / "a.png", {"student": [np.full((1, 1), 0.1)] * 2}, high=1.0))[:, :-75]
    hot = heat(strip(tmp_path / "b.png", {"student": [np.full((1, 1), 0.1)] * 2}, high=0.1))[:, :-75]
    zero = heat(strip(tmp_path / "c.png", {"student": [np.full((1, 1), 0.1)] * 2}, high=0.0))[:, :-75]
    assert hot.sum() > 2 * 0.95 * 240 * 144
    assert not cold.any() and not zero.any()


def test_map_strip_outlines_masks_in_every_row_and_boxes_in_the_first(tmp_path):
    mask = np.zeros((60, 100), bool)
    mask[10:30, 20:60] = True
    maps = {"student": [np.zeros((4, 4))] * 2}
    bare = strip(tmp_path / "a.png", maps)
    outlined = strip(tmp_path / "b.png", maps, masks=[mask, None])
    rows, columns = np.nonzero(coloured(outlined, plots.CONTOUR_COLOUR))
    assert not coloured(bare, plots.CONTOUR_COLOUR).any()
    x, y = (columns - 0.38 * 150) / 2.4, (rows - 0.42 * 150) / 2.4
    below = y > 60
    assert set(below) == {True, False}
    for part in (~below, below):
        found = [x[part].min(), x[part].max(), (y[part] % 62.5).min(), (y[part] % 62.5).max()]
        np.testing.assert_allclose(found, [20, 60, 10, 30], atol=1.5)

    boxed = strip(tmp_path / "c.png", maps, boxes=[None, np.array([[40, 20, 80, 50]], np.float32)])
    changed = np.abs(boxed - bare).max(2) > 40
    rows, columns = np.nonzero(changed)
    x, y = (columns - 0.38 * 150) / 2.4 - 102.5, (rows - 0.42 * 150) / 2.4
    np.testing.assert_allclose([x.min(), x.max(), y.min(), y.max()], [40, 80, 20, 50], atol=1.5)
    to_border = np.minimum(np.minimum(abs(x - 40), abs(x - 80)), np.minimum(abs(y - 20), abs(y - 50)))
    assert to_border.max() < 1.5


def test_map_strip_without_boxes_in_a_frame_and_without_maps(tmp_path):
    image = strip(tmp_path / "a.png", {}, masks=[np.zeros((60, 100), bool)] * 2, boxes=[np.zeros((0, 4))] * 2)
    assert not coloured(image, plots.CONTOUR_COLOUR).any()


def test_pick_times_takes_alarms_the_worst_false_alarm_and_calm_frames():
    score = np.full(120, 0.3)
    labels = np.zeros(120, int)
    labels[30:60] = labels[90:110] = 1
    score[[35, 36, 55, 100]] = 0.9, 0.89, 0.8, 0.85
    score[70] = 0.95
    score[[5, 80]] = 0.0, 0.1
    assert plots.pick_times(score, labels) == [5, 35, 55, 70, 80, 100]


def test_pick_times_gives_distinct_spread_frames_of_any_clip():
    rng = np.random.default_rng(0)
    for frames, count in itertools.product((1, 2, 5, 12, 13, 90), (1, 2, 6)):
        for labels in (None, np.zeros(frames), np.ones(frames), np.arange(frames) == 0, np.arange(frames) != 3):
            for score in (np.zeros(frames), rng.random(frames), np.arange(frames)):
                times = plots.pick_times(score, labels, count)
                assert len(times) == min(count, frames)
                assert times[0] >= 0 and times[-1] < frames
                gaps = np.diff(times)
                assert gaps.size == 0 or gaps.min() >= max(1, frames // (2 * count))


def test_loss_plot_has_one_panel_a_quantity_and_phase():
    common = {"phase_index": 3, "seconds": 9.0, "objects_per_second": 5.0, "stopped": True}
    records = [
        {"phase": "first_part", "epoch": 0, "train_loss": 1.0, "held_out_loss": 2.0, "rate": 0.1, **common},
        {"phase": "first_part", "epoch": 1, "train_loss": 0.5, "rate": float("nan"), **common},
        {"phase": "second", "epoch": 0, "train_loss": 7, **common},
    ]
    assert plots._panels(records) == {
        "first part: loss": {"train": [(1, 1.0), (2, 0.5)], "held out": [(1, 2.0)]},
        "first part: rate": {"": [(1, 0.1)]},
        "second: loss": {"train": [(1, 7)]},
    }
    assert list(plots._panels(records[:2])) == ["loss", "rate"]


def test_agreement_by_kind_of_anomaly_is_drawn_in_the_panel_of_its_quantity(tmp_path):
    quantity = {"held_out_peak_shortfall": 0.1, "validation_fast_peak_shortfall": 0.2, "validation_auc": 0.9}
    kinds = {"validation_pasted_peak_shortfall": 0.3}
    records = [{"phase": "distillation", "epoch": epoch, **quantity, **kinds} for epoch in range(3)]
    panels = plots._panels(records)
    assert {title: list(curves) for title, curves in panels.items()} == {
        "peak shortfall": ["held out", "validation fast", "validation pasted"],
        "validation auc": [""],
    }
    plots.loss_plot(tmp_path / "loss.png", records)
    image = cv2.imread(str(tmp_path / "loss.png"))
    assert all(coloured(image, colour).any() for colour in (plots.ABNORMAL_COLOUR, *plots.OTHER_COLOURS[:2]))


def test_loss_plot_tells_training_from_held_out(tmp_path):
    records = [{"epoch": e, "train_loss": 1 / (e + 1), "rate": 0.1} for e in range(3)]
    records[0]["held_out_loss"] = 2.0
    plots.loss_plot(tmp_path / "two.png", records)
    image = picture(tmp_path / "two.png")
    half = image.shape[1] // 2
    training, held_out = (coloured(image, colour) for colour in (plots.STUDENT_COLOUR, plots.ABNORMAL_COLOUR))
    assert training[:, half:].any() and not held_out[:, half:].any()
    assert training[:, :half].sum() > held_out[:, :half].sum() > 0


@pytest.mark.parametrize("records", [[], [{"epoch": 1, "seconds": 2.0, "phase": "first"}]])
def test_loss_plot_without_numbers_is_refused_and_writes_nothing(tmp_path, records):
    with pytest.raises(InputError, match=r"loss\.png"):
        plots.loss_plot(tmp_path / "loss.png", records)
    assert not list(tmp_path.iterdir())


def test_pictures_touch_no_global_state_of_matplotlib(tmp_path):
    before = dict(matplotlib.rcParams)
    plots.score_plot(tmp_path / "a.png", "clip", {"student": np.zeros(3)}, None, {})
    assert dict(matplotlib.rcParams) == before and not pyplot.get_fignums()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
