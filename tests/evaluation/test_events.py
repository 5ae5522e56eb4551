"""Events and alarms against a frame-by-frame state machine."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from vadistill.cli import app
from vadistill.errors import InputError
from vadistill.evaluation.events import AlarmRule, alarms, judge, lowest_threshold, runs


def slow_alarms(scores, rule):
    """Goes through the frames, as a stream would."""
    made, on = [], False
    for t, score in enumerate(scores):
        if not on and score >= rule.threshold:
            if made and t - made[-1][1] < max(1, rule.cool_down):
                pass  # the last one goes on
            else:
                made.append([t, t])
            on = True
        on = on and score >= rule.release
        if on:
            made[-1][1] = t + 1
    return made


@pytest.mark.parametrize("release", [0.8, 0.6])
@pytest.mark.parametrize("cool_down", [0, 1, 4])
def test_alarms_are_those_of_a_stream(release, cool_down):
    rule = AlarmRule(0.8, release, cool_down)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scores = np.clip(np.cumsum(rng.normal(0, 0.2, 60)) % 1.2, 0, 1)
        assert alarms(scores, rule).tolist() == slow_alarms(scores, rule)
    assert alarms(np.zeros(5), rule).shape == (0, 2)


def test_runs():
    assert runs(np.array([1, 1, 0, 0, 1, 0, 1])).tolist() == [[0, 2], [4, 5], [6, 7]]


SCORES = {"a": np.array([0.9, 0, 0, 0, 0, 0.9, 0.9, 0, 0, 0.2]), "b": np.array([0.1, 0.1, 0.5, 0.1])}
LABELS = {"a": np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 1]), "b": np.array([0, 0, 0, 0])}


def test_what_is_counted_by_hand():
    made = judge(SCORES, LABELS, AlarmRule(0.8, 0.8, 0), rate=2.0)
    assert (made.events, made.found_events, made.alarms, made.false_alarms) == (2, 1, 2, 1)
    assert made.delays.tolist() == [1.0], "the third frame of its event, at two a second"
    assert made.hours == pytest.approx(14 / 7200) and made.normal_hours == pytest.approx(9 / 7200)
    assert made.false_alarms_per_hour == pytest.approx(800) and made.alarmed_normal_share == pytest.approx(1 / 9)
    assert (made.recall, made.precision) == (0.5, 0.5)
    lower = judge(SCORES, LABELS, AlarmRule(0.5, 0.5, 0), rate=2.0)
    assert (lower.alarms, lower.false_alarms, lower.found_events) == (3, 2, 1)
    silent = judge(SCORES, LABELS, AlarmRule(2.0, 2.0, 0), rate=2.0)
    assert silent.precision is None and silent.recall == 0 and not len(silent.delays)


def test_the_lowest_threshold_that_keeps_a_rate():
    assert lowest_threshold(SCORES, LABELS, 800, 0, 2.0) == pytest.approx(0.9)
    assert lowest_threshold(SCORES, LABELS, 1600, 0, 2.0) == pytest.approx(0.2)
    with pytest.raises(InputError, match=r"the highest score is a false alarm, in 0\.0013 hours"):
        lowest_threshold(SCORES, LABELS, 10, 0, 2.0)
    with pytest.raises(InputError, match="no frame is normal"):
        lowest_threshold({"a": np.ones(3)}, {"a": np.ones(3)}, 1, 0, 2.0)
    always = {"a": np.array([0.9, 0.1, 0.9, 0.1, 0.9])}
    truth = {"a": np.array([0, 0, 1, 0, 0])}
    assert math.isclose(lowest_threshold(always, truth, 2000, 0, 1.0), 0.9), "not 0.1, at which one alarm meets all"


def test_the_command(tmp_path):
    for folder, arrays in (("scores", SCORES), ("labels", LABELS)):
        (tmp_path / folder).mkdir()
        for clip, array in arrays.items():
            np.save(tmp_path / folder / f"{clip}.npy", array)
    command = ["events", "--scores", str(tmp_path / "scores"), "--labels", str(tmp_path / "labels"), "--fps", "2"]
    command += ["--cool-down", "0"]
    done = CliRunner().invoke(app, [*command, "--threshold", "0.8"])
    made = json.loads(done.stdout)
    assert made["event_recall"] == made["alarm_precision"] == 0.5 and made["delay_s"] == {"median": 1.0, "highest": 1.0}
    assert made["false_alarms_per_hour"] == pytest.approx(800) and made["threshold"] == made["release"] == 0.8
    asked = json.loads(CliRunner().invoke(app, [*command, "--false-alarms-per-hour", "1600"]).stdout)
    assert asked["threshold"] == pytest.approx(0.2) and asked["false_alarms_per_hour"] <= 1600
    for options, told in (
        ([], "expected either --threshold or --false-alarms-per-hour"),
        (["--threshold", "0.8", "--false-alarms-per-hour", "1"], "expected either"),
        (["--release", "0.1", "--false-alarms-per-hour", "1600"], "--release: expected with --threshold only"),
        (["--threshold", "0.8", "--release", "0.9"], "--release 0.9: expected at most the threshold, 0.8"),
    ):
        refused = CliRunner().invoke(app, [*command, *options])
        assert isinstance(refused.exception, InputError) and told in str(refused.exception)
