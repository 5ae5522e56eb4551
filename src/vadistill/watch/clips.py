"""Snapshots and clips of alarms: what was seen before, during and behind it, with the score below the picture."""

import logging
import queue
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np

from vadistill.errors import in_one_line
from vadistill.io.files import whole_file
from vadistill.watch.alarm import Alarm, Phase
from vadistill.watch.camera import Shown, picture_of
from vadistill.watch.config import CameraConfig
from vadistill.watch.store import CLIPS, SNAPSHOTS, Store

log = logging.getLogger(__name__)
QUALITY = 85  # of JPEGs that wait, and of snapshots
BEFORE_BYTES = 16 << 20  # of JPEGs before an alarm, of one camera
CLIP_BYTES = 64 << 20  # of JPEGs of one clip; it ends early where they would be more
HELD_BYTES = 512 << 20  # of JPEGs of all clips that grow or wait to be written; beyond it they end early
STRIP = 48  # pixels of the score's curve below the picture
BACK, CURVE, LINE, CURSOR = (24, 24, 24), (235, 206, 135), (60, 76, 231), (255, 255, 255)  # BGR
TICKS = 1000  # a second, of the times in a clip


class Still(NamedTuple):
    """A frame that waits for an alarm.

    Attributes:
        time: Unix time in seconds.
        jpeg: Its picture.
        score: Its smoothed score.
    """

    time: float
    jpeg: bytes
    score: float


class ClipWriter:
    """One thread that writes the clips of all cameras, so that analysis does not wait for it.

    It also counts the memory of what will be in clips, since all cameras may have an alarm at once.

    Args:
        store: In whose folder they lie.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held, self._lock = 0, threading.Lock()
        self._waiting: queue.Queue[tuple[Alarm, list[Still]] | None] = queue.Queue()  # bounded by its bytes
        self._thread = threading.Thread(target=self._run, name="clips", daemon=True)
        self._thread.start()

    def hold(self, size: int) -> bool:
        """Return whether there is memory for so many more bytes of a clip; they are counted until it is written."""
        with self._lock:
            if self._held + size > HELD_BYTES:
                return False
            self._held += size
            return True

    def with_paths(self, alarm: Alarm) -> Alarm:
        """Return an alarm with the names of its files."""
        clip = f"{CLIPS}/{alarm.id}.mp4" if alarm.phase == Phase.END else ""
        return replace(alarm, snapshot=f"{SNAPSHOTS}/{alarm.id}.jpg", clip=clip)

    def snapshot(self, alarm: Alarm, image: np.ndarray, heat: np.ndarray) -> None:
        """Write what an alarm looks like: image (h, w, 3) uint8 BGR under its heat (g, g), with the box of its peak."""
        height, width = image.shape[:2]
        x, y, across, down = alarm.box
        marked = image.copy()
        first, last = ((round(a * width), round(b * height)) for a, b in ((x, y), (x + across, y + down)))
        cv2.rectangle(marked, first, last, LINE, 2)
        try:
            with whole_file(self._store.folder / SNAPSHOTS / f"{alarm.id}.jpg") as path:
                path.write_bytes(picture_of(Shown(alarm.peak, marked, heat), QUALITY))
        except Exception as error:  # a full disk, a picture that is none: the alarm is told nevertheless
            log.error("alarm %s: its snapshot cannot be written (%s)", alarm.id, in_one_line(error))

    def put(self, alarm: Alarm, stills: list[Still]) -> None:
        """Write a clip, whose bytes are held, as soon as there is time for it."""
        self._waiting.put((alarm, stills))

    def stop(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join(30)
        if self._thread.is_alive():
            log.error("%d clips are not written, since that takes too long", self._waiting.qsize())

    def _run(self) -> None:
        while item := self._waiting.get():
            alarm, stills = item
            path = self._store.folder / CLIPS / f"{alarm.id}.mp4"
            try:
                write_clip(path, stills, alarm)
            except Exception as error:  # a full disk, an encoder's failure: the next clip may be written
                log.error("alarm %s: its clip cannot be written (%s)", alarm.id, in_one_line(error))
            with self._lock:
                self._held -= sum(len(still.jpeg) for still in stills)


class _Growing:
    """A clip that is not over: its alarm as it is now, its frames, and their bytes."""

    def __init__(self, alarm: Alarm) -> None:
        self.alarm, self.stills, self.size = alarm, list[Still](), 0

    def add(self, still: Still) -> None:
        self.stills.append(still)
        self.size += len(still.jpeg)


class ClipRecorder:
    """Keeps the last seconds of one camera, and collects what its alarms show.

    A clip that is as long as it may be is written at once, whether its alarm goes on or not. Before an alarm it shows
    at most half of that length.

    Args:
        config: Of the camera: how many seconds.
        writer: Of clips.
    """

    def __init__(self, config: CameraConfig, writer: ClipWriter) -> None:
        self._post_roll, self._longest, self._writer = config.post_roll, config.longest_clip, writer
        self._pre_roll = min(config.pre_roll, config.longest_clip / 2)
        self._before, self._before_size = deque[Still](), 0
        self._growing: dict[str, _Growing] = {}
        self._lock = threading.Lock()

    def add(self, time: float, image: np.ndarray, score: float) -> None:
        """Take the next frame (h, w, 3) uint8 BGR with its smoothed score."""
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        still = Still(time, jpeg, score)
        with self._lock:
            self._before.append(still)
            self._before_size += len(jpeg)
            while self._before[0].time < time - self._pre_roll or (
                self._before_size > BEFORE_BYTES and len(self._before) > 1
            ):
                self._before_size -= len(self._before.popleft().jpeg)
            for name, clip in list(self._growing.items()):
                if not self._goes_on(clip, still):
                    self._finish(name)

    def start(self, alarm: Alarm) -> None:
        """Begin the clip of an alarm."""
        with self._lock:
            clip = self._growing[alarm.id] = _Growing(alarm)
            if not all(self._grow(clip, still) for still in self._before):
                self._finish(alarm.id)

    def snapshot(self, alarm: Alarm, image: np.ndarray, heat: np.ndarray) -> None:
        """Write what an alarm looked like at its peak so far, (h, w, 3) uint8 BGR and its heat (g, g)."""
        self._writer.snapshot(alarm, image, heat)

    def end(self, alarm: Alarm) -> None:
        """Let the clip of an alarm end when its seconds behind it are over."""
        with self._lock:
            if alarm.id in self._growing:
                self._growing[alarm.id].alarm = alarm

    def close(self) -> None:
        """Write the clips that are not over as far as they are."""
        with self._lock:
            for name in list(self._growing):
                self._finish(name)

    def _goes_on(self, clip: _Growing, still: Still) -> bool:
        """Add a frame to a clip that is not too long; return whether it waits for more."""
        first = clip.stills[0].time if clip.stills else still.time
        if still.time - first > self._longest or not self._grow(clip, still):
            return False
        return clip.alarm.end is None or still.time < clip.alarm.end + self._post_roll

    def _grow(self, clip: _Growing, still: Still) -> bool:
        """Add a frame to a clip, or say that there is no memory for it."""
        if clip.size + len(still.jpeg) <= CLIP_BYTES and self._writer.hold(len(still.jpeg)):
            clip.add(still)
            return True
        log.warning("alarm %s: its clip ends early, to save memory", clip.alarm.id)
        return False

    def _finish(self, name: str) -> None:
        clip = self._growing.pop(name)
        if clip.stills:
            self._writer.put(clip.alarm, clip.stills)


def write_clip(path: Path, stills: Sequence[Still], alarm: Alarm) -> None:
    """Write frames at their true times as H.264 in mp4, whole or not at all, with the curve of their scores below.

    Args:
        path: The mp4 file.
        stills: At least one.
        alarm: Whose threshold is drawn.
    """
    first = cv2.imdecode(np.frombuffer(stills[0].jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert first is not None
    height, width = (side - side % 2 for side in first.shape[:2])
    strip = _curve(stills, alarm.threshold, width)
    with whole_file(path) as part, av.open(str(part), "w", "mp4", options={"movflags": "+faststart"}) as film:
        stream = film.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = height + STRIP, width, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        stream.options = {"preset": "veryfast", "crf": "26"}
        stream.codec_context.thread_count = 1
        last = -1
        for still in stills:
            image = cv2.imdecode(np.frombuffer(still.jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            if image.shape != first.shape:  # the camera has changed its size
                image = cv2.resize(image, first.shape[1::-1], interpolation=cv2.INTER_AREA)
            below = strip.copy()
            x = _across(still.time, stills, width)
            cv2.line(below, (x, 0), (x, STRIP), CURSOR, 1)
            frame = av.VideoFrame.from_ndarray(np.vstack([image[:height, :width], below]), format="bgr24")
            last = max(last + 1, round((still.time - stills[0].time) * TICKS))
            frame.pts, frame.time_base = last, Fraction(1, TICKS)
            film.mux(stream.encode(frame))
        film.mux(stream.encode())


def _across(time: float, stills: Sequence[Still], width: int) -> int:
    spread = max(1e-6, stills[-1].time - stills[0].time)
    return round((time - stills[0].time) / spread * (width - 1))


def _curve(stills: Sequence[Still], threshold: float, width: int) -> np.ndarray:
    """Return the curve of the scores and a line at the threshold, (STRIP, width, 3) uint8 BGR."""
    made = np.full((STRIP, width, 3), BACK, np.uint8)
    values = [still.score for still in stills]
    low, high = min(0.0, *values, threshold), max(*values, threshold)
    spread = max(1e-9, high - low)

    def down(value: float) -> int:
        return round((STRIP - 5) * (1 - (value - low) / spread)) + 2

    cv2.line(made, (0, down(threshold)), (width, down(threshold)), LINE, 1)
    points = np.array([(_across(still.time, stills, width), down(still.score)) for still in stills], np.int32)
    cv2.polylines(made, [points], False, CURVE, 1, cv2.LINE_AA)
    return made
