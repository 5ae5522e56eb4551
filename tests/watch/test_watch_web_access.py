"""Who may use the page: tokens, cookies, names of this machine, and requests of other pages."""

import re

import pytest
from page_desk import TOKEN, PageDesk, call, get, post, served, served_with_alarms

from vadistill.watch.config import WebConfig
from vadistill.watch.web_access import COOKIE, MOST_ADDRESSES, MOST_TRIES, Access


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server without a token, for tests that change nothing that others look at."""
    with served_with_alarms(tmp_path_factory.mktemp("watch")) as server:
        yield server


ROUTES = [
    ("GET", "/api/cameras"), ("GET", "/api/alarms"), ("POST", "/api/alarms/x/feedback"), ("GET", "/metrics"),
    ("GET", "/api/cameras/camera-0/threshold?value=1"), ("POST", "/api/cameras/camera-0/threshold"),
    ("GET", "/api/cameras/camera-0/scores"), ("GET", "/api/events"), ("GET", "/stream/camera-0.mjpeg"),
    ("GET", "/picture/camera-0.jpg"), ("GET", "/files/clips/x.mp4"), ("GET", "/nothing"), ("GET", "/healthz/"),
    ("HEAD", "/"),
]  # fmt: skip


@pytest.fixture
def locked(tmp_path):
    with served(PageDesk(tmp_path), TOKEN) as server:
        yield server


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_token_is_needed_everywhere(locked, method, path):
    answer = call(locked, method, path, "{}" if method == "POST" else None)
    assert answer.status == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
    assert call(locked, method, path, Authorization="Basic eDp4", Cookie=f"{COOKIE}={TOKEN}").status == 401


def test_the_token_opens_it(locked):
    for given in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
        assert get(locked, "/api/cameras", Authorization=given).status == 200
    assert get(locked, "/api/cameras", Authorization=f"Bearer {TOKEN}x").status == 401


def test_the_form_gives_a_cookie_that_is_not_the_token(locked):
    asked = get(locked, "/")
    assert asked.status == 303 and asked.headers["Location"] == "/login" and asked.headers["X-Frame-Options"] == "DENY"
    form = get(locked, "/login")
    assert form.status == 200 and b'name="token"' in form.body
    assert "script" not in form.headers["Content-Security-Policy"]
    wrong = post(locked, "/login", "token=wrong")
    assert wrong.status == 401 and b"That is not the token." in wrong.body and "Set-Cookie" not in wrong.headers
    given = post(locked, "/login", "token=" + TOKEN.replace(" ", "+").replace(",", "%2C"))
    assert given.status == 303 and given.headers["Location"] == "/"
    name, _, rest = given.headers["Set-Cookie"].partition("=")
    value, *marks = rest.split("; ")
    assert name == COOKIE and {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(marks)
    assert re.fullmatch("[0-9a-f]{64}", value) and TOKEN not in value
    for path in ("/", "/api/cameras"):
        assert get(locked, path, Cookie=f"{COOKIE}={value}").status == 200
    assert get(locked, "/api/cameras", Cookie=f"{COOKIE}={value[:-1]}").status == 401


def test_cookies_of_another_run_do_not_count(tmp_path):
    desk, seen = PageDesk(tmp_path), set()
    for _ in range(2):
        with served(desk, TOKEN) as server:
            value = post(server, "/login", f"token={TOKEN}").headers["Set-Cookie"].split(";")[0]
            assert all(get(server, "/api/cameras", Cookie=old).status == 401 for old in seen)
            seen.add(value)
    assert len(seen) == 2


def test_tries_are_limited_and_those_who_are_in_stay_in(locked):
    cookie = post(locked, "/login", f"token={TOKEN}").headers["Set-Cookie"].split(";")[0]
    statuses = [post(locked, "/login", f"token={number}").status for number in range(MOST_TRIES)]
    assert statuses == [401] * MOST_TRIES
    late = get(locked, "/api/cameras", Authorization=f"Bearer {TOKEN}")
    assert late.status == 429 and late.headers["Retry-After"] == "60"
    form = post(locked, "/login", f"token={TOKEN}")
    assert form.status == 429 and b"try again in a minute" in form.body
    assert get(locked, "/api/cameras", Cookie=cookie).status == 200
    assert get(locked, "/api/cameras").status == 401, "no token is no try"
    assert get(locked, "/healthz").status == 200


def test_tries_are_of_an_address_and_forgotten(monkeypatch):
    moment = [1000.0]
    monkeypatch.setattr("vadistill.watch.web_access.time.monotonic", lambda: moment[0])
    access = Access(WebConfig(token=TOKEN))

    def tries(address, token="wrong"):
        try:
            return access._is_token(type("Request", (), {"remote": address}), token)
        except Exception as error:
            return error.status

    assert [tries("a") for _ in range(MOST_TRIES + 1)] == [False] * MOST_TRIES + [429]
    assert tries("b", TOKEN) is True
    moment[0] += 61
    assert tries("a", TOKEN) is True
    for number in range(3 * MOST_ADDRESSES):
        tries(str(number))
    assert len(access._failures) == MOST_ADDRESSES


STRANGERS = [
    *("evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "0.0.0.0"),
    *("[::1", "[::2]", "", "user@evil.example", "127.0.0.1@evil.example", "\x7f"),
]


@pytest.mark.parametrize("host", STRANGERS)
def test_strange_names_of_this_machine_are_refused(shared, host):
    for path in ("/", "/api/cameras", "/healthz", "/files/x", "/login"):
        assert get(shared, path, Host=host).status in (400, 421), path


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8765", "localhost."]
)
def test_names_of_this_machine_are_taken(shared, host):
    assert get(shared, "/api/cameras", Host=host).status == 200


def test_behind_a_proxy_a_token_stands_for_the_name(locked):
    own = {"Host": "watch.example", "Authorization": f"Bearer {TOKEN}"}
    assert get(locked, "/api/cameras", **own).status == 200
    path, body = "/api/cameras/camera-0/threshold", {"value": 0.5}
    assert post(locked, path, body, Origin="https://watch.example", **own).status == 200
    assert post(locked, path, body, Origin="https://evil.example", **own).status == 403


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://["}, {"Origin": ""},
     {"Origin": "http://127.0.0.1:1"}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
     {"Sec_Fetch_Site": "cross-site", "Origin": "http://127.0.0.1"}, {"Sec_Fetch_Site": "x"}],
)  # fmt: skip
def test_other_pages_change_nothing(shared, headers):
    before = list(shared.desk.thresholds)
    for path, body in (
        ("/api/cameras/camera-0/threshold", {"value": 0.1}),
        (f"/api/alarms/{shared.desk.old.id}/feedback", {"is_alarm": False}),
        ("/login", "token=x"),
    ):
        assert post(shared, path, body, **headers).status == 403
    assert shared.desk.thresholds == before and shared.desk.store.alarm(shared.desk.old.id)["feedback"] is None


def test_this_page_and_programs_do(shared):
    own = f"127.0.0.1:{shared.port}"
    for headers in ({}, {"Sec_Fetch_Site": "same-origin"}, {"Host": own, "Origin": f"http://{own}"}):
        assert post(shared, "/api/cameras/camera-0/threshold", {"value": None}, **headers).status == 200
