"""Alarms as Frigate's events, against a server that plays its API as its documentation and its models have it."""

import json
import logging
import re
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import pytest
from live_sources import free_port, http_server, until
from test_watch_sinks import END, PAGE, START, UPDATE

from vadistill.watch.config import Frigate
from vadistill.watch.sinks import base, frigate
from vadistill.watch.sinks.base import Refused, Retry, SinkThread
from vadistill.watch.sinks.frigate import FrigateSink

ON_PAGE = [json.loads(text) for text in re.findall(r"```json\n(.*?)\n```", PAGE.partition("## Frigate")[2], re.S)]


class Played:
    """Frigate's events.

    Attributes:
        calls: (method, path, content, headers) of each request.
        events: {id: [start, end or None]}.
        unwritten: Requests until a new event is found.
        failures: Status codes of the next answers; 0: the connection is closed without one.
        whole: Whether scores and times are whole numbers, as in Frigate 0.15.
    """

    def __init__(self):
        self.calls, self.events, self.unwritten, self.failures, self.whole = [], {}, 0, [], False
        self.clock = 1795928957.5

    def answer(self, method, path, content):
        if found := re.fullmatch(r"/api/events/([^/]+)/([^/]+)/create", path):
            return self.create(found[1], content)
        if found := re.fullmatch(r"/api/events/([^/]+)/end", path):
            return self.end(found[1], content)
        return 404, {"detail": "Not Found"}

    def create(self, camera, content):
        if not self.takes(content, score=float, duration=int, sub_label=str, include_recording=bool, draw=dict):
            return 422, {"detail": "validation"}
        if camera != "back_yard":
            return 404, {"success": False, "message": f"{camera} is not a valid camera."}
        name = f"{self.clock}-{len(self.events):06}"
        self.events[name] = [self.clock, "open" if content.get("duration", 30) is None else "timed"]
        return 200, {"success": True, "message": "Successfully created event.", "event_id": name}

    def end(self, name, content):
        if not self.takes(content, end_time=float):
            return 422, {"detail": "validation"}
        self.unwritten -= 1
        if name not in self.events or self.unwritten >= 0:
            return 404, {"success": False, "message": f"Event {name} not found."}
        moment = content.get("end_time")
        if moment is not None and moment < self.events[name][0]:
            return 400, {"success": False, "message": "end_time cannot be before start_time"}
        self.events[name][1] = moment or "now"
        return 200, {"success": True, "message": "Event successfully ended."}

    def takes(self, content, **kinds):
        def fits(value, kind):
            if kind is float and not self.whole:
                return isinstance(value, float | int)
            return isinstance(value, int) or (isinstance(value, float) and value == int(value)) if kind in (
                float, int
            ) else isinstance(value, kind)  # fmt: skip

        return all(content.get(name) is None or fits(content[name], kind) for name, kind in kinds.items())


@contextmanager
def played():
    server = Played()

    class Handler(BaseHTTPRequestHandler):
        def do(self):
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.calls.append((self.command, self.path, content, dict(self.headers)))
            failure = server.failures.pop(0) if server.failures else None
            if failure == 0:
                return
            code, answer = (failure, {}) if failure else server.answer(self.command, self.path, content)
            body = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do

        def log_message(self, *words):
            pass

    with http_server(Handler) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


def sink_of(url, storage=None, **more):
    return FrigateSink(Frigate(kind="frigate", url=url, cameras={"yard": "back_yard"}, **more), storage)


@pytest.fixture
def running(monkeypatch):
    monkeypatch.setattr(base, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(frigate, "WRITTEN_AFTER", 0.01)
    threads = []

    def run(sink, *alarms):
        thread = SinkThread(sink)
        threads.append(thread)
        thread.start()
        for alarm in alarms:
            thread.put(alarm)
        until(lambda: thread.waiting == 0)
        return thread

    yield run
    for thread in threads:
        thread.stop()


def test_an_event_is_created_and_ended_as_the_document_says(running):
    with played() as server:
        running(sink_of(server.url + "/"), START, UPDATE, END)
    assert [call[:2] for call in server.calls] == [
        ("POST", "/api/events/back_yard/unusual/create"),
        ("PUT", "/api/events/1795928957.5-000000/end"),
    ]
    assert [call[2] for call in server.calls] == ON_PAGE
    assert server.events == {"1795928957.5-000000": [1795928957.5, END.end]}
    assert all(call[3]["Content-Type"] == "application/json" for call in server.calls)
    for call in server.calls:
        assert f"`{call[0]} {call[1].replace('1795928957.5-000000', '<event_id>')}`" in PAGE


def test_names_are_those_of_the_file(running):
    with played() as server:
        running(sink_of(server.url, label="un usual"), replace(START, zone="gate"), replace(START, score=7.0))
    assert server.calls[0][1] == "/api/events/back_yard/un%20usual/create"
    assert server.calls[0][2]["sub_label"] == "gate" and server.calls[1][2]["sub_label"] == "yard"
    assert server.calls[1][2]["score"] == 1 and server.calls[1][2]["draw"]["boxes"][0]["score"] == 100


def test_what_fails_is_sent_again_until_the_event_is_over(running):
    with played() as server:
        server.failures = [503, None, 500, 502]
        thread = running(sink_of(server.url), START, END)
    assert [call[0] for call in server.calls] == ["POST", "POST", "PUT", "PUT", "PUT"]
    assert list(server.events.values()) == [[1795928957.5, END.end]]
    assert (thread.sent, thread.failed, thread.lost) == (2, 3, 0)


def test_an_end_waits_until_frigate_has_written_the_event(running):
    with played() as server:
        server.unwritten = 3
        assert running(sink_of(server.url), START, END).sent == 2
    assert list(server.events.values()) == [[1795928957.5, END.end]]


def test_an_event_that_was_created_late_ends_at_once(running):
    with played() as server:
        server.clock = END.end + 60  # nobody answered while the alarm went on
        assert running(sink_of(server.url), START, END).sent == 2
    assert list(server.events.values()) == [[END.end + 60, "now"]]
    assert server.calls[-1][2] == {}


def test_versions_with_whole_numbers_get_whole_numbers(running):
    with played() as server:
        server.whole = True
        assert running(sink_of(server.url), START, END).sent == 2
    assert [call[2].get("score") for call in server.calls[:2]] == [0.471, 47]
    assert list(server.events.values()) == [[1795928957.5, "now"]]


def test_an_event_that_may_be_there_is_not_created_twice(running, caplog):
    with played() as server:
        server.failures = [0]
        thread = running(sink_of(server.url), START, END)
    assert len(server.calls) == 1 and thread.lost == 1 and "is not sent twice" in caplog.text
    with pytest.raises(Retry, match="Connection refused"):  # nothing was sent: it may be tried again
        sink_of(f"http://127.0.0.1:{free_port()}").send(START)


def test_an_unknown_camera_is_named():
    with played() as server, pytest.raises(Refused, match="knows no camera gate; expected its name in Frigate"):
        sink_of(server.url).send(replace(START, camera="gate"))


def test_an_event_of_an_earlier_run_is_ended(tmp_path, running):
    with played() as server:
        running(sink_of(server.url, tmp_path), START)
        running(sink_of(server.url, tmp_path), END, END)
        assert len(server.calls) == 2 and list(server.events.values()) == [[1795928957.5, END.end]]
        (file,) = tmp_path.rglob("*.json")
        assert json.loads(file.read_text()) == {}
        file.write_text("{")
        assert running(sink_of(server.url, tmp_path), START, END).sent == 2


def test_an_event_whose_end_was_not_taken_is_ended_later(tmp_path, running, monkeypatch):
    """Frigate was away for longer than is tried, or both went down together."""
    monkeypatch.setattr(FrigateSink, "tries", 2)
    with played() as server:
        sink = sink_of(server.url, tmp_path)
        running(sink, START)
        server.failures = [503, 503, 503]
        thread = running(sink, END)
        assert thread.lost == 1 and [end for _, end in server.events.values()] == ["open"]
        thread.status([])  # once more away
        thread.status([])
        until(lambda: thread.waiting == 0 and not server.failures)
        thread.status([])
        until(lambda: [end for _, end in server.events.values()] == [END.end])
        running(sink, replace(START, id="another"))
        again = running(sink_of(server.url, tmp_path))  # a restart behind a kill: the watch has no end to tell
        again.status([])
        until(lambda: "open" not in [end for _, end in server.events.values()])


def test_an_event_that_frigate_has_removed_is_forgotten(tmp_path):
    with played() as server:
        sink_of(server.url, tmp_path).send(START)
        server.events.clear()
        sink = sink_of(server.url, tmp_path)
        sink.status([])
        sink.status([])
    assert [method for method, *_ in server.calls] == ["POST", "PUT"]


def test_an_event_that_is_refused_its_end_is_forgotten(tmp_path):
    with played() as server:
        sink = sink_of(server.url, tmp_path)
        sink.send(START)
        server.failures = [403]
        with pytest.raises(Refused, match="answers 403"):
            sink.send(END)
        sink.send(END)
    assert len(server.calls) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"success": false}', b'{"success": true}', b"\xff"])
def test_another_server_is_one_line(content):
    class Other(BaseHTTPRequestHandler):
        def do_POST(self):
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + content)

        def log_message(self, *words):
            pass

    with http_server(Other) as port, pytest.raises(Refused, match="answers without an event_id"):
        sink_of(f"http://127.0.0.1:{port}").send(START)


def test_a_password_is_sent_and_never_shown(tmp_path, caplog, running):
    caplog.set_level(logging.DEBUG)
    with played() as server:
        server.failures = [503, 503, 403]
        url = server.url.replace("://", "://me:hid%2Fden@")
        thread = running(sink_of(url, tmp_path), START, END)
    assert {call[3]["Authorization"] for call in server.calls} == {"Basic bWU6aGlkL2Rlbg=="}
    shown = caplog.text + thread.sink.name + " ".join(str(path) for path in tmp_path.rglob("*"))
    assert "answers 503" in shown and not [word for word in ("hid", "bWU6") if word in shown]


def test_a_frigate_that_hangs_holds_nothing_up():
    begun = time.monotonic()
    with pytest.MonkeyPatch.context() as patch, http_server(_silent()) as port:
        patch.setattr("vadistill.watch.sinks.http.SECONDS", 0.3)
        with pytest.raises(Refused, match=r"no answer \(within 0\.3 seconds\); it may have been taken"):
            sink_of(f"http://127.0.0.1:{port}").send(START)
    assert time.monotonic() - begun < 10


def _silent():
    class Silent(BaseHTTPRequestHandler):
        def do_POST(self):
            time.sleep(2)

        def log_message(self, *words):
            pass

    return Silent
