"""One thread a detector: windows of all cameras that share it, analysed in batches, the oldest first."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np

from vadistill.errors import in_one_line
from vadistill.inference.backend import Backend
from vadistill.watch.alarm import CameraStatus
from vadistill.watch.windows import Window

log = logging.getLogger(__name__)
STUCK = 10.0  # seconds that windows wait while nothing is analysed
SAY_AGAIN = 60.0  # seconds until a failure that goes on is told of again
STOPPING = 5.0  # seconds for the batch that is being analysed at the end
Result = Callable[[Window, float, Mapping[int, np.ndarray]], None]  # window, raw frame score, maps {g: (g, g)}


class Slot:
    """Where the newest window of a camera waits: one that is not analysed in time gives way to the next.

    So no camera is ever more than one window behind, and each waits for at most all others once.
    """

    def __init__(self, status: CameraStatus, result: Result) -> None:
        """Take the camera's status, and what is called with each window's score, in the analyser's thread."""
        self.status, self.result = status, result
        self.window: Window | None = None


class Analyser(threading.Thread):
    """Runs one detector for its cameras.

    Args:
        name: Of the detector, for the log.
        model: It runs the network.
        batch: Windows that are analysed at once, at most.
    """

    def __init__(self, name: str, model: Backend, batch: int) -> None:
        super().__init__(name=f"analyser of {name}", daemon=True)
        self.model = model
        self._batch, self._slots = batch, dict[str, Slot]()
        self._filled, self._over = threading.Condition(), False
        self._asked: float | None = None  # since when windows wait, without one that was analysed
        self._told = -SAY_AGAIN

    def add(self, camera: str, slot: Slot) -> None:
        """Analyse a camera from now on."""
        with self._filled:
            self._slots[camera] = slot

    def remove(self, camera: str) -> None:
        """Analyse it no longer."""
        with self._filled:
            self._slots.pop(camera, None)

    @property
    def cameras(self) -> list[str]:
        """Return the names of its cameras."""
        with self._filled:
            return list(self._slots)

    def put(self, slot: Slot, window: Window) -> None:
        """Give the newest window of a camera; called in its reader's thread."""
        with self._filled:
            slot.status.frames_dropped += slot.window is not None
            slot.window = window
            self._asked = time.monotonic() if self._asked is None else self._asked
            self._filled.notify()

    @property
    def stuck(self) -> bool:
        """Return whether it fails, hangs, or has ended."""
        asked = self._asked
        return not self.is_alive() or (asked is not None and time.monotonic() - asked > STUCK)

    def stop(self) -> None:
        """End the thread behind the batch that it is at; one that hangs is left alone."""
        with self._filled:
            self._over = True
            self._filled.notify()
        if self.is_alive():
            self.join(STOPPING)
            if self.is_alive():
                log.error("%s: does not end", self.name)

    def run(self) -> None:
        """Analyse until it is stopped."""
        while waiting := self._next():
            try:
                made = self.model(np.stack([window.planes for _, window in waiting]))
            except Exception as error:  # a runtime's failure must not end the watch
                if time.monotonic() - self._told > SAY_AGAIN:
                    self._told = time.monotonic()
                    log.error("%s: analysis fails (%s); it is tried again", self.name, in_one_line(error))
                time.sleep(1)
                continue
            self._asked = None
            now = time.time()
            for index, (slot, window) in enumerate(waiting):
                slot.status.frames_analysed += 1
                slot.status.latency = now - window.came
                try:
                    slot.result(window, float(made.score[index]), {g: grid[index] for g, grid in made.maps.items()})
                except Exception as error:
                    log.exception("camera %s: %s", slot.status.name, in_one_line(error))

    def _next(self) -> list[tuple[Slot, Window]]:
        """Wait for windows and take the oldest ones; none where the thread is to end."""
        with self._filled:
            self._filled.wait_for(lambda: self._over or any(slot.window for slot in self._slots.values()))
            if self._over:
                return []
            full = [(slot, slot.window) for slot in self._slots.values() if slot.window]
            full.sort(key=lambda pair: pair[1].came)
            for slot, _ in full[: self._batch]:
                slot.window = None
            return full[: self._batch]
