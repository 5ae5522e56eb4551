"""From smoothed scores that come one by one to alarms that start, go on and end under one id."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from vadistill.watch.alarm import Alarm, Phase
from vadistill.watch.config import DAYS, Schedule

UPDATE_EVERY = 10.0  # seconds between updates of an alarm that goes on
MOMENT = 1e-6  # seconds by which differences of times may be off
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Rule:
    """When there is an alarm; as ``evaluation.events.AlarmRule``, in seconds.

    Attributes:
        threshold: Smoothed score from which on an alarm starts.
        release: Smoothed score below which it is over.
        cool_down: Seconds; alarms with less between them are one.
    """

    threshold: float
    release: float
    cool_down: float


def is_scheduled(schedule: Sequence[Schedule], time: float) -> bool:
    """Return whether alarms are raised at a unix time, in local time; without a schedule always."""
    if not schedule:
        return True
    moment = datetime.fromtimestamp(time)
    clock, today = f"{moment:%H:%M}", moment.weekday()
    yesterday = DAYS[today - 1]
    for part in schedule:
        if part.start < part.end:
            if DAYS[today] in part.days and part.start <= clock < part.end:
                return True
        elif (DAYS[today] in part.days and clock >= part.start) or (yesterday in part.days and clock < part.end):
            return True
    return False


class Tracker:
    """Follows the smoothed scores of one zone of one camera.

    Args:
        camera: Name of the camera.
        zone: Name of the zone, or "".
        rule: When there is an alarm.

    Attributes:
        rule: May be replaced at any time.
    """

    def __init__(self, camera: str, zone: str, rule: Rule) -> None:
        self.rule = rule
        self._camera, self._zone = camera, zone
        self._open: Alarm | None = None
        self._in_run = False  # whether scores have stayed at the release level since they passed the threshold
        self._held = 0.0  # when that was so for the last time
        self._told = 0.0

    def add(self, time: float, score: float, box: Box, allowed: bool = True) -> Iterator[Alarm]:
        """Take the next smoothed score; yield what becomes of alarms.

        Args:
            time: Unix time in seconds of its frame, behind the last one.
            score: Smoothed score.
            box: Place with the highest raw score in that frame, as shares of the frame.
            allowed: Whether an alarm may start or go on: by schedule and view.
        """
        if time < self._held:  # the machine's clock was set back
            yield from self.flush()
            self._held = time
        rule = self.rule
        if not allowed or score < rule.release:
            self._in_run = False
        starts = allowed and not self._in_run and score >= rule.threshold
        if self._open and not self._in_run and (not allowed or time - self._held > rule.cool_down + MOMENT):
            yield from self.flush()
        self._in_run |= starts
        if self._in_run:
            self._held = time
        if starts and not self._open:
            self._open, self._told = self._started(time, score, box), time
            yield self._open
        elif self._open:
            yield from self._updated(time, score, box)

    def _updated(self, time: float, score: float, box: Box) -> Iterator[Alarm]:
        assert self._open
        if self._in_run and score > self._open.score:
            self._open = replace(self._open, peak=time, score=score, box=box)
        if time - self._told >= UPDATE_EVERY:
            self._told = time
            yield replace(self._open, phase=Phase.UPDATE)

    def flush(self) -> Iterator[Alarm]:
        """End the alarm that is open, if there is one; the next high score begins another."""
        self._in_run = False
        if self._open:
            ended = replace(self._open, phase=Phase.END, end=self._held)
            self._open = None
            yield ended

    @property
    def open(self) -> Alarm | None:
        """Return the alarm that goes on, as it is now."""
        return self._open

    def _started(self, time: float, score: float, box: Box) -> Alarm:
        return Alarm(
            id=uuid.uuid4().hex, camera=self._camera, zone=self._zone, phase=Phase.START, start=time, end=None,
            peak=time, score=score, threshold=self.rule.threshold, box=box,
        )  # fmt: skip
