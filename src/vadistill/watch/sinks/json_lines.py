"""Alarms as lines of JSON, in a file or on the standard output."""

import errno
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vadistill.errors import InputError
from vadistill.io.files import checked_path
from vadistill.watch.alarm import Alarm, CameraStatus
from vadistill.watch.config import JsonLines
from vadistill.watch.sinks.base import Retry, reason


class JsonLinesSink:
    """Appends a line a phase.

    Args:
        config: Its part of the file.

    Raises:
        InputError: The file cannot be written.
    """

    tries = 8

    def __init__(self, config: JsonLines) -> None:
        self.name = f"json_lines {config.path or 'on the standard output'}"
        self._path = checked_path(config.path) if config.path else None
        try:
            if self._path:
                _append(self._path, b"")
        except OSError as error:
            raise InputError(
                f"{config.path}: cannot be written ({error.strerror}); expected a file for alarms"
            ) from error

    def send(self, alarm: Alarm) -> None:
        """Append a line.

        Raises:
            Retry: It could not be written; nothing of it is there.
        """
        line = json.dumps(alarm.record()) + "\n"
        try:
            if self._path:
                _append(self._path, line.encode())
            else:
                sys.stdout.write(line)
                sys.stdout.flush()
        except OSError as error:
            raise Retry(f"cannot be written ({reason(error)})") from None

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """States are no lines."""

    def close(self) -> None:
        """Nothing is open: each line finds the file anew, which another program may have moved away."""


def _append(path: Path, line: bytes) -> None:
    """Append a whole line or nothing."""
    with path.open("ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if file.write(line) < len(line):  # the disk is full
            file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
