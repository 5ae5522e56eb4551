"""Servers of live video on this machine, for tests: RTSP by GStreamer, Motion JPEG and HLS over HTTP."""

import base64
import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pytest

DEADLINE = 40.0
PYTHON = "/usr/bin/python3"  # Debian's, which knows the packages of GStreamer
RTSP = Path(__file__).with_name("rtsp_server.py")


def until(condition, seconds=DEADLINE):
    """Wait for a condition; return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)
    return value


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def listens(port):
    with socket.socket() as one:
        one.settimeout(0.5)
        return one.connect_ex(("127.0.0.1", port)) == 0


def has_rtsp():
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", check], capture_output=True).returncode == 0


needs_rtsp = pytest.mark.skipif(
    not has_rtsp(),
    reason="no RTSP server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-*",
)


@contextmanager
def rtsp_server(film, mounts=1, port=None, certificate=None):
    """Serve a film of H.264, looped, at rtsp://127.0.0.1:<port>/<0, 1, ...>, or rtsps; yield (port, process)."""
    port = port or free_port()
    more = [str(certificate)] if certificate else []
    process = subprocess.Popen([PYTHON, RTSP, str(port), str(film), str(mounts), *more])
    try:
        until(lambda: listens(port))
        yield port, process
    finally:
        process.kill()
        process.wait(10)


needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl command")


def certificate_in(folder):
    """Write certificate.pem, a certificate of localhost that nobody has signed, and its key; needs openssl."""
    path = Path(folder) / "certificate.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(["openssl", *words.split(), "-keyout", path, "-out", folder / "own.pem"], check=True)
    path.write_bytes(path.read_bytes() + (folder / "own.pem").read_bytes())
    return path


@contextmanager
def http_server(handler, certificate=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def motion_jpeg(frames, rate=25, silent_from=None):
    """A handler that sends frames as Motion JPEG for ever; from some frame on it says nothing more."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            number = 0
            try:
                while True:
                    if silent_from is not None and number >= silent_from:
                        time.sleep(0.05)
                        continue
                    data = cv2.imencode(".jpg", frames[number % len(frames)])[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")
                    number += 1
                    time.sleep(1 / rate)
            except OSError:
                pass

        def log_message(self, *words):
            pass

    return Handler


def with_password(handler, way, user, password):
    """The same handler behind a password, asked for the Basic or the Digest way (RFC 7617, RFC 7616 with MD5)."""
    challenge = {"Basic": "", "Digest": ', nonce="a1b2", qop="auth", algorithm=MD5'}[way]

    def md5(*parts):
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    def is_right(given):
        if way == "Basic":
            return given == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        told = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
        if not given.startswith("Digest") or told.get("nonce") != "a1b2":
            return False
        known = (
            md5(user, "live", password),
            told["nonce"],
            told["nc"],
            told["cnonce"],
            "auth",
            md5("GET", told["uri"]),
        )
        return told["response"] == md5(*known)

    class Handler(handler):
        def do_GET(self):
            if is_right(self.headers.get("Authorization", "")):
                return super().do_GET()
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'{way} realm="live"{challenge}')
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def files_of(folder):
    """A handler that serves a folder."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *words, **more):
            super().__init__(*words, directory=str(folder), **more)

        def log_message(self, *words):
            pass

    return Handler


def has_mosquitto():
    return shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()
