"""The thread of one camera: reads its frames, connects again when they stop, and says how it is."""

import logging
import random
import threading
import time
from typing import Protocol

from vadistill.watch.alarm import CameraState, CameraStatus
from vadistill.watch.config import File, Source
from vadistill.watch.stream import Frame, StreamError, frames_of

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds until a lost source is tried again; doubled each time
GOOD = 60.0  # seconds of frames after which the next pause is the first one again
SILENT = 9.0  # seconds without a frame after which a camera is dead


class FrameTaker(Protocol):
    """What becomes of frames; called in the reader's thread."""

    def wants(self, frame: Frame) -> bool:
        """Return whether to take a frame; asked for every one, before its picture is made."""
        ...

    def take(self, frame: Frame) -> None:
        """Take a frame that was wanted."""
        ...


class CameraReader(threading.Thread):
    """Reads one source until it is stopped, or a file is over.

    Args:
        status: Of the camera; its state, counters and problem are kept up to date.
        source: Where frames come from.
        taker: Gets them.
    """

    def __init__(self, status: CameraStatus, source: Source, taker: FrameTaker) -> None:
        super().__init__(name=f"reader of {status.name}", daemon=True)
        self._status, self._source, self._taker = status, source, taker
        self._over = threading.Event()
        self._heard, self._failure = time.monotonic(), ""

    def stop(self, seconds: float = 2.0) -> None:
        """End it, and wait for at most so many seconds; a read that blocks is left to its own time-out."""
        self._over.set()
        if seconds and self.is_alive():
            self.join(seconds)

    def check(self) -> None:
        """Say that the camera is dead where no frame has come for a while, also while a read blocks."""
        if self._status.state != CameraState.ENDED and time.monotonic() - self._heard > SILENT:
            self._say(CameraState.DEAD, self._failure or f"no frame for {SILENT:g} seconds")

    def run(self) -> None:
        """Read, and connect again."""
        pause = FIRST_PAUSE
        while not self._over.is_set():
            begun = time.monotonic()
            try:
                self._read()
                if isinstance(self._source, File) and not self._over.is_set():
                    self._say(CameraState.ENDED, "")
                return
            except StreamError as error:
                self._problem(str(error))
            except Exception as error:  # nothing that a stream holds may end the watch
                self._problem(f"reading fails ({type(error).__name__})")
                log.exception("camera %s: reading fails", self._status.name)
            if time.monotonic() - begun > GOOD:
                pause = FIRST_PAUSE
            self._over.wait(pause * random.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE, 2 * pause)
            self._status.reconnects += 1

    def _read(self) -> None:
        for frame in frames_of(self._source, self._over):
            if self._over.is_set():
                return
            self._heard, self._failure = time.monotonic(), ""
            self._status.frames_in += 1
            self._status.last_frame = frame.time
            if self._status.state != CameraState.LIVE:
                self._say(CameraState.LIVE, "")
            if self._taker.wants(frame):
                self._taker.take(frame)

    def _problem(self, text: str) -> None:
        """Note what is wrong; the first time, the log gets it, too."""
        if self._status.problem != text:
            log.warning("camera %s: %s", self._status.name, text)
        self._status.problem = self._failure = text
        if isinstance(self._source, File) or time.monotonic() - self._heard > SILENT:
            self._say(CameraState.DEAD, text)

    def _say(self, state: CameraState, problem: str) -> None:
        if self._status.state != state:
            log.info("camera %s: %s%s", self._status.name, state, f" ({problem})" if problem else "")
        self._status.state, self._status.problem = state, problem
