"""The page's server: every route, and what it makes of nonsense."""

import random
import re
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from page_desk import TOKEN, PageDesk, call, get, post, served, served_with_alarms

from vadistill.watch import web_routes
from vadistill.watch.alarm import CameraState
from vadistill.watch.app import Watch
from vadistill.watch.web import Desk


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server without a token, for tests that change nothing that others look at."""
    with served_with_alarms(tmp_path_factory.mktemp("watch")) as server:
        yield server


def test_the_application_is_a_desk():
    missing = [name for name in vars(Desk) if not name.startswith("_") and not callable(getattr(Watch, name, None))]
    assert missing == []


def test_the_page_lets_in_its_own_script_alone(shared):
    one, other = get(shared, "/"), get(shared, "/")
    assert one.status == 200 and one.headers["Content-Type"] == "text/html; charset=utf-8"
    policy, text = one.headers["Content-Security-Policy"], one.body.decode()
    nonce = re.search(r"script-src 'nonce-([\w-]{22})'", policy)[1]
    assert f"style-src 'nonce-{nonce}'" in policy and "default-src 'none'" in policy and "unsafe" not in policy
    assert nonce not in other.body.decode(), "each answer has another one"
    tags = re.findall(r"<(script|style)\b([^>]*)>", text)
    assert tags == [("style", f' nonce="{nonce}"'), ("script", f' nonce="{nonce}"')]
    assert "{{" not in text and not re.search(r"\son\w+=|\sstyle=|innerHTML|eval\(", text)
    addresses = set(re.findall(r"""https?:\\?/\\?/[^\s"'`)]+""", text))
    assert addresses == {"http://www.w3.org/2000/svg"}, "a name, and no address that is asked"


@pytest.mark.parametrize(
    "path", ["/", "/api/cameras", "/nothing", "/picture/camera-0.jpg", "/healthz", "/metrics", "/login", "/files/x/y"]
)
def test_headers_are_on_every_answer(shared, path):
    headers = get(shared, path).headers
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store" and "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Server"] == "vadistill", "nobody learns which versions run here"
    assert headers["Referrer-Policy"] == "same-origin"


def test_cameras_and_their_clock(shared):
    before = time.time()
    found = get(shared, "/api/cameras").json
    assert [one["name"] for one in found] == ["camera-0", "camera-1", "camera-2"]
    assert found[0]["state"] == "live" and found[0]["source"] == "rtsp://***@10.0.0.0/live" and "recent" not in found[0]
    assert before <= found[0]["now"] <= time.time()


def test_numbers_that_are_not_finite_are_null(shared):
    status = shared.desk.statuses["camera-2"]
    kept = status.score, status.threshold
    status.score, status.threshold = float("nan"), np.float32(0.5)
    try:
        found = get(shared, "/api/cameras").json[2]
    finally:
        status.score, status.threshold = kept
    assert found["score"] is None and found["threshold"] == 0.5


def test_alarms_are_the_newest_first_and_can_be_chosen(shared):
    old, new = shared.desk.old, shared.desk.new
    found = get(shared, "/api/alarms").json
    assert [one["id"] for one in found] == [new.id, old.id]
    assert found[0] == {**new.record(), "feedback": None}

    def ids(query):
        return [one["id"] for one in get(shared, f"/api/alarms?{query}").json]

    assert ids("camera=camera-1") == [old.id] and ids("camera=camera-2") == []
    assert (
        ids("limit=1") == [new.id] and ids(f"since={new.start}") == [new.id] and ids(f"until={new.start}") == [old.id]
    )
    assert get(shared, "/api/alarms?camera=nobody").status == 404


def test_feedback_is_kept_and_taken_back(shared):
    path = f"/api/alarms/{shared.desk.old.id}/feedback"
    for value in (False, True, None):
        assert post(shared, path, {"is_alarm": value}).json == {"is_alarm": value}
        assert shared.desk.store.alarm(shared.desk.old.id)["feedback"] is value
    assert post(shared, "/api/alarms/nobody/feedback", {"is_alarm": True}).status == 404


def test_scores_of_a_day_keep_their_peaks(shared):
    found = get(shared, "/api/cameras/camera-0/scores?seconds=86400").json
    times, scores = shared.desk.scores("camera-0", found["now"] - 86400, found["now"])
    assert len(times) > 2000 >= len(found["times"]) == len(found["scores"]) >= 1000
    assert max(found["scores"]) == scores.max() and sorted(found["times"]) == found["times"]
    few = get(shared, "/api/cameras/camera-0/scores?seconds=60").json
    assert 55 <= len(few["times"]) <= 60


def test_a_threshold_is_tried_before_it_is_set(tmp_path):
    desk = PageDesk(tmp_path)
    with served(desk) as server:
        path = "/api/cameras/camera-1/threshold"
        before = time.time()
        low, high = (get(server, f"{path}?value={value}").json for value in (0.4, 0.9))
        assert low["alarms"] == desk.would_alarm("camera-1", 0.4, 0) > high["alarms"] == 0
        assert low["hours"] == 24 and low["value"] == 0.4
        camera, value, since = desk.asked[0]
        assert (camera, value) == ("camera-1", 0.4) and since == pytest.approx(before - 86400, abs=30)
        assert desk.thresholds == [], "asking changes nothing"
        assert post(server, path, {"value": 0.45}).json == {"threshold": 0.45}
        assert post(server, path, {"value": None}).json == {"threshold": 0.6}
        assert desk.thresholds == [("camera-1", 0.45), ("camera-1", None)]


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "-inf", "1e10", "true", "[]", "1" * 400, "0x10", "%00"])
def test_bad_numbers_of_addresses(shared, value):
    for path in (
        f"/api/cameras/camera-0/threshold?value={value}",
        f"/api/cameras/camera-0/scores?seconds={value}",
        f"/api/cameras/camera-0/threshold?value=1&hours={value}",
        f"/api/alarms?limit={value}",
    ):
        answer = get(shared, path)
        assert answer.status == 400 and "expected a number from" in answer.json["error"], path
    assert get(shared, "/api/cameras/camera-0/threshold").status == 400


BODIES = [
    '{"value": "0.5"', "", "null", "[]", '"x"', "1", '{"value": true}', '{"value": "x"}', '{"value": [1]}',
    '{"value": {}}', '{"value": NaN}', '{"value": Infinity}', '{"value": 1e999}', '{"value": %s}' % ("9" * 400),
    '{"value": 1, "other": 2}', '{"Value": 1}', "[" * 2000, '{"is_alarm": 1}', '{"is_alarm": "no"}',
    '{"is_alarm": []}', "\x00", "value=1",
]  # fmt: skip


@pytest.mark.parametrize("body", [*BODIES, b"\xff\xfe\x00", b"\x80"], ids=range(len(BODIES) + 2))
@pytest.mark.parametrize("path", ["/api/cameras/camera-0/threshold", "/api/alarms/{old}/feedback"])
def test_bad_bodies(shared, path, body):
    desk, before = shared.desk, len(shared.desk.thresholds)
    for kind in ("application/json", "application/json; charset=nothing", "multipart/form-data; boundary=x", ""):
        answer = post(shared, path.format(old=desk.old.id), body, Content_Type=kind)
        assert answer.status == 400 and list(answer.json) == ["error"] and answer.body.count(b"\n") == 1
    assert len(desk.thresholds) == before and desk.store.alarm(desk.old.id)["feedback"] is None


def test_bodies_are_limited(shared):
    path = "/api/cameras/camera-0/threshold"
    assert post(shared, path, b'{"value": 1' + b" " * 10_000 + b"}").status == 413
    assert post(shared, "/login", b"token=" + b"x" * 10_000).status == 413
    packed = b"\x1f\x8b" + b"not gzip at all"
    assert post(shared, path, packed, Content_Encoding="gzip").status == 400


def test_unknown_things_are_one_line(shared):
    for path in (
        "/api/cameras/nobody/scores", "/api/cameras/nobody/threshold?value=1", "/picture/nobody.jpg",
        "/stream/nobody.mjpeg", "/nothing", "/api", "/api/cameras/", "/files/clips/none.mp4", "/page.js",
    ):  # fmt: skip
        answer = get(shared, path)
        assert answer.status == 404 and list(answer.json) == ["error"] and answer.body.count(b"\n") == 1, path
    answer = call(shared, "PUT", "/api/cameras")
    assert answer.status == 405 and "GET" in answer.headers["Allow"] and list(answer.json) == ["error"]


def test_failures_say_nothing_of_the_inside(tmp_path, caplog):
    desk = PageDesk(tmp_path)
    desk.broken.set()
    with served(desk) as server:
        answer = get(server, "/api/alarms")
    assert answer.status == 500 and answer.json == {"error": "failed; the log says why"}
    assert "a secret in a traceback" in caplog.text, "the log does"


def test_pictures(tmp_path):
    desk = PageDesk(tmp_path)
    desk.statuses["camera-1"].frames_analysed = 0
    with served(desk) as server:
        answer = get(server, "/picture/camera-0.jpg")
        assert answer.status == 200 and answer.headers["Content-Type"] == "image/jpeg"
        moment, jpeg = desk.picture("camera-0")
        assert answer.body == jpeg and float(answer.headers["X-Time"]) == pytest.approx(moment, abs=0.001)
        none = get(server, "/picture/camera-1.jpg")
        assert none.status == 404 and none.json == {"error": "no picture yet"}


def test_clips_by_range(shared):
    path = f"/files/{shared.desk.old.clip}"
    whole = (shared.desk.store.folder / shared.desk.old.clip).read_bytes()
    answer = get(shared, path)
    assert answer.body == whole and answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Accept-Ranges"] == "bytes" and "max-age" in answer.headers["Cache-Control"]
    for asked, part in (("0-9", whole[:10]), ("10-", whole[10:]), ("-7", whole[-7:]), ("5-5", whole[5:6])):
        answer = get(shared, path, Range=f"bytes={asked}")
        assert answer.status == 206 and answer.body == part
        assert re.fullmatch(rf"bytes \d+-\d+/{len(whole)}", answer.headers["Content-Range"])
    assert get(shared, path, Range=f"bytes={len(whole)}-").status == 416
    assert get(shared, path, Range="bytes=x-y").status == 416
    head = call(shared, "HEAD", path)
    assert head.body == b"" and int(head.headers["Content-Length"]) == len(whole)
    picture = get(shared, f"/files/{shared.desk.old.snapshot}")
    assert picture.headers["Content-Type"] == "image/jpeg" and picture.body[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    "path",
    [
        *("watch.db", "../watch.db", "clips/../watch.db", "clips/%2e%2e/watch.db", "..%2fwatch.db"),
        *("clips%2f..%2fwatch.db", "clips/..%5cwatch.db", "/etc/passwd", "%2fetc%2fpasswd", "", "clips", "clips/"),
        *("clips/.hidden.mp4", "clips/x%00.mp4", "snapshots/watch.db", "clips/%ff%fe.mp4", "clips/a/b.mp4"),
        *("clips/page.txt", "clips/" + "a" * 300 + ".mp4"),
    ],
)
def test_files_outside_are_not_given(shared, path):
    (shared.desk.store.folder / "clips" / ".hidden.mp4").write_bytes(b"x")
    (shared.desk.store.folder / "clips" / "page.txt").write_bytes(b"x")
    answer = get(shared, f"/files/{path}")
    assert answer.status == 404 and answer.headers["Cache-Control"] == "no-store" and list(answer.json) == ["error"]


def test_metrics_and_health(tmp_path):
    desk = PageDesk(tmp_path)
    with served(desk, TOKEN) as server:
        assert get(server, "/healthz").json == {"healthy": True, "text": "all is well"}
        desk.health = (False, "all cameras are dead: camera-0")
        answer = get(server, "/healthz")
        assert answer.status == 503 and answer.json["text"] == "all cameras are dead: camera-0"
        assert get(server, "/metrics").status == 401
        answer = get(server, "/metrics", Authorization=f"Bearer {TOKEN}")
        assert answer.body == desk.metrics() and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_many_at_once(shared):
    """32 cameras' pictures and states, by six connections, as a browser has them."""
    failures = []

    def ask(number):
        for _ in range(10):
            answer = get(shared, f"/picture/camera-{number % 3}.jpg")
            failures.extend([answer.status] if answer.status != 200 else [])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# Nonsense

WORDS = [
    *(
        "api",
        "cameras",
        "camera-0",
        "threshold",
        "scores",
        "alarms",
        "feedback",
        "events",
        "stream",
        "picture",
        "files",
    ),
    *("clips", "login", "healthz", "metrics", "camera-0.jpg", "nobody.mjpeg", "..", ".", "", "~", "*", ";", "@", "{}"),
    *("%00", "%2e%2e", "%2f", "%ff", "%F0%9F%8E%A5", "%0d%0aX:y", "<script>", "a" * 200),
]
QUERIES = [
    "",
    "?",
    "?value=1",
    "?value=",
    "?seconds=%00",
    "?limit=9e9",
    "?camera=%ff",
    "?since=-1",
    "?=&&=",
    "?hours=[]",
]
METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "GETS"]
HEADERS = [
    {}, {"Cookie": "vadistill=\xff\xfe"}, {"Cookie": "=;;;=" * 20}, {"Authorization": "Bearer \xff"},
    {"Authorization": "Bearer"}, {"Range": "bytes=-"}, {"Origin": "\xff"}, {"Content_Encoding": "gzip"},
    {"Content_Encoding": "deflate"}, {"Transfer_Encoding": "chunked"}, {"Content_Length": "-1"},
    {"Content_Length": "99999999999999999999"}, {"Content_Type": "multipart/form-data"}, {"Expect": "nothing"},
    {"Content_Type": "application/json; charset=\xff"}, {"X": "y" * 9000}, {"If_Range": "x"},
    {"If_Modified_Since": "never"}, {"Upgrade": "websocket", "Connection": "Upgrade"}, {"Accept": "text/html"},
]  # fmt: skip


def said(server, data):
    """Send bytes and return what comes, until it ends or nothing more comes for a moment."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as one:
        one.sendall(data)
        one.settimeout(0.4)
        found = b""
        try:
            while len(found) < 20_000 and (part := one.recv(65536)):
                found += part
        except (TimeoutError, ConnectionResetError):
            pass
        return found


@pytest.mark.slow
def test_nonsense_is_answered_calmly(shared, caplog):
    chance = random.Random(7)
    statuses = []
    for _ in range(400):
        path = "/" + "/".join(chance.choice(WORDS) for _ in range(chance.randint(0, 5))) + chance.choice(QUERIES)
        body = chance.choice([*BODIES, "", ""]).encode() + chance.randbytes(chance.choice([0, 0, 40]))
        headers = {
            "Host": "localhost",
            "Connection": "close",
            "Content_Length": str(len(body)),
            **chance.choice(HEADERS),
        }
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        data = f"{chance.choice(METHODS)} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1", "replace") + body
        answer = said(shared, data)
        assert b"Traceback" not in answer and b'File "' not in answer and b"site-packages" not in answer, data
        if answer:
            status = int(answer[9:12])
            statuses.append(status)
            assert status < 500, (status, data)
    assert {200, 400, 404, 405} <= set(statuses) and len(statuses) > 300
    assert not [one for one in caplog.records if one.name.startswith("vadistill")], "nothing failed inside"
    assert get(shared, "/api/cameras").status == 200


def test_bytes_that_are_no_request(shared):
    chance = random.Random(8)
    heads = [
        *("GET / HTTP/9.9", "GET /", "GET http:// HTTP/1.1", "GET / HTTP/1.1", "GET / HTTP/1.0", "GET\tx", "", "\r\n"),
        "GET //evil.example/ HTTP/1.1\r\nHost: localhost",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
    ]
    requests = [f"{head}\r\nConnection: close\r\n\r\n".encode() for head in heads]
    for data in [*requests, b"\x16\x03\x01\x02\x00\x01", *(chance.randbytes(200) for _ in range(20))]:
        answer = said(shared, data)
        assert b"Traceback" not in answer and b'File "' not in answer, data
        assert not answer or int(answer[9:12]) in (400, 404, 421, 200), data
    assert get(shared, "/api/cameras").status == 200


def test_a_dead_camera_is_told_as_such(tmp_path):
    desk = PageDesk(tmp_path)
    desk.statuses["camera-1"].state, desk.statuses["camera-1"].problem = CameraState.DEAD, "nothing came in time"
    with served(desk) as server:
        found = get(server, "/api/cameras").json[1]
    assert (found["state"], found["problem"]) == ("dead", "nothing came in time")


def test_the_parts_of_the_page_travel_with_the_package():
    folder = Path(web_routes.__file__).parent
    assert {"page.html", "page.css", "page_curves.js", "page.js", "login.html"} <= {
        path.name for path in folder.iterdir()
    }
