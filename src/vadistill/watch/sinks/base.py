"""What all sinks share: a thread each, so that one that hangs holds up neither analysis nor the others."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from vadistill.errors import in_one_line
from vadistill.watch.alarm import Alarm, CameraStatus, Phase

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds until an alarm is sent again; doubled each time
MOST_WAITING = 1000  # alarms; then updates go first, and after them the oldest alarms
LAST_SECONDS = 3.0  # in which what waits is sent when the watch ends
SAY_AGAIN = 60.0  # seconds until a failure that goes on is told of again


class Retry(Exception):
    """A failure that may be over soon.

    Args:
        text: What failed, without secrets.
        after: Seconds that the other side asks to wait, if it does.
    """

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after


class Refused(Exception):
    """A failure that sending again does not change."""


class Sink(Protocol):
    """Where alarms are sent.

    Attributes:
        name: As the log and the metrics call it.
        tries: How often an alarm is sent at most.
    """

    name: str
    tries: int

    def send(self, alarm: Alarm) -> None:
        """Send one phase of an alarm.

        Raises:
            Retry: It may be sent again.
            Refused: It may not.
        """
        ...

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """Take the states of all cameras, every few seconds."""
        ...

    def close(self) -> None:
        """Take leave."""
        ...


class SinkThread(threading.Thread):
    """Sends alarms to one sink, in their order.

    Attributes:
        sent: Phases of alarms that were taken.
        failed: Attempts that were not.
        lost: Phases that were given up.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__(name=f"sink {sink.name}", daemon=True)
        self.sink, self.sent, self.failed, self.lost = sink, 0, 0, 0
        self._waiting: deque[Alarm] = deque()
        self._states: Sequence[CameraStatus] | None = None
        self._something = threading.Condition()
        self._end: float | None = None
        self._told = ("", 0.0)

    @property
    def waiting(self) -> int:
        """Return how many phases wait."""
        return len(self._waiting)

    def put(self, alarm: Alarm) -> None:
        """Send an alarm; an update takes the place of one of the same alarm that waits."""
        with self._something:
            if alarm.phase != Phase.START:
                older = [one for one in self._waiting if one.id == alarm.id and one.phase == Phase.UPDATE]
                for one in older:
                    self._waiting.remove(one)
            self._waiting.append(alarm)
            while len(self._waiting) > MOST_WAITING:
                updates = [one for one in self._waiting if one.phase == Phase.UPDATE]
                self._waiting.remove(updates[0] if updates else self._waiting[0])
                self.lost += 1
            self._something.notify()

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """Pass on the states of all cameras; older ones that wait are forgotten."""
        with self._something:
            self._states = cameras
            self._something.notify()

    def stop(self) -> None:
        """Send what waits within ``LAST_SECONDS``, then end."""
        with self._something:
            self._end = time.monotonic() + LAST_SECONDS
            self._something.notify()
        if self.is_alive():
            self.join(LAST_SECONDS + 2)
        lost = self.lost + len(self._waiting)
        if lost:
            log.error("%s: %d messages were not sent", self.sink.name, lost)

    def run(self) -> None:
        """Send until it is stopped."""
        while True:
            with self._something:
                self._something.wait_for(lambda: self._waiting or self._states or self._end)
                alarm = self._waiting[0] if self._waiting else None
                states, self._states = self._states, None
                if alarm is None and self._end:
                    break
            if alarm:
                self._deliver(alarm)
            if states:
                self._guarded(lambda states=states: self.sink.status(states))
            if self._end and time.monotonic() > self._end:
                break
        self._guarded(self.sink.close)

    def _deliver(self, alarm: Alarm) -> None:
        pause = FIRST_PAUSE
        for attempt in range(1, self.sink.tries + 1):
            try:
                self.sink.send(alarm)
            except Retry as error:
                self._fails(str(error))
                if attempt < self.sink.tries and self._wait(error.after or pause * random.uniform(0.5, 1)):
                    pause = min(LONGEST_PAUSE, 2 * pause)
                    continue
                self.lost += 1
            except Exception as error:
                self._fails(str(error) if isinstance(error, Refused) else in_one_line(error))
                self.lost += 1
            else:
                self.sent += 1
            break
        with self._something:
            if alarm in self._waiting:
                self._waiting.remove(alarm)

    def _wait(self, seconds: float) -> bool:
        """Wait; return whether there is time for another attempt."""
        with self._something:
            self._something.wait_for(lambda: self._end is not None, min(seconds, LONGEST_PAUSE))
            return self._end is None or time.monotonic() + min(seconds, LONGEST_PAUSE) < self._end

    def _fails(self, text: str) -> None:
        self.failed += 1
        if self._told[0] != text or time.monotonic() - self._told[1] > SAY_AGAIN:
            log.warning("%s: %s", self.sink.name, text)
            self._told = text, time.monotonic()

    def _guarded(self, what) -> None:
        try:
            what()
        except Exception as error:
            self._fails(in_one_line(error))
