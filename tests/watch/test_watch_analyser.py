"""Batches of many cameras: every window is scored as by itself, the oldest first, and nobody is left out."""

import threading
import time

import numpy as np

from vadistill.inference.backend import BatchScores
from vadistill.watch.alarm import CameraStatus
from vadistill.watch.analyser import Analyser, Slot
from vadistill.watch.windows import Window

DEADLINE = 20.0


class Model:
    """Means; it waits until it may go on, and notes its batches."""

    def __init__(self, fails=0):
        self.may, self.sizes, self.fails = threading.Event(), [], fails
        self.may.set()

    def __call__(self, frames):
        assert self.may.wait(DEADLINE)
        if self.fails:
            self.fails -= 1
            raise RuntimeError("out of\nmemory")
        self.sizes.append(len(frames))
        score = frames.reshape(len(frames), -1).mean(1).astype(np.float32)
        return BatchScores(score, {1: score[:, None, None], 4: np.tile(score[:, None, None], (1, 4, 4))})


def window(value, came):
    return Window(came, came, np.full((9, 4, 4), value, np.uint8), np.zeros((8, 8, 3), np.uint8))


def until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.005)


def started(model, cameras, batch=4):
    analyser, found = Analyser("model", model, batch), []
    slots = {}
    for name in cameras:
        status = CameraStatus(name, "")
        slots[name] = Slot(status, lambda given, score, maps, name=name: found.append((name, given, score, maps)))
        analyser.add(name, slots[name])
    analyser.start()
    return analyser, slots, found


def test_windows_are_scored_as_by_themselves():
    analyser, slots, found = started(Model(), ["a", "b", "c"])
    for number, slot in enumerate(slots.values()):
        analyser.put(slot, window(10 * number, time.time()))
    until(lambda: len(found) == 3)
    analyser.stop()
    for name, given, score, maps in found:
        assert score == 10 * "abc".index(name) == given.planes[0, 0, 0]
        assert maps[4].shape == (4, 4) and maps[4][0, 0] == score
        assert slots[name].status.frames_analysed == 1 and 0 <= slots[name].status.latency < DEADLINE


def test_the_newest_window_wins_and_the_oldest_camera_goes_first():
    model = Model()
    model.may.clear()
    analyser, slots, found = started(model, list("abcdefg"), batch=3)
    analyser.put(slots["a"], window(1, 1.0))
    until(lambda: slots["a"].window is None)  # the analyser is at it
    for number, name in enumerate("gfedcb"):
        analyser.put(slots[name], window(2, 10.0 + number))
    for came in range(20, 25):  # a is fast, and does not push the others away
        analyser.put(slots["a"], window(came, float(came)))
    model.may.set()
    until(lambda: len(found) == 8)
    analyser.stop()
    assert [name for name, *_ in found] == list("agfedcba")
    assert model.sizes == [1, 3, 3, 1]
    assert slots["a"].status.frames_dropped == 4 and slots["b"].status.frames_dropped == 0
    assert found[-1][2] == 24, "the newest one of a"


def test_a_failure_is_one_line_and_the_watch_goes_on(caplog):
    analyser, slots, found = started(Model(fails=1), ["a"])
    analyser.put(slots["a"], window(1, 1.0))
    until(lambda: caplog.messages)
    analyser.put(slots["a"], window(2, 2.0))
    until(lambda: found)
    analyser.stop()
    assert "analysis fails" in caplog.messages[0] and "\n" not in caplog.messages[0] and "memory" in caplog.messages[0]
    assert found[0][2] == 2


def test_a_camera_that_is_removed_is_left_alone():
    analyser, slots, found = started(Model(), ["a", "b"])
    analyser.remove("a")
    analyser.put(slots["a"], window(1, 1.0))
    analyser.put(slots["b"], window(2, 1.0))
    until(lambda: found)
    analyser.stop()
    assert [name for name, *_ in found] == ["b"] and analyser.cameras == ["b"]
