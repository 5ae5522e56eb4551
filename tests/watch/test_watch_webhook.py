"""Alarms by HTTP POST, against servers that answer, refuse, hang and dawdle."""

import hashlib
import hmac
import json
import logging
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler

import pytest
from live_sources import free_port, http_server, until
from pydantic import ValidationError
from test_watch_sinks import END, ID, PAGE, START, UPDATE

from vadistill.watch.config import Webhook
from vadistill.watch.sinks import base, http
from vadistill.watch.sinks.base import Refused, Retry, SinkThread
from vadistill.watch.sinks.webhook import WebhookSink


def recording(answers):
    """A handler that notes requests, and answers as it is told: a status code, or (code, headers)."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            got.append((self.path, dict(self.headers), body))
            found = answers.pop(0) if answers else 200
            code, headers = found if isinstance(found, tuple) else (found, {})
            self.send_response(code)
            for name, value in {**headers, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *words):
            pass

    return Handler, got


@contextmanager
def raw_server(talk):
    """Give the port of a server that takes one connection and talks as it is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            try:
                connection, _ = server.accept()
                with connection:
                    talk(connection)
            except OSError:
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
    thread.join(10)


def sink_of(url, **more):
    return WebhookSink(Webhook(kind="webhook", url=url, **more))


def test_the_request_is_that_of_the_document(monkeypatch):
    head, _, body = re.search(r"```http\n(.*?)\n```", PAGE, re.S)[1].partition("\n\n")
    first, *lines = head.splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    monkeypatch.setattr("vadistill.watch.sinks.webhook.time.time", lambda: float(headers["X-Vadistill-Timestamp"]))
    handler, got = recording([])
    with http_server(handler) as port:
        sink_of(f"http://127.0.0.1:{port}/alarms", secret="correct horse battery").send(END)
    ((path, sent, content),) = got
    assert first == f"POST {path} HTTP/1.1" and content.decode() == body
    usual = {"Host", "Accept-Encoding", "Content-Length"}
    assert {name: value for name, value in sent.items() if name not in usual} == headers


def test_the_document_s_check_takes_what_is_genuine_and_nothing_else():
    known = {}
    exec(re.search(r"```python\n(.*?)```", PAGE, re.S)[1], known)
    handler, got = recording([])
    with http_server(handler) as port:
        sink_of(f"http://127.0.0.1:{port}/", secret="a secret").send(UPDATE)
    ((_, headers, body),) = got
    given = ("a secret", headers["X-Vadistill-Timestamp"], body, headers["X-Vadistill-Signature"])
    assert known["is_genuine"](*given) and abs(int(given[1]) - time.time()) < 60
    for place, other in enumerate(("another", str(int(given[1]) + 1), body + b" ", "sha256=" + "0" * 64)):
        assert not known["is_genuine"](*given[:place], other, *given[place + 1 :])


def test_it_is_sent_again_under_the_same_key_and_no_secret_is_told(monkeypatch, caplog):
    monkeypatch.setattr(base, "FIRST_PAUSE", 0.01)
    caplog.set_level(logging.DEBUG)
    handler, got = recording([500, (429, {"Retry-After": "0"}), 529, 200, 404])
    with http_server(handler) as port:
        url = f"http://us%40er:hidden@127.0.0.1:{port}/services/B0/private?token=silent"
        thread = SinkThread(sink_of(url, secret="a secret"))
        thread.start()
        thread.put(START)
        thread.put(UPDATE)
        until(lambda: thread.waiting == 0)
        thread.stop()
    assert (thread.sent, thread.failed, thread.lost) == (1, 4, 1)
    assert [path for path, _, _ in got] == ["/services/B0/private?token=silent"] * 5
    assert [headers["Idempotency-Key"] for _, headers, _ in got] == [f"{ID}-start"] * 4 + [f"{ID}-update-{UPDATE.peak}"]
    for _, headers, body in got:
        made = hmac.new(b"a secret", f"{headers['X-Vadistill-Timestamp']}.".encode() + body, hashlib.sha256)
        assert headers["X-Vadistill-Signature"] == f"sha256={made.hexdigest()}"
        assert headers["Authorization"] == "Basic dXNAZXI6aGlkZGVu"  # of us@er:hidden
    assert json.loads(got[0][2]) == START.record()
    shown = caplog.text + thread.sink.name + repr(thread)
    assert "answers 500" in shown and "answers 404" in shown
    assert not [word for word in ("hidden", "private", "silent", "a secret", "dXNA", "us%40er") if word in shown]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(400, Refused), (302, Refused), (404, Refused), (410, Refused), (503, Retry), (408, Retry), (599, Retry)],
)
def test_answers_that_are_final_and_others(answer, kind):
    handler, got = recording([(answer, {"Location": "/elsewhere"})])
    with http_server(handler) as port, pytest.raises(kind, match=f"answers {answer}"):
        sink_of(f"http://127.0.0.1:{port}").send(UPDATE)
    ((path, headers, _),) = got  # no redirect was followed
    assert path == "/" and "X-Vadistill-Signature" not in headers and "Authorization" not in headers


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        (lambda: "7", 7, 7),
        (lambda: formatdate(time.time() + 3600, usegmt=True), 3500, 3600),  # not from collection on
        (lambda: formatdate(0, usegmt=True), 0, 0),
    ],
    ids=["seconds", "in an hour", "long ago"],
)
def test_a_pause_that_is_asked_for(asked, least, most):
    handler, _ = recording([(429, {"Retry-After": asked()})])
    with http_server(handler) as port, pytest.raises(Retry) as found:
        sink_of(f"http://127.0.0.1:{port}").send(START)
    assert least <= found.value.after <= most


@pytest.mark.parametrize("text", ["soon", "", "-5", "²", "Mon, 99 Foo"])
def test_a_pause_that_is_none(text):
    assert http._asked(text) is None


def test_the_pause_is_kept(monkeypatch):
    monkeypatch.setattr(base, "FIRST_PAUSE", 0.01)
    handler, got = recording([(503, {"Retry-After": "1"})])
    with http_server(handler) as port:
        thread = SinkThread(sink_of(f"http://127.0.0.1:{port}"))
        begun = time.monotonic()
        thread.start()
        thread.put(START)
        until(lambda: thread.sent == 1)
        thread.stop()
    assert time.monotonic() - begun >= 1 and len(got) == 2


def test_nobody_answers():
    port = free_port()
    with pytest.raises(Retry, match=rf"^http://127\.0\.0\.1:{port}/\*\*\*: no answer \(Connection refused\)$"):
        sink_of(f"http://user:hidden@127.0.0.1:{port}/x").send(START)


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No Content\r\nX-Long: ", b"HTTP/1.1 200 OK\r\n\r\n"],
    ids=["nothing", "half a head", "a head without end", "a body without end"],
)
def test_a_server_that_hangs_or_dawdles_is_left_in_time(monkeypatch, said):
    monkeypatch.setattr(http, "SECONDS", 0.5)

    left = threading.Event()

    def dawdle(connection):
        connection.sendall(said)
        for _ in range(200):
            if left.wait(0.1):
                return
            connection.sendall(b"x" if said else b"")  # each byte begins the time-out of the socket anew

    begun = time.monotonic()
    with raw_server(dawdle) as port:
        with pytest.raises(Retry, match=r"no answer \(within 0\.5 seconds\)"):
            sink_of(f"http://127.0.0.1:{port}").send(START)
        left.set()
    assert time.monotonic() - begun < 15, "the server alone would take 20"


def test_a_connection_that_is_closed_may_be_tried_again():
    with raw_server(lambda connection: connection.recv(10)) as port, pytest.raises(Retry, match="no answer"):
        sink_of(f"http://127.0.0.1:{port}").send(START)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt-get install openssl")
def test_a_certificate_that_nobody_knows_is_refused(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    tls = raw_server(lambda connection: context.wrap_socket(connection, server_side=True))
    with tls as port, pytest.raises(Retry, match="no answer") as found:
        sink_of(f"https://127.0.0.1:{port}/x").send(START)
    assert "certificate" in str(found.value).lower()


@pytest.mark.parametrize("url", ["http://me:pa/ss@host/x", "ftp://host", "http://", "http://host:0/", "http://[::1/"])
def test_addresses_that_are_none_are_refused_without_being_shown(url):
    with pytest.raises(ValidationError, match=r"begins with http:// or https://.*%2F") as found:
        Webhook(kind="webhook", url=url)
    assert "host/x" not in str(found.value) and "ss@" not in str(found.value)
