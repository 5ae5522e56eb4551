"""A desk in memory with pictures of its own, for tests of the page: what a watch would say, and what it was told."""

import http.client
import json
import queue
import socket
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from pydantic import SecretStr

from vadistill.errors import InputError
from vadistill.watch.alarm import Alarm, CameraState, CameraStatus, Phase
from vadistill.watch.camera import Shown, picture_of
from vadistill.watch.clips import Still, write_clip
from vadistill.watch.config import WebConfig
from vadistill.watch.store import Store
from vadistill.watch.web import WebServer

TOKEN = "a token of tests, long"


def picture(number, moment, high=0.0):
    """A street with somebody on it, and heat where they are: time and JPEG."""
    image = np.full((180, 320, 3), (92 + number * 7 % 60, 84, 70), np.uint8)
    cv2.rectangle(image, (0, 120), (320, 180), (64, 66, 68), -1)
    for x in range(-int(moment * 20) % 40, 320, 40):
        cv2.line(image, (x, 150), (x + 18, 150), (180, 180, 180), 2)
    x = int((moment * 37 + number * 60) % 320)
    cv2.circle(image, (x, 96), 9, (200, 190, 170), -1)
    cv2.rectangle(image, (x - 10, 106), (x + 10, 150), (60, 90, 140), -1)
    rows, columns = np.mgrid[:12, :20]
    heat = high * np.exp(-(((columns - x / 16) / 2) ** 2) - ((rows - 8) / 2.5) ** 2)
    return picture_of(Shown(moment, image, heat.astype(np.float32)))


class PageDesk:
    """Cameras a-0, a-1, ... with scores of a day; alarms and feedback in a real store, so that files are real."""

    def __init__(self, folder: Path, cameras=3, names=None):
        self.store = Store(folder)
        self.statuses = {
            name: CameraStatus(name, f"rtsp://***@10.0.0.{number}/live", CameraState.LIVE, threshold=0.6)
            for number, name in enumerate(names or [f"camera-{number}" for number in range(cameras)])
        }
        self.listeners, self.thresholds, self.asked = [], [], []
        self.health, self.most_waiting = (True, "all is well"), 200
        self.broken = threading.Event()
        for status in self.statuses.values():
            self.tick(status)

    def tick(self, status, score=None):
        """One more frame of a camera."""
        status.last_frame = time.time()
        status.frames_in += 5
        status.frames_analysed += 1
        number = list(self.statuses).index(status.name)
        status.score = 0.2 + 0.1 * np.sin(status.frames_analysed / 3 + number) if score is None else score
        status.latency = 0.12

    def cameras(self):
        return list(self.statuses.values())

    def picture(self, camera):
        status = self.statuses[camera]
        if not status.frames_analysed:
            return None
        number = list(self.statuses).index(camera)
        return status.last_frame, picture(number, status.frames_analysed / 5, min(1, status.score * 1.3))

    def alarms(self, camera, since, until, limit):
        if self.broken.is_set():
            raise RuntimeError("a secret in a traceback")
        return self.store.alarms(camera, since, until, limit)

    def file(self, relative):
        return self.store.path_of(relative)

    def set_feedback(self, alarm, is_alarm):
        self.store.set_feedback(alarm, is_alarm)

    def scores(self, camera, since, until):
        times = np.arange(int(until) - min(7200, int(until - since)), int(until) - 1, 1.0)
        number = list(self.statuses).index(camera)
        scores = 0.22 + 0.08 * np.sin(times / 17 + number) + 0.05 * np.sin(times / 3)
        return times, scores + 0.5 * np.exp(-((((times + 137 * number) % 900 - 450) / 12) ** 2))

    def would_alarm(self, camera, threshold, since):
        self.asked.append((camera, threshold, since))
        scores = self.scores(camera, since, time.time())[1] >= threshold
        return sum(b and not a for a, b in pairwise([False, *scores]))

    def set_threshold(self, camera, value):
        self.thresholds.append((camera, value))
        self.statuses[camera].threshold = 0.6 if value is None else value

    def metrics(self):
        return b"# HELP vadistill_frames_in Frames that came.\nvadistill_frames_in 1\n"

    def healthy(self):
        return self.health

    def subscribe(self):
        self.listeners.append(queue.Queue(self.most_waiting))
        return self.listeners[-1]

    def unsubscribe(self, listener):
        if listener in self.listeners:
            self.listeners.remove(listener)

    def publish(self, kind, content):
        for listener in list(self.listeners):
            try:
                listener.put_nowait((kind, content))
            except queue.Full:
                self.unsubscribe(listener)

    def publish_states(self):
        for status in self.cameras():
            content = {name: value for name, value in vars(status).items() if name != "recent"}
            self.publish("camera", {**content, "state": str(status.state)})

    def alarm(self, camera, ago=30.0, phase=Phase.END, score=0.83, zone="", lasts=8.0, number=0, with_files=True):
        """Keep an alarm, with its files, and tell of it."""
        name, start = f"{camera}-{zone}{number}".replace("_", "-"), time.time() - ago
        is_over = phase == Phase.END
        alarm = Alarm(
            id=name, camera=camera, zone=zone, phase=phase, start=start, end=start + lasts if is_over else None,
            peak=start + 2, score=score, threshold=0.6, box=(0.4, 0.4, 0.1, 0.2),
            snapshot=f"snapshots/{name}.jpg", clip=f"clips/{name}.mp4" if is_over else "",
        )  # fmt: skip
        if with_files:
            self._write(alarm)
        self.store.save(alarm)
        self.statuses[camera].alarms += phase == Phase.START
        self.publish("alarm", alarm.record())
        return alarm

    def _write(self, alarm):
        number = list(self.statuses).index(alarm.camera)
        moments = [3 + number + step / 5 for step in range(20)]
        pictures = [picture(number, moment, alarm.score) for moment in moments]
        (self.store.folder / alarm.snapshot).write_bytes(pictures[8])
        if alarm.clip:
            stills = [Still(alarm.start + step / 5, jpeg, 0.4 + step / 50) for step, jpeg in enumerate(pictures)]
            write_clip(self.store.folder / alarm.clip, stills, alarm)


@contextmanager
def served(desk, token=None, port=0):
    """Serve a desk; yield the server."""
    server = WebServer(WebConfig(port=port, token=token and SecretStr(token)), desk)
    server.listen()
    try:
        yield server
    finally:
        server.stop()
        assert not server.is_alive(), "it ends in two seconds"


@contextmanager
def living(desk, every=0.25, dead=()):
    """Let cameras go on, and tell of their states."""
    over = threading.Event()

    def go_on():
        while not over.wait(every):
            for status in desk.cameras():
                if status.state == CameraState.LIVE and status.name not in dead:
                    desk.tick(status)
            desk.publish_states()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Answer:
    """Status, headers and content of an answer."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)


def call(server, method, path, body=None, **headers):
    """Make a request to a server on the loopback; underlines in names of headers stand for dashes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        if isinstance(body, dict):
            body = json.dumps(body)
        if body is not None:
            body = body.encode() if isinstance(body, str) else body
            headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def get(server, path, **headers):
    return call(server, "GET", path, **headers)


def post(server, path, body, **headers):
    return call(server, "POST", path, body, **headers)


def refuses(function, *args):
    try:
        function(*args)
    except InputError as error:
        return str(error)
    raise AssertionError("not refused")


@contextmanager
def served_with_alarms(folder):
    """Serve a desk with an old and a new alarm: ``server.desk.old``, ``server.desk.new``."""
    desk = PageDesk(folder)
    desk.old = desk.alarm("camera-1", ago=500, number=0)
    desk.new = desk.alarm("camera-0", ago=50, number=1, zone="porch")
    with served(desk) as server:
        server.desk = desk
        yield server


@contextmanager
def opened(server, path, **headers):
    """Send a request and yield the socket's file behind the answer's head, and the head."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        file = one.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline()
            assert line, head
            head += line
        yield file, head.decode()


def chunks(file):
    """Yield what comes in chunks, as long as it comes."""
    while size := int(file.readline() or b"0", 16):
        yield file.read(size)
        file.readline()


def events(file):
    """Yield (kind, content) of server-sent events."""
    waiting = ""
    for chunk in chunks(file):
        waiting += chunk.decode()
        while "\n\n" in waiting:
            event, _, waiting = waiting.partition("\n\n")
            found = dict(line.split(": ", 1) for line in event.splitlines())
            yield found.get("event", ""), json.loads(found["data"]) if "data" in found else found
