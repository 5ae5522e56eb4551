"""Alarms on their way out: order, retries, what the documents promise, and no secrets."""

import hashlib
import hmac
import json
import re
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from live_sources import free_port, http_server, until
from prometheus_client.parser import text_string_to_metric_families

from vadistill.watch.alarm import Alarm, CameraState, CameraStatus, Phase
from vadistill.watch.config import Frigate, JsonLines, WatchConfig, Webhook
from vadistill.watch.sinks import base
from vadistill.watch.sinks.base import Refused, Retry, SinkThread
from vadistill.watch.sinks.frigate import FrigateSink
from vadistill.watch.sinks.prometheus import metrics
from vadistill.watch.sinks.registry import make_sinks
from vadistill.watch.sinks.webhook import WebhookSink, signature

PAGE = (Path(__file__).parents[2] / "docs/watch-sinks.md").read_text(encoding="utf-8")
START = Alarm(
    id="a1", camera="yard", zone="", phase=Phase.START, start=1000.25, end=None, peak=1000.25, score=0.6, threshold=0.5,
    box=(0.25, 0.5, 0.0625, 0.0625), snapshot="snapshots/a1.jpg",
)  # fmt: skip
UPDATE = replace(START, phase=Phase.UPDATE, peak=1003.5, score=0.8)
END = replace(UPDATE, phase=Phase.END, end=1010.0, clip="clips/a1.mp4")


class Noted:
    """A sink that notes what it gets, and fails as it is told."""

    name, tries = "noted", 4

    def __init__(self, failures=(), blocked=None):
        self.got, self.states, self.closed = [], [], False
        self.failures, self.blocked = list(failures), blocked

    def send(self, alarm):
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
    assert [(one.id, one.phase) for one in sink.got] == [("a1", "start"), ("a2", "start"), ("a1", "end")]
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


def test_updates_that_wait_give_way_to_newer_ones(quick, monkeypatch):
    monkeypatch.setattr(base, "MOST_WAITING", 5)
    gate = threading.Event()
    sink = Noted(blocked=gate)
    thread = SinkThread(sink)
    thread.start()
    thread.put(replace(START, id="first"))
    for number in range(10):
        thread.put(replace(UPDATE, score=number))
    assert thread.waiting == 2
    thread.put(END)
    for number in range(5):
        thread.put(replace(START, id=f"b{number}"))
    gate.set()
    until(lambda: thread.waiting == 0)
    assert thread.lost == 2, "more than five do not wait"
    assert [one.phase for one in sink.got if one.id == "a1"] in ([], ["end"])
    thread.stop()


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


def test_json_lines(tmp_path, quick):
    path = tmp_path / "alarms.jsonl"
    path.write_text("earlier\n")
    (thread,) = make_sinks(
        WatchConfig.model_validate(
            {
                "cameras": {"yard": {"source": {"kind": "file", "path": "x"}}},
                "sinks": [JsonLines(kind="json_lines", path=path).model_dump()],
            }
        )
    )
    thread.start()
    for alarm in (START, UPDATE, END):
        thread.put(alarm)
        until(lambda: thread.waiting == 0)
    thread.stop()
    lines = path.read_text().splitlines()
    assert lines[0] == "earlier" and [json.loads(line) for line in lines[1:]] == [
        one.record() for one in (START, UPDATE, END)
    ]


def test_the_json_is_that_of_the_document():
    documented = json.loads(re.search(r"```json\n(.*?)\n```", PAGE, re.S)[1])
    assert documented.keys() == END.record().keys()
    assert {name: type(value) for name, value in documented.items()} == {
        name: type(value) for name, value in END.record().items()
    }


def recording(answers):
    """A handler that notes requests, and answers as it is told: a status code, (code, headers, body), or silence."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            got.append((self.command, self.path, dict(self.headers), body))
            found = answers.pop(0) if answers else 200
            code, headers, content = found if isinstance(found, tuple) else (found, {}, b"")
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_GET = answer

        def log_message(self, *words):
            pass

    return Handler, got


def test_a_webhook_is_signed_and_sent_again_under_the_same_key(quick, caplog):
    handler, got = recording([500, (429, {"Retry-After": "0"}, b""), 200])
    with http_server(handler) as port:
        url = f"http://user:hidden@127.0.0.1:{port}/alarms?token=private"
        thread = SinkThread(WebhookSink(Webhook(kind="webhook", url=url, secret="a secret")))
        thread.start()
        thread.put(START)
        until(lambda: thread.sent == 1)
        thread.stop()
    assert [request[:2] for request in got] == [("POST", "/alarms?token=private")] * 3
    for _, _, headers, body in got:
        assert json.loads(body) == START.record() and headers["Idempotency-Key"] == "a1-start"
        made = hmac.new(b"a secret", f"{headers['X-Vadistill-Timestamp']}.".encode() + body, hashlib.sha256)
        assert headers["X-Vadistill-Signature"] == f"sha256={made.hexdigest()}"
        assert abs(int(headers["X-Vadistill-Timestamp"]) - time.time()) < 60
    assert "answers 500" in caplog.text
    assert not [word for word in ("hidden", "private", "a secret") if word in caplog.text + thread.sink.name]


def test_the_signature_of_the_document():
    secret, moment, body, told = re.search(
        r"secret `(.*?)`, the timestamp `(.*?)` and the body `(.*?)`, the signature is `(.*?)`", PAGE
    ).groups()
    assert signature(secret, moment, body.encode()) == told


@pytest.mark.parametrize(
    ("answer", "kind"), [(400, Refused), (302, Refused), (404, Refused), (503, Retry), (408, Retry)]
)
def test_answers_that_are_final_and_others(answer, kind):
    handler, got = recording([answer])
    with http_server(handler) as port:
        sink = WebhookSink(Webhook(kind="webhook", url=f"http://127.0.0.1:{port}/"))
        with pytest.raises(kind, match=f"answers {answer}"):
            sink.send(UPDATE)
    assert got[0][2]["Idempotency-Key"] == "a1-update-1003.500" and "X-Vadistill-Signature" not in got[0][2]


def test_nobody_answers():
    sink = WebhookSink(Webhook(kind="webhook", url=f"http://user:hidden@127.0.0.1:{free_port()}/x"))
    with pytest.raises(Retry, match=r"http://\*\*\*@127\.0\.0\.1:\d+/x: no answer \(ConnectionRefusedError\)"):
        sink.send(START)


def test_frigate_gets_an_event_and_its_end():
    answer = (200, {"Content-Type": "application/json"}, b'{"success": true, "event_id": "1795.5-abc", "message": ""}')
    handler, got = recording([answer])
    with http_server(handler) as port:
        sink = FrigateSink(Frigate(kind="frigate", url=f"http://127.0.0.1:{port}/", cameras={"yard": "back_yard"}))
        for alarm in (START, UPDATE, END, END):
            sink.send(alarm)
    assert [request[:2] for request in got] == [
        ("POST", "/api/events/back_yard/unusual/create"),
        ("PUT", "/api/events/1795.5-abc/end"),
    ]
    made = json.loads(got[0][3])
    assert made["duration"] is None and made["include_recording"] is True and made["score"] == 60
    assert made["draw"]["boxes"][0]["box"] == [0.25, 0.5, 0.0625, 0.0625]
    assert json.loads(got[1][3]) == {"end_time": 1010.0}
    assert "POST /api/events/back_yard/unusual/create" in PAGE and "PUT /api/events/<event_id>/end" in PAGE


def test_a_frigate_that_answers_otherwise_is_one_line():
    for content in (b"", b"[]", b'{"success": false}', b'{"success": true}'):
        handler, _ = recording([(200, {}, content)])
        with http_server(handler) as port, pytest.raises(Refused, match="answers without an event_id"):
            FrigateSink(Frigate(kind="frigate", url=f"http://127.0.0.1:{port}")).send(START)


def test_metrics_are_what_prometheus_reads():
    status = CameraStatus("yard", "", state=CameraState.LIVE, frames_in=10, frames_analysed=5, frames_dropped=1)
    status.recent, status.last_frame, status.latency = [i / 100 for i in range(101)], time.time() - 3, 0.25
    dead = CameraStatus("gate", "", state=CameraState.DEAD)
    thread = SinkThread(Noted())
    thread.sent = 7
    found = {}
    for family in text_string_to_metric_families(metrics([status, dead], [thread]).decode()):
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.values())] = sample.value
    assert found["vadistill_frames_in_total", "yard"] == 10 and found["vadistill_frames_dropped_total", "yard"] == 1
    assert found["vadistill_score_quantile", "0.9", "yard"] == pytest.approx(0.9)
    assert found["vadistill_last_frame_age_seconds", "yard"] == pytest.approx(3, abs=2)
    assert found["vadistill_state", "live", "yard"] == 1 and found["vadistill_state", "dead", "gate"] == 1
    assert found["vadistill_sink_sent_total", "noted"] == 7
    assert {name for name, *_ in found} == set(re.findall(r"`(vadistill_[a-z_]+)`", PAGE.partition("## Prometheus")[2]))
