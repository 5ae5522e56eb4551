"""Alarms on their way out: order, retries, what the documents promise, and no secrets."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from live_sources import until
from prometheus_client.parser import text_string_to_metric_families

from vadistill.errors import InputError
from vadistill.watch.alarm import Alarm, CameraState, CameraStatus, Phase
from vadistill.watch.config import JsonLines, WatchConfig
from vadistill.watch.sinks import base
from vadistill.watch.sinks.base import Refused, Retry, SinkThread, stop_sinks
from vadistill.watch.sinks.json_lines import JsonLinesSink
from vadistill.watch.sinks.prometheus import metrics
from vadistill.watch.sinks.registry import make_sinks

PAGE = (Path(__file__).parents[2] / "docs/watch-sinks.md").read_text(encoding="utf-8")
ON_PAGE = [json.loads(line) for line in re.search(r"```json\n(.*?)\n```", PAGE, re.S)[1].splitlines()]
START, UPDATE, END = (
    Alarm(**{**one, "phase": Phase(one["phase"]), "box": tuple(one["box"])}) for one in ON_PAGE
)  # the document's
ID = START.id


class Noted:
    """A sink that notes what it gets, and fails as it is told."""

    name, tries = "noted", 4

    def __init__(self, failures=(), blocked=None):
        self.got, self.states, self.closed = [], [], False
        self.failures, self.blocked, self.begun = list(failures), blocked, threading.Event()

    def send(self, alarm):
        self.begun.set()
        if self.blocked:
            self.blocked.wait(30)
        if self.failures:
            raise self.failures.pop(0)
        self.got.append(alarm)

    def status(self, cameras):
        self.states.append(cameras)

    def close(self):
        self.closed = True


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(base, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(base, "LAST_SECONDS", 0.5)


def test_phases_arrive_in_order_and_failures_are_tried_again(quick, caplog):
    sink = Noted([Retry("down"), Retry("down"), Retry("down")])
    thread = SinkThread(sink)
    thread.start()
    for alarm in (START, replace(START, id="a2"), END):
        thread.put(alarm)
    until(lambda: thread.sent == 3)
    assert [(one.id, one.phase) for one in sink.got] == [(ID, "start"), ("a2", "start"), (ID, "end")]
    assert (thread.failed, thread.lost, thread.waiting) == (3, 0, 0)
    assert caplog.messages == ["noted: down"], "a failure that goes on is told once"
    thread.stop()
    assert sink.closed


def test_what_is_refused_or_fails_too_often_is_given_up_and_counted(quick):
    sink = Noted([Refused("no"), *[Retry("down")] * 4, RuntimeError("bug")])
    thread = SinkThread(sink)
    thread.start()
    for number in range(4):
        thread.put(replace(START, id=f"a{number}"))
    until(lambda: thread.sent == 1)
    assert [one.id for one in sink.got] == ["a3"] and thread.lost == 3
    thread.stop()


@pytest.fixture
def held(quick):
    """A thread whose sink is still at its first alarm, until the event is set."""
    gate = threading.Event()
    thread = SinkThread(Noted(blocked=gate))
    thread.start()
    thread.put(replace(START, id="first"))
    assert thread.sink.begun.wait(30)
    yield thread, gate
    gate.set()
    thread.stop()


def test_updates_that_wait_give_way_to_later_phases(held):
    thread, gate = held
    thread.put(START)
    for number in range(10):
        thread.put(replace(UPDATE, score=number))
    assert thread.waiting == 3
    thread.put(replace(UPDATE, id="other"))
    thread.put(END)
    gate.set()
    until(lambda: thread.waiting == 0)
    assert [(one.id, one.phase) for one in thread.sink.got[1:]] == [(ID, "start"), ("other", "update"), (ID, "end")]
    assert thread.lost == 0


def test_an_update_that_fails_gives_way_too(quick):
    sink = Noted([Retry("down", 0.3)])
    thread = SinkThread(sink)
    thread.start()
    thread.put(UPDATE)
    until(lambda: thread.failed == 1)
    thread.put(END)
    until(lambda: thread.waiting == 0)
    thread.stop()
    assert [one.phase for one in sink.got] == ["end"] and (thread.sent, thread.lost) == (1, 0)


def test_of_too_many_updates_go_first_then_whole_alarms_and_ends_of_what_was_sent_last(held, monkeypatch):
    monkeypatch.setattr(base, "MOST_WAITING", 4)
    thread, gate = held
    thread.put(replace(UPDATE, id="u"))
    thread.put(replace(END, id="first"))
    for name in ("a", "b"):
        thread.put(replace(START, id=name))
    assert thread.lost == 0
    thread.put(replace(END, id="a"))
    assert thread.lost == 1, "the update"
    for name in ("c", "d"):
        thread.put(replace(START, id=name))
    assert thread.lost == 3, "start and end of a"
    gate.set()
    until(lambda: thread.waiting == 0)
    got = [(one.id, one.phase) for one in thread.sink.got[1:]]
    assert got == [("first", "end"), ("b", "start"), ("c", "start"), ("d", "start")]


def test_when_the_watch_ends_a_pause_ends_too(quick, caplog):
    sink = Noted([Retry("down", 300)])
    thread = SinkThread(sink)
    thread.start()
    thread.put(START)
    until(lambda: thread.failed == 1)
    thread.put(END)
    thread.stop()
    assert sink.got == [START, END] and sink.closed and "not sent" not in caplog.text


def test_what_cannot_be_sent_at_the_end_is_counted(quick, caplog):
    threads = [SinkThread(Noted([Retry(f"down {number}") for number in range(100)])) for _ in range(2)]
    for thread in threads:
        thread.sink.tries = 100
        thread.start()
        thread.put(START)
        thread.put(END)
    stop_sinks(threads)
    assert not any(thread.is_alive() for thread in threads)
    assert caplog.messages.count("noted: 2 messages were not sent") == 2


def test_sinks_that_hang_share_the_last_seconds(quick):
    threads = [SinkThread(Noted(blocked=threading.Event())) for _ in range(5)]
    for thread in threads:
        thread.start()
        thread.put(START)
    begun = time.monotonic()
    stop_sinks(threads)
    assert time.monotonic() - begun < 2 * (base.LAST_SECONDS + 2), "not five times that"


def test_no_two_sinks_share_a_name():
    hook = {"kind": "webhook", "url": "https://example.org/a"}
    names = [thread.sink.name for thread in make_sinks(config_of(hook, {**hook, "url": "https://example.org/b"}, hook))]
    first = "webhook https://example.org/***"
    assert names == [first, f"{first} (2)", f"{first} (3)"]


def test_an_unexpected_failure_does_not_show_what_it_was_at(quick, caplog):
    thread = SinkThread(Noted([ValueError("the password is hidden")]))
    thread.start()
    thread.put(START)
    until(lambda: thread.lost == 1)
    thread.stop()
    assert "noted: fails (ValueError)" in caplog.messages and "hidden" not in caplog.text


def test_a_sink_that_hangs_holds_up_nobody(quick, caplog):
    hanging, other = SinkThread(Noted(blocked=threading.Event())), SinkThread(Noted())
    for thread in (hanging, other):
        thread.start()
        thread.put(START)
        thread.put(END)
    until(lambda: other.sent == 2)
    begun = time.monotonic()
    hanging.stop()
    assert time.monotonic() - begun < 5 and "noted: 2 messages were not sent" in caplog.text


def test_states_are_passed_on(quick):
    sink = Noted()
    thread = SinkThread(sink)
    thread.start()
    thread.status([CameraStatus("yard", "")])
    until(lambda: sink.states)
    thread.stop()


def config_of(*sinks):
    return WatchConfig.model_validate({"cameras": {"yard": {"source": {"kind": "file", "path": "x"}}}, "sinks": sinks})


def test_json_lines_are_appended_also_where_the_file_was_moved(tmp_path, quick):
    path = tmp_path / "alarms.jsonl"
    path.write_text("earlier\n")
    (thread,) = make_sinks(config_of({"kind": "json_lines", "path": str(path)}))
    thread.start()
    for alarm in (START, UPDATE):
        thread.put(alarm)
        until(lambda: thread.waiting == 0)
    path.rename(tmp_path / "alarms.jsonl.1")
    thread.put(END)
    thread.stop()
    lines = (tmp_path / "alarms.jsonl.1").read_text().splitlines()
    assert lines[0] == "earlier" and [json.loads(line) for line in lines[1:]] == [START.record(), UPDATE.record()]
    assert json.loads(path.read_text()) == END.record()


def test_a_full_disk_leaves_no_half_line(tmp_path):
    with pytest.raises(InputError, match="cannot be written \\(No space left"):
        JsonLinesSink(JsonLines(kind="json_lines", path="/dev/full"))
    code = """if True:
        import resource, sys
        from test_watch_sinks import *
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        sink = JsonLinesSink(JsonLines(kind="json_lines", path=sys.argv[1]))
        for _ in range(5):
            try:
                sink.send(START)
            except Retry as error:
                print(error)
    """
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent), *sys.path])
    told = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.jsonl"], env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert len(lines) == 1000 // (len(lines[0]) + 1) and all(json.loads(line) == START.record() for line in lines)
    assert "No space left" in told.stdout


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"alarms: cannot be written \(Is a directory\); expected a file for alarms"):
        (tmp_path / "alarms").mkdir()
        make_sinks(config_of({"kind": "json_lines", "path": str(tmp_path / "alarms")}))


def test_the_json_is_that_of_the_document(capsys):
    (thread,) = make_sinks(config_of({"kind": "json_lines"}))
    for alarm in (START, UPDATE, END):
        thread.sink.send(alarm)
    assert capsys.readouterr().out.splitlines() == re.search(r"```json\n(.*?)\n```", PAGE, re.S)[1].splitlines()
    assert [one["phase"] for one in ON_PAGE] == list(Phase)
    for one in ON_PAGE:
        assert one.keys() == {field.name for field in fields(Alarm)}
        assert (one["end"] is None, one["clip"] == "") == (one["phase"] != "end",) * 2


def test_metrics_are_what_prometheus_reads():
    status = CameraStatus("yard", "", state=CameraState.LIVE, frames_in=10, frames_analysed=5, frames_dropped=1)
    status.recent, status.last_frame, status.latency = [i / 100 for i in range(101)], time.time() - 3, 0.25
    dead = CameraStatus("gate", "", state=CameraState.DEAD)
    thread = SinkThread(Noted())
    thread.sent = 7
    thread.put(START)
    thread.put(END)
    found = {}
    for family in text_string_to_metric_families(metrics([status, dead], [thread]).decode()):
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.values())] = sample.value
    assert found["vadistill_frames_in_total", "yard"] == 10 and found["vadistill_frames_dropped_total", "yard"] == 1
    assert found["vadistill_score_quantile", "0.9", "yard"] == pytest.approx(0.9)
    assert found["vadistill_last_frame_age_seconds", "yard"] == pytest.approx(3, abs=2)
    assert found["vadistill_state", "live", "yard"] == 1 and found["vadistill_state", "dead", "gate"] == 1
    assert found["vadistill_sink_sent_total", "noted"] == 7 and found["vadistill_sink_waiting", "noted"] == 2
    assert {name for name, *_ in found} == set(re.findall(r"`(vadistill_[a-z_]+)`", PAGE.partition("## Prometheus")[2]))
