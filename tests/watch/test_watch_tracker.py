"""Alarms of scores that come one by one equal those of the whole series at once."""

import numpy as np
import pytest

from vadistill.evaluation.events import AlarmRule, alarms
from vadistill.evaluation.metrics import smooth
from vadistill.watch.alarm import Phase
from vadistill.watch.config import Schedule
from vadistill.watch.smoothing import CausalSmoother
from vadistill.watch.tracker import Rule, Tracker, is_scheduled

RATE = 5.0
BOX = (0.0, 0.0, 0.25, 0.25)


def series(seed, count=600):
    rng = np.random.default_rng(seed)
    return smooth(rng.normal(0, 1, count), rng.uniform(0.5, 4))


def followed(scores, rule, allowed=None):
    tracker, made = Tracker("yard", "", rule), []
    for t, score in enumerate(scores):
        made += tracker.add(t / RATE, float(score), BOX, allowed is None or bool(allowed[t]))
    return [*made, *tracker.flush()]


@pytest.mark.parametrize("seed", range(30))
def test_alarms_are_those_of_the_whole_series(seed):
    scores, rng = series(seed), np.random.default_rng(1000 + seed)
    threshold = float(np.quantile(scores, rng.uniform(0.7, 0.99)))
    release = threshold - rng.uniform(0, 0.5) * float(scores.std())
    pause = int(rng.integers(0, 30))
    made = followed(scores, Rule(threshold, release, pause / RATE))
    starts = {alarm.id: alarm for alarm in made if alarm.phase == Phase.START}
    ends = {alarm.id: alarm for alarm in made if alarm.phase == Phase.END}
    assert list(starts) == list(ends)
    found = [(round(one.start * RATE), round(one.end * RATE) + 1) for one in ends.values()]
    assert found == [tuple(pair) for pair in alarms(scores, AlarmRule(threshold, release, pause)).tolist()]
    for start, end in zip(found, ends.values(), strict=True):
        inside = scores[slice(*start)]
        assert end.score == inside.max() and round(end.peak * RATE) == start[0] + inside.argmax()


def test_an_alarm_that_goes_on_is_told_of_now_and_then():
    made = followed([0, *[1] * 200, 0], Rule(0.5, 0.4, 1))
    assert [alarm.phase for alarm in made] == ["start", "update", "update", "update", "update", "end"]
    assert len({alarm.id for alarm in made}) == 1 and made[-1].end == 200 / RATE


def test_nothing_is_raised_where_it_is_not_allowed():
    allowed = np.arange(100) < 50
    made = followed(np.ones(100), Rule(0.5, 0.4, 1), allowed)
    assert [alarm.phase for alarm in made if alarm.phase != "update"] == ["start", "end"]
    assert made[-1].end == 49 / RATE
    assert followed(np.ones(100), Rule(0.5, 0.4, 1), np.zeros(100)) == []


@pytest.mark.parametrize("sigma", [0.0, 0.4, 0.8, 2.0])
def test_smoothing_is_that_of_a_whole_clip_but_for_its_tails(sigma):
    scores = np.random.default_rng(0).normal(0, 1, 200)
    smoother, made, latest = CausalSmoother(sigma), [], []
    for t, score in enumerate(scores):
        ready = list(smoother.add(t / RATE, float(score)))
        latest += [t / RATE - time for time, _ in ready]
        made += ready
    made += smoother.flush()
    assert [time for time, _ in made] == pytest.approx(np.arange(200) / RATE)
    assert latest and max(latest) == pytest.approx(round(smoother.delay * RATE) / RATE, abs=1 / RATE)
    weights = np.exp(-0.5 * ((np.arange(200)[:, None] - np.arange(200)) / RATE / max(sigma, 1e-9)) ** 2)
    weights[np.abs(np.arange(200)[:, None] - np.arange(200)) / RATE > smoother.delay + 1e-6] = 0
    np.testing.assert_allclose([score for _, score in made], weights @ scores / weights.sum(1), atol=1e-9)
    offline = smooth(scores, sigma * RATE)
    assert np.corrcoef(offline, [score for _, score in made])[0, 1] > 0.97


def test_smoothing_begins_anew_behind_a_gap():
    smoother = CausalSmoother(0.8)
    made = [*smoother.add(0, 1.0), *smoother.add(0.2, 1.0), *smoother.add(60, 9.0)]
    assert made == [(0, 1.0), (0.2, 1.0)]
    assert list(smoother.flush()) == [(60, 9.0)]
    assert [*smoother.add(50, 2.0), *smoother.flush()] == [(50, 2.0)]


def test_a_schedule_may_go_over_midnight():
    from datetime import datetime

    def at(day, clock):  # day 0 is a Monday
        return datetime.fromisoformat(f"2026-11-{23 + day}T{clock}:00").timestamp()

    night = Schedule.model_validate({"days": ["fri"], "from": "22:00", "to": "06:00"})
    noon = Schedule.model_validate({"days": ["mon"], "from": "12:00", "to": "13:00"})
    for schedule, moment, expected in (
        ([night], at(4, "21:59"), False),
        ([night], at(4, "22:00"), True),
        ([night], at(5, "05:59"), True),
        ([night], at(5, "06:00"), False),
        ([night], at(5, "22:30"), False),
        ([night], at(4, "05:00"), False),
        ([night, noon], at(0, "12:30"), True),
        ([noon], at(1, "12:30"), False),
        ([], at(1, "12:30"), True),
        ([Schedule()], at(1, "23:59"), True),
    ):
        assert is_scheduled(schedule, moment) is expected


def test_what_goes_on_behind_an_outage_is_an_alarm_of_its_own():
    tracker = Tracker("yard", "", Rule(0.5, 0.3, 2.0))
    assert [one.phase for one in tracker.add(100.0, 0.9, BOX)] == [Phase.START]
    assert [one.phase for one in tracker.flush()] == [Phase.END], "the camera is dead"
    again = [one for step in range(10) for one in tracker.add(3000.0 + step, 0.9, BOX)]
    assert [one.phase for one in again] == [Phase.START] and again[0].start == 3000.0


def test_an_alarm_does_not_outlast_a_clock_that_is_set_back():
    tracker = Tracker("yard", "", Rule(0.5, 0.3, 2.0))
    told = [one for step in range(5) for one in tracker.add(10_000.0 + step, 0.9, BOX)]
    told += [one for step in range(10) for one in tracker.add(6400.0 + step, 0.1, BOX)]
    assert [one.phase for one in told] == [Phase.START, Phase.END] and told[-1].end == 10_004.0
    assert [one.start for one in tracker.add(6420.0, 0.9, BOX)] == [6420.0]
