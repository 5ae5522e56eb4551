"""Alarms by HTTP POST: signed, with a key by which the other side knows what it has got already."""

import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from vadistill.watch.alarm import Alarm, CameraStatus, Phase
from vadistill.watch.config import Webhook
from vadistill.watch.sinks.http import request


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return ``sha256=<hex>``: HMAC-SHA256, by the secret, of the timestamp, a dot, and the body."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class WebhookSink:
    """Posts the JSON of each phase.

    Args:
        config: Its part of the file.
    """

    def __init__(self, config: Webhook) -> None:
        self._url = config.url.get_secret_value()
        self._secret = config.secret.get_secret_value() if config.secret else None
        self._shown = _host_of(self._url)
        self.name, self.tries = f"webhook {self._shown}", config.tries

    def send(self, alarm: Alarm) -> None:
        """Post it; see ``request`` for failures."""
        body = json.dumps(alarm.record()).encode()
        number = f"-{alarm.peak:.3f}" if alarm.phase == Phase.UPDATE else ""  # an update is new where its peak is
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{alarm.id}-{alarm.phase}{number}"}
        if self._secret:
            moment = str(int(time.time()))
            headers["X-Vadistill-Timestamp"] = moment
            headers["X-Vadistill-Signature"] = signature(self._secret, moment, body)
        request("POST", self._url, body, headers, self._shown)

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """States are not posted."""

    def close(self) -> None:
        """Nothing is open."""


def _host_of(url: str) -> str:
    """Return an address without its path: of many services, the path is the secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/***"
