import json

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from vadistill.errors import InputError
from vadistill.evaluation.bootstrap import draw, intervals, intervals_of_difference
from vadistill.evaluation.metrics import micro_auc, smooth
from vadistill.evaluation.protocols import (
    FAST_AED_TAPS,
    PROTOCOLS,
    difference,
    fast_aed_smooth,
    frame_auc,
    frame_auc_with_intervals,
    record,
)


def random_clips(seed=5, lengths=(40, 25, 31), decimals=1):
    rng = np.random.default_rng(seed)
    # Rounded, so that ties occur.
    scores = {f"c{i}": rng.random(length).round(decimals) for i, length in enumerate(lengths)}
    labels = {name: (rng.random(len(values)) < 0.4).astype(np.uint8) for name, values in scores.items()}
    return scores, labels


MIXED = {"mixed": np.array([0.1, 0.4, 0.35, 0.8]), "abnormal": np.array([0.2, 0.9]), "normal": np.array([0.05])}
TRUTH = {"mixed": np.array([0, 0, 1, 1]), "abnormal": np.array([1, 1]), "normal": np.array([0])}


def test_each_clip_is_smoothed_on_its_own_and_macro_is_the_mean_of_those_with_two_classes():
    scores, labels = random_clips()
    labels["c1"][:] = 1
    made = frame_auc(scores, labels, 2.0)
    smoothed = {name: smooth(values, 2.0) for name, values in scores.items()}
    each = {name: roc_auc_score(labels[name], smoothed[name]) for name in ("c0", "c2")}
    joined = [np.concatenate([part[name] for name in scores]) for part in (labels, smoothed)]
    assert made["micro_auc"] == pytest.approx(roc_auc_score(*joined))
    assert made["macro_auc"] == pytest.approx((each["c0"] + each["c2"]) / 2)
    assert made["skipped_clips"] == ["c1"]
    assert made["per_clip"]["c1"] == {"frames": 25, "abnormal_frames": 25, "auc": None}
    c2 = {"frames": 31, "abnormal_frames": int(labels["c2"].sum()), "auc": pytest.approx(each["c2"])}
    assert made["per_clip"]["c2"] == c2


def test_all_conventions_on_a_case_computed_by_hand():
    made = {name: frame_auc(MIXED, TRUTH, 0.0, name) for name in PROTOCOLS if name != "fast_aed"}
    # Pairs of the mixed clip: .35 beats .1, .8 beats both: 3 of 4.
    assert made["vadistill"]["macro_auc"] == 0.75 and made["vadistill"]["skipped_clips"] == ["abnormal", "normal"]
    # With a normal frame of 0 and an abnormal one of 1: (3 + 2 + 2 + 1) of 9 pairs; single-class clips become perfect.
    assert made["padded"]["per_clip"]["mixed"]["auc"] == pytest.approx(8 / 9)
    assert made["padded"]["macro_auc"] == pytest.approx((8 / 9 + 1 + 1) / 3) and not made["padded"]["skipped_clips"]
    # Micro: positives .35 .8 .2 .9 against negatives .1 .4 .05: 2 + 3 + 2 + 3 of 12 pairs, padded or not.
    assert made["vadistill"]["micro_auc"] == made["padded"]["micro_auc"] == pytest.approx(10 / 12)
    # Each clip to [0, 1]: positives 5/14, 1, 0, 1 against negatives 0, 3/7, and 0 for the clip of one frame.
    assert made["min_max"]["micro_auc"] == pytest.approx((2 + 3 + 1 + 3) / 12)
    assert made["min_max"]["macro_auc"] == 0.75
    fast = frame_auc(MIXED, TRUTH, 0.0, "fast_aed")
    assert fast["per_clip"]["abnormal"]["auc"] == fast["per_clip"]["normal"]["auc"] == 1.0
    assert fast["skipped_clips"] == []


def test_each_clip_is_scaled_after_its_smoothing():
    scores, labels = random_clips()
    scaled = {}
    for clip, values in scores.items():
        smoothed = smooth(values, 3.0)
        scaled[clip] = (smoothed - smoothed.min()) / (smoothed.max() - smoothed.min())
    expected = roc_auc_score(*(np.concatenate([part[clip] for clip in scores]) for part in (labels, scaled)))
    assert frame_auc(scores, labels, 3.0, "min_max")["micro_auc"] == pytest.approx(expected)


def test_scores_above_one_are_punished_by_padding():
    scores, labels = {"x": np.array([1.5, 2.0])}, {"x": np.array([0, 0])}
    # The abnormal frame of score 1 lies below both: it beats the normal frame of score 0 alone.
    assert frame_auc(scores, labels, 0.0, "padded")["macro_auc"] == pytest.approx(1 / 3)


def test_only_single_class_clips_have_a_micro_but_no_macro_auc():
    scores, labels = {"x": np.array([1.0, 2.0]), "y": np.array([0.0])}, {"x": np.array([1, 1]), "y": np.array([0])}
    made = frame_auc_with_intervals(scores, labels, 0.0)
    assert (made["micro_auc"], made["macro_auc"], made["macro_interval"]) == (1.0, None, None)
    assert made["micro_interval"] is None, "two clips are too few for an interval"
    one = frame_auc_with_intervals({"x": scores["x"]}, {"x": labels["x"]}, 0.0)
    assert [one[key] for key in ("micro_auc", "micro_interval", "average_precision", "equal_error_rate")] == [None] * 4


def test_constant_scores_have_an_auc_of_one_half():
    labels = {"x": np.arange(50) > 30, "y": np.arange(20) > 3}
    scores = {name: np.full(len(part), 0.3) for name, part in labels.items()}
    for name in ("vadistill", "min_max"):
        made = frame_auc(scores, labels, 7.0, name)
        assert made["micro_auc"] == made["macro_auc"] == 0.5


@pytest.mark.parametrize("frames", [1, 7, 150, 301, 700])
def test_fast_aed_filter_equals_a_loop(frames):
    scores = np.random.default_rng(0).random(frames)
    made = fast_aed_smooth(scores)
    assert made.shape == (frames,)
    density = {distance: norm.pdf(distance, scale=21.0) for distance in range(-149, 152)}
    expected = [
        sum(density[s - (t - 1)] * scores[s] for s in range(max(0, t - 150), min(frames, t + 151)))
        for t in range(frames)
    ]
    np.testing.assert_allclose(made, expected, atol=1e-12)


def test_fast_aed_filter_sums_to_one_is_off_centre_and_pulls_the_borders_down():
    impulse = np.zeros(701)
    impulse[350] = 1
    made = fast_aed_smooth(impulse)
    assert made.sum() == pytest.approx(1, abs=1e-6) and made.argmax() == 351
    assert np.count_nonzero(made) == FAST_AED_TAPS
    constant = fast_aed_smooth(np.ones(400))
    assert constant[200] == pytest.approx(1) and constant[0] == pytest.approx(0.5, abs=0.03) and constant[60] > 0.99


def test_every_protocol_is_recorded_and_ready_for_json():
    scores, labels = random_clips(lengths=(40, 25, 31, 20, 20))
    for name in PROTOCOLS:
        made = json.loads(
            json.dumps(frame_auc_with_intervals(scores, labels, 2.0, name) | record(name, 2.0), allow_nan=False)
        )
        assert made["name"] == name and made["text"] and made["micro_interval"][0] <= made["micro_auc"]
    assert record("vadistill", 0.0)["smoothing"] == {"kind": "none"}
    assert record("fast_aed", 0.0)["smoothing"]["taps"] == 301
    assert record("fast_aed", 5.0)["single_class_clips"] == "count as 1.0"


@pytest.mark.parametrize("sigma", [0.1, 2.0, 2.4, 21.0])
def test_record_states_the_smoothing_that_is_done(sigma):
    impulse = np.zeros(401)
    impulse[200] = 1
    smoothing = record("vadistill", sigma)["smoothing"]
    assert np.count_nonzero(smooth(impulse, sigma)) == smoothing["taps"] and smoothing["sigma_frames"] == sigma


def test_unknown_protocol():
    with pytest.raises(InputError, match="protocol 'fastaed': unknown; known are vadistill, fast_aed, padded, min_max"):
        frame_auc(MIXED, TRUTH, 0.0, "fastaed")


def test_intervals_equal_a_plain_bootstrap_of_the_same_draws():
    scores, labels = random_clips(3, (30, 20, 50, 10, 5, 12))
    labels["c4"][:] = 0
    own = {name: part["auc"] for name, part in frame_auc(scores, labels, 0.0)["per_clip"].items()}
    made = intervals(draw(scores, labels, own, draws=200))
    weight = np.random.default_rng(0).multinomial(6, np.full(6, 1 / 6), size=200)
    micro, macro = [], []
    for times_drawn in weight:
        drawn = [name for name, times in zip(scores, times_drawn, strict=True) for _ in range(times)]
        truth, score = (np.concatenate([part[name] for name in drawn]) for part in (labels, scores))
        if 0 < truth.mean() < 1:
            micro.append(roc_auc_score(truth, score))
        values = [own[name] for name in drawn if own[name] is not None]
        if values:
            macro.append(np.mean(values))
    assert made.micro == pytest.approx(np.percentile(micro, (2.5, 97.5)))
    assert made.macro == pytest.approx(np.percentile(macro, (2.5, 97.5)))
    assert made.micro[0] < micro_auc(scores, labels) < made.micro[1]


def test_the_difference_of_two_detectors_is_drawn_in_pairs():
    scores, labels = random_clips(2, (30,) * 12)
    better = {clip: values + 0.2 * labels[clip] for clip, values in scores.items()}
    made = difference(better, scores, labels, 0.0)
    both = [frame_auc_with_intervals(part, labels, 0.0) for part in (better, scores)]
    assert made.micro_auc == pytest.approx(both[0]["micro_auc"] - both[1]["micro_auc"])
    assert 0 < made.micro_interval[0] < made.micro_auc < made.micro_interval[1]
    same = difference(scores, scores, labels, 0.0)
    assert same.macro_auc == 0 and same.macro_interval == (0, 0)
    own = {clip: part["auc"] for clip, part in both[0]["per_clip"].items()}
    drawn = [draw(part, labels, own, draws=50) for part in (better, scores)]
    expected = np.percentile(drawn[0].micro - drawn[1].micro, (2.5, 97.5))
    assert intervals_of_difference(*drawn).micro == pytest.approx(expected)


def test_clips_of_one_class_do_not_make_a_macro_interval():
    scores, labels = random_clips(3, (30,) * 6)
    for clip in ("c0", "c1"):
        labels[clip][:] = 0
    made = frame_auc_with_intervals(scores, labels, 0.0)
    assert made["micro_interval"] and made["macro_auc"] and made["macro_interval"] is None, "four clips are too few"
    assert difference(scores, scores, labels, 0.0).macro_interval is None
    labels["c1"][3:9] = 1
    assert frame_auc_with_intervals(scores, labels, 0.0)["macro_interval"]


def test_every_number_is_of_the_smoothed_scores():
    scores, labels = random_clips(4, (30,) * 6)
    smoothed = {clip: smooth(values, 3.0) for clip, values in scores.items()}
    made = frame_auc_with_intervals(scores, labels, 3.0)
    assert made == frame_auc_with_intervals(smoothed, labels, 0.0) != frame_auc_with_intervals(scores, labels, 0.0)
    joined = (np.concatenate([part[clip] for clip in scores]) for part in (labels, smoothed))
    assert made["average_precision"] == pytest.approx(average_precision_score(*joined))
    other = {clip: values[::-1] for clip, values in scores.items()}
    other_smoothed = {clip: smooth(values, 3.0) for clip, values in other.items()}
    assert difference(scores, other, labels, 3.0) == difference(smoothed, other_smoothed, labels, 0.0)


def test_scores_that_overflow_are_refused():
    with pytest.raises(InputError, match="clip x: scores contain NaN or infinity"):
        frame_auc({"x": np.array([1e308, -1e308, 0.0])}, {"x": np.array([0, 1, 1])}, 0.0, "min_max")


def test_intervals_narrow_with_more_clips():
    widths = []
    for count in (5, 80):
        scores, labels = random_clips(1, (30,) * count)
        low, high = frame_auc_with_intervals(scores, labels, 0.0)["micro_interval"]
        widths.append(high - low)
    assert widths[1] < 0.5 * widths[0]
