import numpy as np
import pytest

from vadistill.evaluation.metrics import equal_error_threshold
from vadistill.maps.percentiles import steady


@pytest.mark.parametrize("count", [101, 567, 2000, 9_999])
@pytest.mark.parametrize("percentile", [95, 99, 99.5, 99.9])
def test_ten_values_lie_beyond_a_percentile(percentile, count):
    values = np.random.default_rng(count).random(count)
    for wished, beyond in ((percentile, np.greater), (100 - percentile, np.less)):
        assert beyond(values, np.percentile(values, steady(wished, count))).sum() >= min(10, count * 0.1)


def test_of_many_values_the_wished_percentile_is_taken():
    assert steady(99.9, 10_001) == 99.9 and steady(0.5, 2_001) == 0.5
    assert steady(99.9, 567) == pytest.approx(98.236, abs=1e-3)


@pytest.mark.parametrize("count", [1, 5, 60, 10**6])
def test_extremes_and_inner_percentiles_stay(count):
    assert [steady(percentile, count) for percentile in (0, 10, 50, 75, 90, 100)] == [0, 10, 50, 75, 90, 100]
    assert 90 <= steady(99, count) <= 99 and 1 <= steady(1, count) <= 10


@pytest.mark.parametrize("seed", range(40))
def test_the_equal_error_threshold_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    labels = np.append(rng.random(int(rng.integers(5, 60))) < 0.4, [True, False])
    scores = np.round(rng.normal(labels * rng.random(), 1), int(rng.integers(0, 4)))

    def difference(threshold):
        alarms = scores >= threshold
        return abs(alarms[~labels].mean() - (~alarms[labels]).mean())

    best = min(map(difference, [*np.unique(scores), np.inf]))
    assert difference(equal_error_threshold(scores, labels)) == pytest.approx(best, abs=1e-12)


def test_the_equal_error_threshold_is_a_score():
    assert equal_error_threshold(np.full(4, 0.3), np.array([True, False, True, False])) == 0.3
