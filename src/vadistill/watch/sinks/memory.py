"""What a sink must know of the watch's last run: a small JSON file in the storage."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from vadistill.errors import InputError
from vadistill.io.files import write_json
from vadistill.watch.sinks.base import reason

log = logging.getLogger(__name__)
FOLDER = "sinks"  # in the storage


class Memory:
    """Keeps JSON content between runs; without a storage, for this run.

    Args:
        storage: Folder of the watch.
        kind: Of the sink, a part of the file's name.
        place: Where the sink sends; only its hash becomes a part of the file's name.

    Attributes:
        content: What was kept, or None.
    """

    def __init__(self, storage: Path | None = None, kind: str = "", place: str = "") -> None:
        name = f"{kind}-{hashlib.sha256(place.encode()).hexdigest()[:12]}.json"
        self._path = storage / FOLDER / name if storage else None
        self.content: Any = self._read()

    def _read(self) -> Any:
        try:
            return json.loads(self._path.read_text(encoding="utf-8")) if self._path else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # what a sink has forgotten costs less than alarms that do not go out
            log.warning("%s: not readable (%s); the sink begins anew", self._path, reason(error))
            return None

    def write(self, content: Any) -> None:
        """Keep it; a full disk costs the memory, not the alarm."""
        self.content = content
        try:
            if self._path:
                write_json(self._path, content)
        except (OSError, InputError) as error:
            log.warning("%s: not written (%s)", self._path, reason(error))
