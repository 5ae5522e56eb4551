"""What the page needs of the watch."""

import queue
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vadistill.watch.alarm import CameraStatus

Events = queue.Queue[tuple[str, dict[str, Any]]]


class Desk(Protocol):
    """Answers the page's questions, from any thread; ``watch.app.Watch`` is the one that users have."""

    def cameras(self) -> Sequence[CameraStatus]:
        """Return the state of every camera, in the order of the file."""
        ...

    def picture(self, camera: str) -> tuple[float, bytes] | None:
        """Return unix time and JPEG, with heat, of the last analysed frame; None before the first."""
        ...

    def alarms(self, camera: str | None, since: float | None, until: float | None, limit: int) -> list[dict[str, Any]]:
        """Return alarms as ``Alarm.record`` with ``feedback`` (true, false, null), the newest first.

        Args:
            camera: Of this one alone.
            since: That start at this unix time or later.
            until: That start before this unix time.
            limit: So many at most.
        """
        ...

    def file(self, relative: str) -> Path:
        """Return where a snapshot or clip lies, whether it is there or not.

        Raises:
            InputError: It lies outside the storage.
        """
        ...

    def set_feedback(self, alarm: str, is_alarm: bool | None) -> None:
        """Note whether an alarm was one; None takes it back.

        Raises:
            InputError: There is no such alarm.
        """
        ...

    def scores(self, camera: str, since: float, until: float) -> tuple[np.ndarray, np.ndarray]:
        """Return unix times (T,) and smoothed scores (T,) of a camera between two unix times."""
        ...

    def would_alarm(self, camera: str, threshold: float, since: float) -> int:
        """Return how many alarms a threshold would have raised since a unix time."""
        ...

    def set_threshold(self, camera: str, value: float | None) -> None:
        """Raise alarms from another smoothed score on; None for that of the file or the detector."""
        ...

    def metrics(self) -> bytes:
        """Return what Prometheus reads, in its text format."""
        ...

    def healthy(self) -> tuple[bool, str]:
        """Return whether analysis goes on, and what is wrong."""
        ...

    def subscribe(self) -> Events:
        """Return a queue that gets ("alarm", record), ("camera", state) about once a second, and ("cameras", names).

        Nothing more may come to a queue that was full once: whoever reads it asks for all anew.
        """
        ...

    def unsubscribe(self, listener: Events) -> None:
        """Send no more to a queue."""
        ...
