"""Alarms as lines of JSON, in a file or on the standard output."""

import json
import sys
from collections.abc import Sequence

from vadistill.errors import InputError
from vadistill.io.files import checked_path
from vadistill.watch.alarm import Alarm, CameraStatus
from vadistill.watch.config import JsonLines


class JsonLinesSink:
    """Appends a line a phase.

    Args:
        config: Its part of the file.

    Raises:
        InputError: The file cannot be written.
    """

    tries = 3

    def __init__(self, config: JsonLines) -> None:
        self.name = f"json_lines {config.path or 'on the standard output'}"
        try:
            self._file = checked_path(config.path).open("a", encoding="utf-8") if config.path else sys.stdout
        except OSError as error:
            raise InputError(
                f"{config.path}: cannot be written ({error.strerror}); expected a file for alarms"
            ) from error

    def send(self, alarm: Alarm) -> None:
        """Append a line."""
        self._file.write(json.dumps(alarm.record()) + "\n")
        self._file.flush()

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """States are no lines."""

    def close(self) -> None:
        """Close the file."""
        if self._file is not sys.stdout:
            self._file.close()
