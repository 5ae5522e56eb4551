"""Alarms as events of Frigate, by its HTTP API (POST /api/events/<camera>/<label>/create, PUT /api/events/<id>/end)."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vadistill.watch.alarm import Alarm, CameraStatus, Phase
from vadistill.watch.config import Frigate, masked
from vadistill.watch.sinks.base import Refused, Retry
from vadistill.watch.sinks.http import request
from vadistill.watch.sinks.memory import Memory

log = logging.getLogger(__name__)
HEADERS = {"Content-Type": "application/json"}
COLOR = [231, 76, 60]  # of the box
MOST_OPEN = 1000  # events that are remembered; more are of alarms whose end never came
WRITTEN_AFTER = 1.0  # seconds until it is asked again for an event that Frigate does not know yet


class Unknown(Retry):
    """Frigate does not know an event: not yet, or not any more."""


class FrigateSink:
    """Creates an event at the start of an alarm, and ends it at its end.

    An event without an end goes on in Frigate for ever. So open ones are remembered between runs, and what Frigate did
    not take in time is tried again with every status.

    Args:
        config: Its part of the file.
        storage: Folder of the watch.
    """

    tries = 10

    def __init__(self, config: Frigate, storage: Path | None = None) -> None:
        self._config, self._url = config, config.url.get_secret_value().rstrip("/")
        self._shown = masked(self._url)
        self.name = f"frigate {self._shown}"
        self._memory = Memory(storage, "frigate", self._url)
        kept = self._memory.content
        self._events: dict[str, str] = dict(kept) if isinstance(kept, dict) else {}  # Frigate's ids by ours
        # Ends that Frigate has not taken; of the last run all, since alarms do not go on over a restart.
        self._left: dict[str, float | None] = dict.fromkeys(self._events)

    def send(self, alarm: Alarm) -> None:
        """Create or end the event; updates change nothing in Frigate.

        Raises:
            Retry: Frigate does not answer, or does not know yet what it is to end.
            Refused: It does not take it.
        """
        if alarm.phase == Phase.START:
            self._remember({**self._events, alarm.id: self._create(alarm)})
        elif alarm.phase == Phase.END and alarm.id in self._events:
            self._left[alarm.id] = alarm.end
            self._end(alarm.id)

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """End events whose end was not taken; Frigate knows the state of its cameras itself.

        Raises:
            Retry: Frigate does not answer.
        """
        for alarm in list(self._left):
            try:
                self._end(alarm)
            except Unknown:  # by now it would know it: somebody has removed it
                self._forget(alarm)
            except Refused as error:
                log.warning("%s: %s", self.name, error)

    def _end(self, alarm: str) -> None:
        """End an event, and forget it where Frigate takes that or never will."""
        try:
            self._finish(self._events[alarm], self._left[alarm])
        except Refused:
            self._forget(alarm)
            raise
        self._forget(alarm)

    def close(self) -> None:
        """Nothing is open."""

    def _create(self, alarm: Alarm) -> str:
        """Create an event and return Frigate's id of it."""
        camera, share = self._config.cameras.get(alarm.camera, alarm.camera), min(1.0, max(0.0, alarm.score))
        path = f"/api/events/{quote(camera, safe='')}/{quote(self._config.label, safe='')}/create"
        content = {
            "sub_label": alarm.zone or alarm.camera,
            "duration": None,  # until it is ended
            "include_recording": True,
            "score": round(share, 3),
            "draw": {"boxes": [{"box": list(alarm.box), "color": COLOR, "score": round(100 * share)}]},  # in percent
        }
        try:
            answer = self._request("POST", path, content, repeatable=False)
        except Refused as error:
            if error.status == 404:
                told = f"{self._shown}: knows no camera {camera}; expected its name in Frigate under 'cameras'"
                raise Refused(told, 404) from None
            if error.status != 422:
                raise
            answer = self._request("POST", path, {**content, "score": round(100 * share)}, repeatable=False)  # 0.15
        return _event_id(answer, self._shown)

    def _finish(self, event: str, moment: float | None) -> None:
        """End an event at a unix time; now, where Frigate takes no such time.

        It takes none before its own start, which is late where it did not answer when the alarm began.
        """
        path = f"/api/events/{quote(event, safe='')}/end"
        try:
            self._request("PUT", path, {"end_time": moment})
        except Refused as error:
            if error.status == 404:  # it writes an event some moments after it has said its id
                raise Unknown(str(error), WRITTEN_AFTER) from None
            if error.status not in (400, 422):
                raise
            self._request("PUT", path, {})

    def _request(self, method: str, path: str, content: dict[str, Any], repeatable: bool = True) -> bytes:
        body = json.dumps(content).encode()
        return request(method, self._url + path, body, HEADERS, self._shown + path, repeatable)

    def _remember(self, events: dict[str, str]) -> None:
        self._events = dict(list(events.items())[-MOST_OPEN:])
        self._left = {alarm: end for alarm, end in self._left.items() if alarm in self._events}
        self._memory.write(self._events)

    def _forget(self, alarm: str) -> None:
        self._remember({ours: event for ours, event in self._events.items() if ours != alarm})


def _event_id(answer: bytes, place: str) -> str:
    try:
        content = json.loads(answer)
        if content["success"] is True:
            return str(content["event_id"])
    except (ValueError, KeyError, TypeError):
        pass
    raise Refused(f"{place}: answers without an event_id; expected Frigate 0.13 or newer")
