"""A desk for the page, with cameras whose pictures move."""

import queue
import time

import cv2
import numpy as np

from vadistill.errors import InputError
from vadistill.watch.alarm import CameraState, CameraStatus
from vadistill.watch.store import Store


class MovingDesk:
    """As ``watch.app.Watch``, with pictures that are drawn when they are asked for."""

    def __init__(self, folder, names=("yard", "gate"), dead=("shed",)):
        self.store = Store(folder)
        self.statuses = [CameraStatus(name, f"rtsp://***@10.0.0.1/{name}", state=CameraState.LIVE) for name in names]
        self.statuses += [
            CameraStatus(name, "rtsp://***@10.0.0.2/x", state=CameraState.DEAD, problem="no frame for 9 seconds")
            for name in dead
        ]
        for status in self.statuses:
            status.threshold = 0.5
        self.listeners, self.begun, self.good = [], time.time(), True

    def tick(self):
        """Let a moment pass: every live camera has a new frame and score."""
        now = time.time()
        for number, status in enumerate(self.statuses):
            if status.state == CameraState.LIVE:
                status.frames_analysed += 1
                status.last_frame = now
                status.score = 0.3 + 0.2 * np.sin(3 * (now - self.begun) + number)
            content = {name: value for name, value in vars(status).items() if name != "recent"}
            self.publish("camera", {**content, "state": str(status.state)})

    def publish(self, kind, content):
        for listener in list(self.listeners):
            listener.put((kind, content))

    def say(self, alarm):
        self.store.save(alarm)
        self.publish("alarm", alarm.record())

    def cameras(self):
        return self.statuses

    def picture(self, camera):
        status = next(one for one in self.statuses if one.name == camera)
        if status.state != CameraState.LIVE:
            return None
        now = time.time()
        made = np.full((180, 320, 3), 70, np.uint8)
        cv2.circle(made, (int(60 * now) % 320, 90), 20, (40, 120, 230), -1)
        return now, cv2.imencode(".jpg", made)[1].tobytes()

    def alarms(self, camera, since, until, limit):
        return self.store.alarms(camera, since, until, limit)

    def file(self, relative):
        return self.store.path_of(relative)

    def set_feedback(self, alarm, is_alarm):
        self.store.set_feedback(alarm, is_alarm)

    def scores(self, camera, since, until):
        times = np.arange(until - 60, until, 0.2)
        return times, 0.3 + 0.1 * np.sin(times)

    def would_alarm(self, camera, threshold, since):
        return int(100 * (1 - threshold)) if threshold < 1 else 0

    def set_threshold(self, camera, value):
        if value == 77:
            raise InputError("never shown")
        next(one for one in self.statuses if one.name == camera).threshold = 0.5 if value is None else value

    def metrics(self):
        return b"vadistill_frames_in_total 1\n"

    def healthy(self):
        return self.good, "all is well" if self.good else "analysis has ended"

    def subscribe(self):
        self.listeners.append(listener := queue.Queue())
        return listener

    def unsubscribe(self, listener):
        self.listeners.remove(listener)
