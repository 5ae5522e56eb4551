import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from vadistill.errors import InputError
from vadistill.evaluation import metrics
from vadistill.evaluation.protocols import frame_auc, frame_auc_with_intervals


def brute_smooth(scores, sigma):
    reach = int(4 * sigma + 0.5)
    smoothed = []
    for t in range(len(scores)):
        around = range(max(0, t - reach), min(len(scores), t + reach + 1))
        weights = [np.exp(-((s - t) ** 2) / (2 * sigma**2)) for s in around]
        smoothed.append(sum(w * scores[s] for w, s in zip(weights, around, strict=True)) / sum(weights))
    return np.array(smoothed)


def brute_auc(scores, labels):
    wins = [
        (p > n) + 0.5 * (p == n)
        for p in [s for s, a in zip(scores, labels, strict=True) if a]
        for n in [s for s, a in zip(scores, labels, strict=True) if not a]
    ]
    return sum(wins) / len(wins)


@pytest.fixture
def clips():
    rng = np.random.default_rng(5)
    # Rounded, so that ties occur.
    scores = {name: rng.random(length).round(1) for name, length in (("b", 40), ("a", 25), ("c", 31))}
    labels = {name: (rng.random(len(values)) < 0.4).astype(np.uint8) for name, values in scores.items()}
    return scores, labels


@pytest.mark.parametrize("frames", [1, 2, 9, 60])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 2.6, 21.0])
def test_smooth_equals_a_loop_over_the_frames(frames, sigma):
    scores = np.random.default_rng(0).normal(size=frames)
    smoothed = metrics.smooth(scores, sigma)
    assert smoothed.shape == (frames,)
    np.testing.assert_allclose(smoothed, brute_smooth(scores, sigma), atol=1e-12)


def test_smooth_far_from_the_borders_is_the_plain_gaussian_filter():
    scores = np.random.default_rng(1).random(100).astype(np.float32)
    expected = gaussian_filter1d(scores.astype(float), 3.0, truncate=4.0)
    np.testing.assert_allclose(metrics.smooth(scores, 3.0)[12:-12], expected[12:-12], atol=1e-12)


@pytest.mark.parametrize(("frames", "sigma"), [(1, 3.0), (7, 50.0), (200, 0.2), (200, 2.5), (2000, 21.0)])
def test_smooth_is_the_gaussian_filter_of_scipy_over_the_frames_that_exist(frames, sigma):
    scores = np.random.default_rng(4).normal(size=frames)
    weighted, weight = (
        gaussian_filter1d(values, sigma, mode="constant", truncate=metrics.TRUNCATE)
        for values in (scores, np.ones(frames))
    )
    np.testing.assert_allclose(metrics.smooth(scores, sigma), weighted / weight, rtol=0, atol=1e-12)


def test_smooth_leaves_constant_scores_exactly_constant():
    # 0.3 has no exact binary form: rounding noise would be ranked by the AUC as if it were a signal.
    np.testing.assert_array_equal(metrics.smooth(np.full(70, 0.3), 5.0), 0.3)


def test_smooth_commutes_with_reversal_and_sigma_0_changes_nothing():
    scores = np.random.default_rng(2).random(30)
    np.testing.assert_allclose(metrics.smooth(scores[::-1], 4.0), metrics.smooth(scores, 4.0)[::-1], atol=1e-12)
    unchanged = metrics.smooth(scores, 0)
    np.testing.assert_array_equal(unchanged, scores)
    assert unchanged is not scores


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_smooth_refuses_impossible_sigmas(sigma):
    with pytest.raises(InputError, match="sigma"):
        metrics.smooth(np.zeros(3), sigma)


@pytest.mark.parametrize("values", [2, 5, 1000])
def test_auc_with_ties_is_that_of_scikit_learn(values):
    rng = np.random.default_rng(values)
    for count in (2, 7, 300):
        scores, labels = rng.integers(0, values, count).astype(float), np.arange(count) < max(1, count // 3)
        assert metrics.auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    with pytest.raises(ValueError, match="not finite"):
        metrics.auc(np.array([0.1, np.nan]), np.array([0, 1]))
    assert metrics.auc(scores, np.zeros(300)) is None and metrics.auc(scores, np.ones(300)) is None


def test_micro_is_the_auc_of_all_frames(clips):
    scores, labels = clips
    everything = [np.concatenate([part[name] for name in ("a", "b", "c")]) for part in (labels, scores)]
    assert metrics.micro_auc(scores, labels) == pytest.approx(roc_auc_score(*everything))
    assert metrics.auc(scores["a"], labels["a"]) == pytest.approx(brute_auc(scores["a"], labels["a"]))
    # The order of the clips in the labels does not matter.
    shuffled = {name: labels[name] for name in sorted(labels)}
    assert list(shuffled) != list(scores)
    assert metrics.micro_auc(scores, shuffled) == metrics.micro_auc(scores, labels)


def test_equal_error_rate_and_average_precision():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    # By hand: with the threshold at 0.35 one of four normal and one of four abnormal frames are on the wrong side.
    scores = np.array([0.1, 0.2, 0.3, 0.8, 0.25, 0.4, 0.7, 0.9])
    assert metrics.equal_error_rate(scores, labels) == pytest.approx(0.25)
    # In the order of the scores: 1/1, 2/3, 3/4, 4/6 of those so far are abnormal where an abnormal one joins.
    assert metrics.average_precision(scores, labels) == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 6) / 4)
    assert metrics.equal_error_rate(labels, labels) == 0 and metrics.equal_error_rate(-labels, labels) == 1
    # All scores equal: the diagonal.
    assert metrics.equal_error_rate(np.ones(8), labels) == pytest.approx(0.5)
    for measure in (metrics.equal_error_rate, metrics.average_precision, metrics.auc):
        assert measure(scores, np.ones(8)) is None and measure(scores, np.zeros(8)) is None


@pytest.mark.parametrize("values", [2, 7, 1000])
def test_curves_with_ties_are_those_of_scikit_learn(values):
    rng = np.random.default_rng(values)
    scores, labels = rng.integers(0, values, 300).astype(float), rng.random(300) < 0.3
    assert metrics.average_precision(scores, labels) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )
    false, true, thresholds = (part[1:] for part in roc_curve(labels, scores, drop_intermediate=False))
    curve = metrics.curve(scores, labels)
    np.testing.assert_array_equal(curve[2], thresholds)
    np.testing.assert_allclose(curve[0] / curve[0][-1], false, atol=1e-12)
    np.testing.assert_allclose(curve[1] / curve[1][-1], true, atol=1e-12)
    least = np.abs(false + true - 1).min()
    chosen = list(thresholds).index(metrics.equal_error_threshold(scores, labels))
    assert np.abs(false + true - 1)[chosen] == pytest.approx(least, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ({}, {}, "no clips"),
        ({"x": [0.1, 0.2]}, {"x": [0, 1, 1]}, "clip x"),
        ({"x": [0.1], "y": [0.1]}, {"x": [0]}, "clip y: scores but no labels"),
        ({"x": [0.1]}, {"x": [0], "y": [0]}, "clip y: labels but no scores"),
        ({"x": [0.1, np.nan]}, {"x": [0, 1]}, "clip x: scores contain NaN"),
        ({"x": [0.1, np.inf]}, {"x": [0, 1]}, "clip x: scores contain NaN or inf"),
        ({"x": [0.1, 0.2]}, {"x": [0, 255]}, "clip x: labels other"),
        ({"x": []}, {"x": []}, "clip x"),
    ],
)
def test_bad_scores_and_labels_are_refused_with_the_clip(scores, labels, message):
    scores, labels = ({name: np.array(values) for name, values in part.items()} for part in (scores, labels))
    for evaluate in (
        metrics.micro_auc,
        lambda s, y: frame_auc(s, y, 1.0),
        lambda s, y: frame_auc_with_intervals(s, y, 1.0),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(scores, labels)


def test_frame_scores_are_the_highest_of_the_frame():
    rng = np.random.default_rng(3)
    frame, score = rng.integers(0, 12, 40), rng.normal(size=40).astype(np.float32)
    frame[frame == 4] = 5
    expected = [max((s for f, s in zip(frame, score, strict=True) if f == t), default=0.0) for t in range(15)]
    np.testing.assert_array_equal(metrics.frame_scores_from_objects(frame, score, 15, 0.0), expected)


def test_objects_below_the_empty_score_keep_their_own():
    np.testing.assert_array_equal(metrics.frame_scores_from_objects([1], [-3.0], 3, 0.5), [0.5, -3.0, 0.5])
    np.testing.assert_array_equal(metrics.frame_scores_from_objects([], [], 2, -1.0), [-1.0, -1.0])


@pytest.mark.parametrize("frame", [-1, 5])
def test_objects_outside_the_clip_are_refused(frame):
    with pytest.raises(InputError, match="from 0 to 4"):
        metrics.frame_scores_from_objects([0, frame], [1.0, 1.0], 5, 0.0)
