"""What a camera makes of scores: the pictures of its alarms."""

from types import SimpleNamespace

import numpy as np
import pytest

from vadistill.watch.alarm import CameraStatus, Phase
from vadistill.watch.camera import Camera, Look
from vadistill.watch.config import CameraConfig
from vadistill.watch.tracker import Rule
from vadistill.watch.windows import Window

RATE = 5  # frames a second


class Recorder:
    """Notes which frame a snapshot of an alarm shows, by its grey level."""

    def __init__(self):
        self.snapshots = []

    def add(self, time, image, score):
        pass

    def start(self, alarm):
        pass

    def snapshot(self, alarm, image, heat):
        self.snapshots.append((alarm.id, alarm.phase, int(image[0, 0, 0])))

    def end(self, alarm):
        pass

    def close(self):
        pass


def followed(scores, cool_down=0.4):
    """Give a camera frames of grey level 0, 1, ... with these scores; return its alarms and snapshots."""
    told, recorder = [], Recorder()
    model = SimpleNamespace(size=(8, 8), offsets=(-1, 0, 1), flow="none", resolutions=(1, 4))
    analyser = SimpleNamespace(model=model, add=lambda *_: None, remove=lambda *_: None)
    look = Look("model", analyser, 0.2, 0.0, Rule(0.5, 0.3, cool_down), None)
    config = CameraConfig(source={"kind": "file", "path": "a.mp4"})
    camera = Camera(CameraStatus("yard", ""), config, look, told.append, recorder, lambda *_: None)
    for number, score in enumerate(scores):
        analysed(camera, number, score)
    camera.close()
    analysed(camera, len(scores), 9.0)  # of a batch that was on its way
    return told, recorder.snapshots


def analysed(camera, number, score):
    maps = {g: np.full((g, g), score, np.float32) for g in (1, 4)}
    moment = 1000 + number / RATE
    frame = np.full((20, 30, 3), number, np.uint8)
    camera._analysed(Window(moment, moment, np.zeros((9, 8, 8), np.uint8), frame), score, maps)


def test_the_last_snapshot_of_an_alarm_shows_its_peak():
    scores = [0.1, 0.6, 0.7, 0.9, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1]
    told, snapshots = followed(scores)
    assert [alarm.phase for alarm in told] == [Phase.START, Phase.END] and told[-1].peak == pytest.approx(1000.6)
    assert [(phase, level) for _, phase, level in snapshots] == [(Phase.START, 1), (Phase.END, 3)]


def test_a_long_alarm_shows_its_peak_so_far():
    scores = [0.1, *np.linspace(0.5, 0.9, 60), *np.full(60, 0.6), *np.full(5, 0.1)]
    told, snapshots = followed(scores)
    shown = {alarm.phase: level for alarm, level in zip(told, [level for *_, level in snapshots], strict=False)}
    peaks = [round((alarm.peak - 1000) * RATE) for alarm in told]
    assert peaks[0] == 1 and peaks[-1] == 60 and shown[Phase.START] == 1
    assert [level for *_, level in snapshots] == sorted(set(peaks)), "one for each new peak, none where it stays"


def test_alarms_in_a_row_have_their_own_snapshots():
    scores = [0.6, 0.8, 0.1, 0.1, 0.1, 0.1, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1]
    told, snapshots = followed(scores)
    first, second = dict.fromkeys(alarm.id for alarm in told)
    assert [one for one in snapshots if one[0] == first][-1][2] == 1
    assert [one for one in snapshots if one[0] == second] == [(second, Phase.START, 6)]


def test_an_alarm_that_is_cut_off_shows_its_peak():
    _, snapshots = followed([0.6, 0.9])
    assert [(phase, level) for _, phase, level in snapshots] == [(Phase.START, 0), (Phase.END, 1)]
