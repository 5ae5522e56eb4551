"""Alarms as events of Frigate, by its HTTP API (POST /api/events/<camera>/<label>/create, PUT /api/events/<id>/end)."""

import json
from collections.abc import Sequence
from urllib.parse import quote

from vadistill.watch.alarm import Alarm, CameraStatus, Phase
from vadistill.watch.config import Frigate, masked
from vadistill.watch.sinks.base import Refused
from vadistill.watch.sinks.http import request

HEADERS = {"Content-Type": "application/json"}


class FrigateSink:
    """Creates an event at the start of an alarm, and ends it at its end.

    Args:
        config: Its part of the file.
    """

    tries = 5

    def __init__(self, config: Frigate) -> None:
        self._config, self._url = config, config.url.get_secret_value().rstrip("/")
        self._events: dict[str, str] = {}  # Frigate's ids by ours
        self.name = f"frigate {masked(self._url)}"

    def send(self, alarm: Alarm) -> None:
        """Create or end the event; updates change nothing in Frigate."""
        if alarm.phase == Phase.START:
            camera = self._config.cameras.get(alarm.camera, alarm.camera)
            x, y, width, height = alarm.box
            content = {
                "sub_label": alarm.zone or alarm.camera,
                "duration": None,  # until it is ended
                "include_recording": True,
                "score": round(100 * min(1.0, alarm.score)),
                "draw": {"boxes": [{"box": [x, y, width, height], "color": [231, 76, 60],
                                    "score": round(100 * min(1.0, alarm.score))}]},
            }  # fmt: skip
            place = f"{self._url}/api/events/{quote(camera, safe='')}/{quote(self._config.label, safe='')}/create"
            answer = request("POST", place, json.dumps(content).encode(), HEADERS)
            self._events[alarm.id] = _event_id(answer, masked(place))
        elif alarm.phase == Phase.END and (event := self._events.pop(alarm.id, None)):
            body = json.dumps({"end_time": alarm.end}).encode()
            request("PUT", f"{self._url}/api/events/{quote(event, safe='')}/end", body, HEADERS)

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """Frigate knows the state of its cameras itself."""

    def close(self) -> None:
        """Nothing is open."""


def _event_id(answer: bytes, place: str) -> str:
    try:
        content = json.loads(answer)
        if content["success"] is True:
            return str(content["event_id"])
    except (ValueError, KeyError, TypeError):
        pass
    raise Refused(f"{place}: answers without an event_id; expected Frigate 0.13 or newer")
