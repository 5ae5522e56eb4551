"""Answers that go on: server-sent events and Motion JPEG, and the server's end."""

import json
import re
import socket
import time

import pytest
from live_sources import until
from page_desk import TOKEN, PageDesk, call, chunks, events, get, living, opened, refuses, served

from vadistill.watch import web_door, web_streams
from vadistill.watch.alarm import Phase
from vadistill.watch.config import WebConfig
from vadistill.watch.web import WebServer


def test_events_come_as_they_happen(tmp_path):
    desk = PageDesk(tmp_path)
    with served(desk) as server, opened(server, "/api/events", Origin="http://x") as (file, head):
        assert "text/event-stream" in head and "no-store" in head and "nosniff" in head
        until(lambda: desk.listeners)
        found = events(file)
        desk.publish_states()
        alarm = desk.alarm("camera-1", phase=Phase.START, with_files=False)
        desk.publish("cameras", {"names": ["a"]})
        seen = [next(found) for _ in range(6)]
        assert seen[0] == ("", {"retry": "2000"})
        assert [kind for kind, _ in seen[1:]] == ["camera"] * 3 + ["alarm", "cameras"]
        assert seen[1][1]["name"] == "camera-0" and abs(seen[1][1]["now"] - time.time()) < 30
        assert seen[4][1] == alarm.record() and seen[5][1] == {"names": ["a"]}
    until(lambda: not desk.listeners)


def test_quiet_events_beat(tmp_path, monkeypatch):
    monkeypatch.setattr(web_streams, "HEARTBEAT", 0.2)
    with served(PageDesk(tmp_path)) as server, opened(server, "/api/events") as (file, _):
        found = chunks(file)
        assert [next(found) for _ in range(3)] == [b"retry: 2000\n\n", b": alive\n\n", b": alive\n\n"]


def test_a_page_that_missed_something_is_sent_away(tmp_path, monkeypatch):
    monkeypatch.setattr(web_streams, "HEARTBEAT", 1e9)
    desk = PageDesk(tmp_path)
    desk.most_waiting = 5
    with served(desk) as server, opened(server, "/api/events") as (file, _):
        until(lambda: desk.listeners)
        for number in range(9):  # faster than they are taken
            desk.publish("cameras", {"number": number})
        seen = [content["number"] for kind, content in events(file) if kind == "cameras"]  # it ends
        assert seen == sorted(seen) and len(seen) >= 5


def test_motion_jpeg_shows_each_picture_once(tmp_path):
    desk = PageDesk(tmp_path)
    status = desk.statuses["camera-0"]
    with served(desk) as server, opened(server, "/stream/camera-0.mjpeg") as (file, head):
        assert "multipart/x-mixed-replace; boundary=frame" in head and "nosniff" in head
        coming = chunks(file)
        assert next(coming) == b"--frame\r\n"
        for _ in range(3):
            part = next(coming)
            kind, size, jpeg = re.fullmatch(
                rb"Content-Type: (.*?)\r\nContent-Length: (\d+)\r\n\r\n(.*)\r\n--frame\r\n", part, re.DOTALL
            ).groups()
            assert kind == b"image/jpeg" and int(size) == len(jpeg) and jpeg == desk.picture("camera-0")[1]
            time.sleep(0.3)  # nothing comes of itself
            desk.tick(status)


@pytest.mark.parametrize("path", ["/stream/camera-0.mjpeg", "/api/events"])
def test_streams_end_when_the_client_goes(tmp_path, path, monkeypatch):
    """Also where nothing new comes, as of a dead camera."""
    monkeypatch.setattr(web_streams, "MOST", 1)
    monkeypatch.setattr(web_streams, "HEARTBEAT", 1e9)
    desk = PageDesk(tmp_path)

    def opens():
        with opened(server, path) as (_, head):
            return "200 OK" in head

    with served(desk) as server:
        assert call(server, "HEAD", path).status == 405, "it would never end"
        for _ in range(5):
            until(opens)
        until(lambda: not desk.listeners)


def test_streams_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(web_streams, "MOST", 2)
    with (
        served(PageDesk(tmp_path)) as server,
        opened(server, "/api/events"),
        opened(server, "/stream/camera-0.mjpeg"),
    ):
        with opened(server, "/api/events") as (file, head):
            assert "503" in head and "Retry-After: 10" in head and json.loads(file.readline())["error"]
        assert get(server, "/api/cameras").status == 200


@pytest.mark.slow
def test_a_client_that_takes_nothing_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(web_streams, "STALLED", 0.5)
    desk = PageDesk(tmp_path)
    with served(desk) as server, opened(server, "/api/events"):
        until(lambda: desk.listeners)
        text = "x" * 100_000

        def is_gone():
            desk.publish("cameras", {"text": text})
            time.sleep(0.01)
            return not desk.listeners

        until(is_gone)


def test_it_stops_within_two_seconds_whoever_is_there(tmp_path):
    desk = PageDesk(tmp_path)
    server = WebServer(WebConfig(port=0), desk)
    server.listen()
    with (
        opened(server, "/api/events"), opened(server, "/stream/camera-0.mjpeg"), living(desk, 0.05),
        socket.create_connection(("127.0.0.1", server.port)) as half,
        socket.create_connection(("127.0.0.1", server.port)) as slow,
    ):  # fmt: skip
        half.sendall(b"GET /api/cam")
        slow.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken")
        time.sleep(0.2)
        begun = time.monotonic()
        server.stop()
        assert not server.is_alive() and time.monotonic() - begun < 2
    server.stop()  # a second time does nothing


def test_addresses_that_cannot_be_had(tmp_path):
    desk = PageDesk(tmp_path)
    with served(desk) as server:
        told = refuses(WebServer(WebConfig(port=server.port), desk).listen)
        assert told.startswith(f"web: 127.0.0.1:{server.port} cannot be had (") and "in use" in told
    told = refuses(WebServer(WebConfig(address="192.0.2.1", port=0, token=TOKEN), desk).listen)
    assert "web: 192.0.2.1:0 cannot be had" in told
    WebServer(WebConfig(port=0), desk).stop()  # never started


def ended(connection):
    """Return whether the other side has closed a connection."""
    connection.settimeout(10)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_connections_that_ask_nothing_are_ended(tmp_path, monkeypatch):
    """Before any token, and whoever sends a head byte by byte, too."""
    monkeypatch.setattr(web_door, "SILENT", 0.5)
    with served(PageDesk(tmp_path), token=TOKEN) as server:
        silent, slow = (socket.create_connection(("127.0.0.1", server.port)) for _ in range(2))
        slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert ended(silent) and ended(slow)
        asking = socket.create_connection(("127.0.0.1", server.port))
        asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert asking.recv(9) == b"HTTP/1.1 "
        for one in (silent, slow, asking):
            one.close()


def test_so_many_connections_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(web_door, "MOST_CONNECTIONS", 5)
    with served(PageDesk(tmp_path)) as server:
        inside = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
        outside = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        assert all(ended(one) for one in outside)
        for one in inside:
            one.close()

        def answers():
            try:
                return get(server, "/healthz").status == 200
            except OSError:
                return False

        until(answers)
        for one in outside:
            one.close()
