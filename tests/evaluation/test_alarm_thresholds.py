"""Thresholds for so many false alarms a day, against SciPy's distributions and streams whose rates are known."""

import numpy as np
import pytest
from scipy.stats import chi2, genpareto

from vadistill.evaluation.alarm_thresholds import (
    DAY,
    Alarms,
    Tail,
    block_maxima,
    count_interval,
    fit_alarms,
    lowest_counted,
    no_alarms,
)
from vadistill.evaluation.events import AlarmRule, alarms
from vadistill.settings import AlarmsConfig

RATE = 5.0  # frames a second


@pytest.mark.parametrize("shape", [0.0, 0.15, 0.3])
def test_a_tail_is_that_of_scipy(shape):
    tail = Tail(0.3, 0.05, shape, 1000.0)
    for wanted in (0.5, 24, 400):
        threshold = tail.threshold(wanted)
        assert tail.alarms_per_day(threshold) == pytest.approx(wanted, rel=1e-9)
        above = genpareto.sf(threshold, shape, loc=0.3, scale=0.05)
        assert 1000 * above == pytest.approx(wanted, rel=1e-9)
    assert tail.threshold(2000) == 0.3 and tail.alarms_per_day(0.2) == 1000, "it says nothing below its level"


@pytest.mark.parametrize("shape", [0.0, 0.2])
def test_a_fit_finds_the_distribution_that_was_drawn_from(shape):
    shapes, scales = [], []
    for seed in range(300):
        high = 0.4 + genpareto.rvs(shape, scale=0.1, size=30, random_state=seed)
        tail = Tail.of(np.concatenate([high, np.full(40, 0.4)]), 10.0)
        shapes.append(tail.shape)
        scales.append(tail.scale)
        assert tail.per_day == pytest.approx(30 / 700 * DAY)
    assert np.median(shapes) == pytest.approx(shape, abs=0.05)
    assert np.median(scales) == pytest.approx(0.1, abs=0.01)


def test_a_tail_does_not_end():
    tail = Tail.of(np.random.default_rng(0).uniform(0, 1, 500), 10.0)
    assert tail.shape == 0, "uniform maxima end at 1; short video could not show that"
    assert tail.threshold(0.001) > 1


def test_equal_maxima_are_passed_always_or_never():
    tail = Tail.of(np.full(30, 0.5), 10.0)
    assert 0.5 < tail.threshold(1.0) < 0.5 + 1e-9 and tail.alarms_per_day(0.51) == 0


def test_blocks_hold_every_frame_once():
    settings = AlarmsConfig(cool_down=4.0, smoothing=0.1)
    clips = [np.arange(97.0), np.arange(5.0), np.arange(20.0)]
    maxima, block = block_maxima(clips, RATE, settings)
    assert len(maxima) == 4 + 1 + 1, "blocks of at least 20 frames, and what is shorter as one"
    assert block == pytest.approx(122 / 6 / RATE)
    assert maxima[[3, 4, 5]].tolist() == [96, 4, 19]


def stream(rng, hours):
    """Noise with rare excursions of exponential height: the alarms a day at any height are known."""
    frames = int(hours * 3600 * RATE)
    scores = rng.normal(0, 0.01, frames)
    for start in np.flatnonzero(rng.random(frames) < 40 / (3600 * RATE)):  # 40 an hour
        scores[start : start + 8] += rng.exponential(0.1)
    return scores


SETTINGS = AlarmsConfig(false_alarms_per_day=(24.0, 480.0), smoothing=0.0, cool_down=2.0, release=0.7)


def test_realised_rates_are_those_that_were_wanted():
    """Thresholds of four hours, on a hundred other hours: the median of some fits within a factor of two."""
    rng, realised = np.random.default_rng(1), {"24": [], "480": []}
    other, inside = stream(rng, 100), 0
    for _ in range(15):
        made = fit_alarms("student", {"a": stream(rng, 2), "b": stream(rng, 2)}, RATE, SETTINGS)
        for wanted, found in made.thresholds.items():
            realised[wanted].append(len(alarms(other, made.rule(wanted, RATE))) / 100 * 24)
            assert found.interval[0] <= found.threshold <= found.interval[1]
        low, high = made.thresholds["24"].rate_interval
        inside += low <= realised["24"][-1] <= high
    assert made.hours == pytest.approx(4.0)
    for wanted, rates in realised.items():
        assert float(wanted) / 2 <= np.median(rates) <= 2 * float(wanted)
    assert inside >= 11, "an interval of 95 % that is somewhat narrow, since few maxima are drawn from"
    assert [part.method for part in made.thresholds.values()] == ["extreme_values", "counted"]
    assert made.thresholds["480"].note == ""
    short = fit_alarms("student", {"a": stream(rng, 0.5)}, RATE, SETTINGS)
    assert "0.5 hours of normal video are expected to hold 0.5 alarms at this rate" in short.thresholds["24"].note
    assert "an estimate, no promise; 10 hours would do" in short.thresholds["24"].note


def test_counted_thresholds_are_the_lowest():
    rng = np.random.default_rng(2)
    smoothed = {"a": rng.random(400), "b": rng.random(300)}

    def rule(threshold):
        return AlarmRule(threshold, threshold, 3)

    def count(threshold):
        return sum(len(alarms(values, rule(threshold))) for values in smoothed.values())

    found = lowest_counted(smoothed, rule, 12)
    assert count(found) <= 12
    below = np.sort(np.concatenate(list(smoothed.values())))
    assert count(below[np.searchsorted(below, found) - 1]) > 12


@pytest.mark.parametrize("count", [10, 25, 100])
def test_the_interval_of_a_count_is_that_of_poisson(count):
    low, high = count_interval(count)
    exact = chi2.ppf(0.025, 2 * count) / 2, chi2.ppf(0.975, 2 * count + 2) / 2  # Garwood 1936
    assert low == pytest.approx(exact[0], abs=0.5) and high == pytest.approx(exact[1], abs=1.3)


def test_scores_that_do_not_differ_raise_no_alarm():
    for scores in (np.full(36000, 0.5), np.minimum(stream(np.random.default_rng(3), 2), 0.05)):
        made = fit_alarms("student", {"a": scores}, RATE, SETTINGS)
        assert len(alarms(scores, made.rule("24", RATE))) <= 2, (
            "at their upper end they lie often, not twice in two hours"
        )


def test_an_alarm_that_is_always_on_is_no_threshold():
    """Slow scores and a long pause: alarms run into each other, so that low thresholds count few."""
    settings = AlarmsConfig(false_alarms_per_day=(240.0,), smoothing=0.0, cool_down=60.0)
    noise = np.random.default_rng(0).normal(size=36600)
    scores = np.convolve(noise, np.full(600, 1 / 600), "valid")
    made = fit_alarms("student", {"a": scores}, RATE, settings)
    found = made.thresholds["240"]
    alarmed = sum(end - start for start, end in alarms(scores, made.rule("240", RATE)))
    assert found.method == "counted" and alarmed <= len(scores) / 2


def test_an_empty_clip_is_left_out():
    rng = np.random.default_rng(0)
    made = fit_alarms("student", {"a": stream(rng, 0.2), "b": np.empty(0)}, RATE, SETTINGS)
    assert made.clips == ["a"]
    assert fit_alarms("student", {"b": np.empty(0)}, RATE, SETTINGS).hours is None


def test_thresholds_do_not_rise_with_the_wanted_rate():
    settings = AlarmsConfig(false_alarms_per_day=(1.0, 24.0, 240.0, 480.0), smoothing=0.0, cool_down=0.0)
    made = fit_alarms("student", {"a": stream(np.random.default_rng(4), 2)}, RATE, settings)
    found = [part.threshold for part in made.thresholds.values()]
    assert found == sorted(found, reverse=True)


def test_too_little_video_is_said():
    scores = np.random.default_rng(0).random(100)
    made = fit_alarms("student", {"a": scores}, RATE, SETTINGS)
    found = made.thresholds["24"]
    assert made.tail is None and found.method == "highest" and found.threshold == scores.max()
    assert "0.333 minutes of normal video" in found.note and "no rate can be promised" in found.note
    assert found.rate_interval == pytest.approx([0, 3 / (20 / 86400)]), "none seen in twenty seconds"


def test_the_file_reads_back():
    made = fit_alarms("student", {"a": stream(np.random.default_rng(0), 0.2)}, RATE, SETTINGS)
    assert Alarms.of(made.content(), "alarms.json") == made
    none = no_alarms("student", ["b", "a"], SETTINGS, "no rate")
    assert Alarms.of(none.content(), "alarms.json") == none and none.rule("24", RATE) is None
