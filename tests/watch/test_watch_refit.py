"""Thresholds from stored scores: what was said to be no alarm raises them."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import yaml
from test_watch_sinks import END

from vadistill.errors import InputError
from vadistill.evaluation.metrics import smooth
from vadistill.watch.app import read_thresholds
from vadistill.watch.command import fit
from vadistill.watch.refit import EVEN, stretches
from vadistill.watch.store import Store


def write(tmp_path):
    path = tmp_path / "cameras.yaml"
    camera = {"source": {"kind": "file", "path": "x.mp4"}, "false_alarms_per_day": 60.0}
    path.write_text(yaml.safe_dump({"cameras": {"yard": camera}, "storage": {"path": str(tmp_path / "kept")}}))
    return path, Store(tmp_path / "kept")


def test_feedback_raises_the_threshold(tmp_path, capsys):
    path, store = write(tmp_path)
    hours, now = 4, time.time()
    times = now - 3600 * hours + np.arange(0, 3600 * hours, EVEN)
    scores = 0.2 + 0.02 * smooth(np.random.default_rng(0).normal(0, 1, len(times)), 4)
    events = [1000 + 600 * n for n in range(20)]
    for number, second in enumerate(events):  # every ten minutes something harmless is high
        inside = (times - times[0] >= second) & (times - times[0] < second + 6)
        scores[inside] = 0.6
        start = times[0] + second
        store.save(replace(END, id=f"a{number}", start=start, peak=start, end=start + 6, score=0.6))
    store.add_scores("yard", times, scores)
    store.flush()
    fit(path)
    low = read_thresholds(tmp_path / "kept/thresholds.json")["yard"]
    assert 0.2 < low.threshold < 0.5 and low.release <= low.threshold
    assert "camera yard: threshold" in capsys.readouterr().out
    for number in range(20):
        store.set_feedback(f"a{number}", False)
    fit(path)
    high = read_thresholds(tmp_path / "kept/thresholds.json")["yard"]
    assert high.threshold > low.threshold + 0.05
    store.set_feedback("a0", True)
    assert json.loads((tmp_path / "kept/thresholds.json").read_text()).keys() == {"yard"}


def test_without_scores_there_is_one_line(tmp_path):
    path, _ = write(tmp_path)
    with pytest.raises(InputError, match="camera yard: no scores are stored outside of alarms"):
        fit(path)


def test_stretches_have_no_gaps_and_leave_out_intervals():
    times = np.concatenate([np.arange(0, 10, 0.25), np.arange(100, 110, 0.25)])
    made = stretches(times, times, [(4.0, 5.0), (50.0, 103.0)])
    assert [(round(part[0], 2), round(part[-1], 2)) for part in made.values()] == [(0.0, 9.6), (103.25, 109.65)]
    for part in made.values():
        np.testing.assert_allclose(np.diff(part), EVEN, atol=1e-9)
    assert stretches(times, times, [(-1.0, 200.0)]) == {}
