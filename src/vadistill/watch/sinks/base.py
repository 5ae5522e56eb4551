"""What all sinks share: a thread each, so that one that hangs holds up neither analysis nor the others."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from vadistill.watch.alarm import Alarm, CameraStatus, Phase

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds until an alarm is sent again; doubled each time
LONGEST_ASKED = 600.0  # seconds of a pause that the other side may ask for
MOST_WAITING = 1000  # phases of alarms
LAST_SECONDS = 3.0  # in which what waits is sent when the watch ends
LAST_PAUSE = 0.3  # seconds between the last attempts
SAY_AGAIN = 60.0  # seconds until a failure that goes on is told of again
MOST_TOLD = 100  # texts of failures that are kept for that


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
    """A failure that sending again does not change.

    Args:
        text: What failed, without secrets.
        status: Status code of an HTTP answer, if there was one.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def reason(error: BaseException) -> str:
    """Return why something failed without what it was given: that may hold secrets."""
    told = isinstance(error, OSError) and error.strerror
    return str(told or type(error).__name__)


class Sink(Protocol):
    """Where alarms are sent.

    Attributes:
        name: As the log and the metrics call it; no two of a watch are equal.
        tries: How often a phase of an alarm is sent at most.
    """

    name: str
    tries: int

    def send(self, alarm: Alarm) -> None:
        """Send one phase of an alarm; it may take its time.

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
        self._sending: Alarm | None = None
        self._states: Sequence[CameraStatus] | None = None
        self._something = threading.Condition()
        self._end: float | None = None
        self._told: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """Return how many phases wait, with the one that is being sent."""
        return len(self._waiting) + (self._sending is not None)

    def put(self, alarm: Alarm) -> None:
        """Send an alarm; an update of the same alarm that waits gives way to it."""
        with self._something:
            for one in [one for one in self._waiting if one.id == alarm.id and one.phase == Phase.UPDATE]:
                self._waiting.remove(one)
            self._waiting.append(alarm)
            while len(self._waiting) > MOST_WAITING:
                self._give_up_one()
            self._something.notify()

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """Pass on the states of all cameras; older ones that wait are forgotten."""
        with self._something:
            self._states = cameras
            self._something.notify()

    def end(self) -> None:
        """Let it end: it has ``LAST_SECONDS`` for what waits; ``stop`` waits for that."""
        with self._something:
            self._end = self._end or time.monotonic() + LAST_SECONDS
            self._something.notify()

    def stop(self) -> None:
        """Send what waits within ``LAST_SECONDS``, then end; say what was lost."""
        self.end()
        if self.is_alive() and self._end:
            self.join(max(0.0, self._end + 2 - time.monotonic()))
        if lost := self.lost + self.waiting:
            log.error("%s: %d messages were not sent", self.sink.name, lost)

    def run(self) -> None:
        """Send until it is stopped."""
        while self._take_next():
            if alarm := self._sending:
                taken = self._deliver(alarm)
                self._sending = None
                self.sent += taken is True
                self.lost += taken is False
            if (states := self._states) is not None:
                self._states = None
                self._guarded(partial(self.sink.status, states))
        self._guarded(self.sink.close)

    def _take_next(self) -> bool:
        """Wait for something to send; return False where the thread is to end."""
        with self._something:
            self._something.wait_for(lambda: self._waiting or self._states is not None or self._end)
            if self._end and (time.monotonic() > self._end or not self._waiting):
                return False
            self._sending = self._waiting.popleft() if self._waiting else None
            return True

    def _deliver(self, alarm: Alarm) -> bool | None:
        """Send a phase until it is taken; return whether it was, or None where a later one takes its place."""
        pause = FIRST_PAUSE
        for attempt in range(1, self.sink.tries + 1):
            try:
                self.sink.send(alarm)
                return True
            except Retry as error:
                self._fails(str(error))
                asked = error.after and min(error.after, LONGEST_ASKED)
                if attempt == self.sink.tries or not self._wait(asked or pause * random.uniform(0.5, 1)):
                    return False
                if self._is_stale(alarm):
                    return None
                pause = min(LONGEST_PAUSE, 2 * pause)
            except Refused as error:
                self._fails(str(error))
                return False
            except Exception as error:  # a sink's fault must not end its thread
                self._fails(f"fails ({reason(error)})")
                return False
        return False

    def _is_stale(self, alarm: Alarm) -> bool:
        """Return whether it is an update, and a later phase of the same alarm waits."""
        with self._something:
            return alarm.phase == Phase.UPDATE and any(one.id == alarm.id for one in self._waiting)

    def _give_up_one(self) -> None:
        """Give up the least: an update, else an alarm from its start on, and only then an end.

        An end whose start was sent is what switches things off again.
        """
        first = {one.phase: one for one in reversed(self._waiting)}
        least = next(first[phase] for phase in (Phase.UPDATE, Phase.START, Phase.END) if phase in first)
        gone = [one for one in self._waiting if one is least or (least.phase == Phase.START and one.id == least.id)]
        for one in gone:
            self._waiting.remove(one)
        self.lost += len(gone)

    def _wait(self, seconds: float) -> bool:
        """Wait; return whether there is time for another attempt."""
        with self._something:
            if not self._end and not self._something.wait_for(lambda: self._end, seconds):
                return True
        left = (self._end or 0.0) - time.monotonic()
        time.sleep(max(0.0, min(LAST_PAUSE, left)))
        return left > 0

    def _fails(self, text: str) -> None:
        """Count a failure, and tell of it unless that was done just now."""
        self.failed += 1
        now = time.monotonic()
        if now - self._told.get(text, -SAY_AGAIN) >= SAY_AGAIN:
            if len(self._told) >= MOST_TOLD:
                self._told.clear()
            self._told[text] = now
            log.warning("%s: %s", self.sink.name, text)

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:
            self._fails(f"fails ({reason(error)})")


def stop_sinks(threads: Sequence[SinkThread]) -> None:
    """Stop sinks together: they share the last seconds, however many hang."""
    for thread in threads:
        thread.end()
    for thread in threads:
        thread.stop()
