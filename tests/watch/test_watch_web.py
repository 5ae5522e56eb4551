"""What the page asks for, over HTTP: answers, who may ask, and no way in for strangers."""

import http.client
import json
import random
import time

import pytest
from desks import MovingDesk
from live_sources import until
from test_watch_sinks import END, START

from vadistill.errors import InputError
from vadistill.watch.config import WebConfig
from vadistill.watch.web import WebServer

TOKEN = "a-token-of-some-length"


@pytest.fixture
def desk(tmp_path):
    made = MovingDesk(tmp_path)
    made.say(START)
    made.say(END)
    (tmp_path / "clips/a1.mp4").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "secret.txt").write_text("secret")
    return made


@pytest.fixture
def server(desk):
    made = WebServer(WebConfig(port=0), desk)
    made.listen()
    yield made
    begun = time.monotonic()
    made.stop()
    assert not made.is_alive() and time.monotonic() - begun < 3


@pytest.fixture
def guarded(desk):
    made = WebServer(WebConfig(port=0, token=TOKEN), desk)
    made.listen()
    yield made
    made.stop()


def ask(server, path, method="GET", body=None, **headers):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, json.dumps(body) if isinstance(body, dict) else body, given)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def told(server, path, *words, **more):
    status, _, content = ask(server, path, *words, **more)
    return status, json.loads(content)


def test_answers(server, desk):
    status, headers, content = ask(server, "/")
    assert status == 200 and b"<!doctype html>" in content and b"{{nonce}}" not in content
    assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["X-Frame-Options"] == "DENY"
    assert [one["name"] for one in told(server, "/api/cameras")[1]] == ["yard", "gate", "shed"]
    (alarm,) = told(server, "/api/alarms?camera=yard&limit=5&since=0")[1]
    assert alarm == {**END.record(), "feedback": None}
    assert told(server, "/api/alarms?until=10")[1] == []
    assert told(server, "/api/alarms/a1/feedback", "POST", {"is_alarm": False}) == (200, {"is_alarm": False})
    assert desk.store.alarm("a1")["feedback"] is False
    assert told(server, "/api/cameras/yard/threshold?value=0.3")[1] == {"alarms": 70, "hours": 24.0}
    assert told(server, "/api/cameras/yard/threshold", "POST", {"value": 0.75}) == (200, {"threshold": 0.75})
    assert told(server, "/api/cameras/yard/threshold", "POST", {"value": None}) == (200, {"threshold": 0.5})
    found = told(server, "/api/cameras/gate/scores?seconds=100")[1]
    assert len(found["times"]) == len(found["scores"]) == 300
    status, headers, content = ask(server, "/picture/yard.jpg")
    assert status == 200 and content[:3] == b"\xff\xd8\xff" and headers["Content-Type"] == "image/jpeg"
    assert ask(server, "/metrics")[2] == b"vadistill_frames_in_total 1\n"
    assert told(server, "/healthz") == (200, {"healthy": True, "text": "all is well"})
    desk.good = False
    assert told(server, "/healthz")[0] == 503


def test_clips_are_sent_in_ranges(server):
    whole = bytes(range(256)) * 40
    assert ask(server, "/files/clips/a1.mp4")[2] == whole
    status, headers, content = ask(server, "/files/clips/a1.mp4", Range="bytes=100-299")
    assert (status, content, headers["Content-Range"]) == (206, whole[100:300], "bytes 100-299/10240")
    assert headers["Content-Type"] == "video/mp4"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *(("/api/cameras/none/scores", 404), ("/picture/none.jpg", 404), ("/picture/shed.jpg", 404)),
        *(("/stream/none.mjpeg", 404), ("/api/alarms?camera=none", 404), ("/nothing", 404)),
        *(("/files/clips/none.mp4", 404), ("/files/clips/..%2fsecret.txt", 404), ("/files/..%2f/secret.txt", 404)),
        *(("/files/../secret.txt", 404), ("/files/clips/.hidden", 404), ("/files/secret/x", 404)),
        *(("/api/alarms?limit=0", 400), ("/api/alarms?limit=x", 400), ("/api/alarms?since=nan", 400)),
        *(("/api/cameras/yard/threshold", 400), ("/api/cameras/yard/threshold?value=inf", 400)),
        *(("/api/cameras/yard/scores?seconds=1e99", 400), ("/api/alarms/a1/feedback", 405)),
    ],
)
def test_bad_requests_are_one_line(server, path, status):
    found, content = told(server, path)
    assert found == status and content.keys() == {"error"} and "\n" not in content["error"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"is_alarm": 1}', b'{"is_alarm": true, "x": 1}', b'"x"', b"\xff", b"[" * 3000]
)
def test_bad_bodies_are_one_line(server, body):
    status, content = told(server, "/api/alarms/a1/feedback", "POST", body)
    assert status == 400 and "\n" not in content["error"]


def test_limits(server):
    assert ask(server, "/api/alarms/a1/feedback", "POST", b"x" * 10_000)[0] == 413
    assert told(server, "/api/alarms/none/feedback", "POST", {"is_alarm": True})[0] == 404
    status, content = told(server, "/api/cameras/yard/threshold", "POST", {"value": 77})
    assert status == 500 and content == {"error": "failed; the log says why"}


def test_other_pages_cannot_ask(server):
    port = server.port
    body = {"is_alarm": True}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": f"http://127.0.0.1:{port + 1}"},
    ):
        assert ask(server, "/api/alarms/a1/feedback", "POST", body, **headers)[0] == 403
    good = {"Origin": f"http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}
    assert ask(server, "/api/alarms/a1/feedback", "POST", body, **good)[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", ""):
        assert ask(server, "/api/cameras", Host=host)[0] in (400, 421)
    for host in (f"localhost:{port}", "127.0.0.1", f"[::1]:{port}"):
        assert ask(server, "/api/cameras", Host=host)[0] == 200


def test_a_token_is_asked_for_everywhere(guarded):
    for path in (
        "/api/cameras",
        "/picture/yard.jpg",
        "/metrics",
        "/files/clips/a1.mp4",
        "/api/events",
        "/stream/yard.mjpeg",
    ):
        assert ask(guarded, path)[0] == 401
        assert ask(guarded, path, Cookie="vadistill=wrong")[0] == 401
    assert ask(guarded, "/healthz")[0] == 200
    status, headers, _ = ask(guarded, "/")
    assert status == 303 and headers["Location"] == "/login"
    assert b'name="token"' in ask(guarded, "/login")[2]
    assert ask(guarded, "/api/cameras", Authorization=f"Bearer {TOKEN}")[0] == 200
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    assert ask(guarded, "/login", "POST", b"token=wrong", **form)[0] == 401
    status, headers, _ = ask(guarded, "/login", "POST", f"token={TOKEN}".encode(), **form)
    cookie = headers["Set-Cookie"]
    assert status == 303 and "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    assert ask(guarded, "/", Cookie=cookie.partition(";")[0])[0] == 200


def test_guessing_tokens_is_slowed_down(guarded):
    found = [ask(guarded, "/api/cameras", Authorization=f"Bearer {n}")[0] for n in range(15)]
    assert found == [401] * 10 + [429] * 5
    assert ask(guarded, "/api/cameras", Authorization=f"Bearer {TOKEN}")[0] == 429, "not even the right one"


def test_another_address_wants_a_token_and_a_port_that_is_taken_is_one_line(server, desk):
    with pytest.raises(ValueError, match=r"address 0\.0\.0\.0 is no loopback; expected a token"):
        WebConfig(address="0.0.0.0")
    with pytest.raises(InputError, match=r"web: 127\.0\.0\.1:\d+ cannot be had .*; expected a free port"):
        WebServer(WebConfig(port=server.port), desk).listen()


def test_events_and_pictures_stream(server, desk):
    for path, found in (
        ("/api/events", b"event: alarm\ndata: {"),
        ("/stream/yard.mjpeg", b"--frame\r\nContent-Type: image/jpeg"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", path)
        answer = connection.getresponse()
        if path == "/api/events":
            until(lambda: desk.listeners)
            desk.say(START)
        got = b""
        while found not in got:
            got += answer.read1(65536)
        if path == "/stream/yard.mjpeg":
            while got.count(b"--frame") < 3:
                got += answer.read1(65536)
        connection.close()
    until(lambda: not desk.listeners)


def test_nothing_that_is_asked_fails_inside(server, caplog):
    rng = random.Random(0)
    parts = ["api", "cameras", "yard", "alarms", "a1", "feedback", "threshold", "scores", "files", "clips", "..", "%00"]
    parts += ["%2e%2e", "%ff", "picture", "yard.jpg", "'; drop table alarms", "a" * 500, "\u00e9", "?value=", "//"]
    parts += ["?limit=-1", "?since=1e400"]
    for _ in range(300):
        path = "/" + "/".join(rng.choice(parts) for _ in range(rng.randint(1, 5)))
        path = path.encode("ascii", "ignore").decode().replace(" ", "%20")
        method, body = rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD"]), rng.randbytes(rng.randint(0, 50))
        status, _, content = ask(server, path, method, body)
        assert status < 500, path
        assert b"Traceback" not in content
    assert "Traceback" not in caplog.text
