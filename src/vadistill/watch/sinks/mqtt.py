"""Alarms and states by MQTT, with Home Assistant's discovery."""

import json
import logging
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from vadistill.errors import InputError
from vadistill.watch.alarm import Alarm, CameraStatus, Phase
from vadistill.watch.config import Mqtt
from vadistill.watch.sinks.base import Retry, reason
from vadistill.watch.sinks.discovery import entities
from vadistill.watch.sinks.memory import Memory

log = logging.getLogger(__name__)
ONLINE, OFFLINE = "online", "offline"
TAKEN = 5.0  # seconds within which the broker confirms
FAREWELL = 1.0  # seconds for the last message
AGAIN = 1.0  # seconds until a message is published again; paho connects again by itself


class MqttSink:
    """Keeps a connection, and publishes with QoS 1.

    Topics below the prefix: ``available`` (online, offline; the last will), ``events`` (the JSON of each phase), and of
    each camera ``<camera>/alarm`` (ON, OFF), ``<camera>/score``, ``<camera>/state``; all but ``events`` retained.

    Args:
        config: Its part of the file.
        cameras: Names of all cameras.
        storage: Folder of the watch, where it is kept which cameras the broker knows.

    Raises:
        InputError: The broker's name is none.
    """

    tries = 600

    def __init__(self, config: Mqtt, cameras: Sequence[str], storage: Path | None = None) -> None:
        self.name = f"mqtt {config.host}:{config.port}"
        self._config, self._cameras = config, list(cameras)
        self._going: dict[str, set[str]] = {}  # ids of alarms by camera
        self._told: dict[str, str] = {}  # last texts by topic
        self._said = ""  # what is wrong with the connection
        self._memory = Memory(storage, "mqtt", f"{self.name} {config.prefix} {config.discovery}")
        self._client = self._make_client()
        # From here on paho's own thread calls the methods below.
        self._client.connect_async(config.host, config.port, keepalive=30)
        self._client.loop_start()

    def send(self, alarm: Alarm) -> None:
        """Publish a phase, and whether the camera has an alarm.

        Raises:
            Retry: The broker does not take it.
        """
        going = self._going.setdefault(alarm.camera, set())
        (going.discard if alarm.phase == Phase.END else going.add)(alarm.id)
        self._deliver("events", json.dumps(alarm.record()))
        self._deliver(f"{alarm.camera}/alarm", self._alarm_of(alarm.camera), retain=True)

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """Publish score and state of each camera where they have changed; take leave of cameras that are gone."""
        if not self._client.is_connected():
            return
        names = [status.name for status in cameras]
        if names != self._cameras:
            new = [name for name in names if name not in self._cameras]
            self._cameras = names
            self._introduce(new)
        for status in cameras:
            for kind, value in (("score", f"{status.score:.4g}"), ("state", str(status.state))):
                topic = f"{status.name}/{kind}"
                if self._told.get(topic) != value:
                    self._told[topic] = value
                    self._publish(self._topic(topic), value)

    def close(self) -> None:
        """Say that it is offline, and disconnect."""
        if self._client.is_connected():
            with suppress(RuntimeError, ValueError):
                self._publish(self._topic("available"), OFFLINE).wait_for_publish(FAREWELL)
        self._client.disconnect()
        self._client.loop_stop()

    def _make_client(self) -> paho.Client:
        config = self._config
        try:
            config.host.encode("idna")
        except UnicodeError:
            raise InputError(f"mqtt: host {config.host!r} is no name; expected one such as 192.168.1.10") from None
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        if config.username:
            client.username_pw_set(config.username, config.password.get_secret_value() if config.password else None)
        if config.tls:
            client.tls_set_context(ssl.create_default_context())
        client.will_set(self._topic("available"), OFFLINE, 1, retain=True)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_connect_fail = self._unreachable
        client.reconnect_delay_set(1, 30)
        client.connect_timeout = 5.0
        return client

    def _deliver(self, topic: str, text: str, retain: bool = False) -> None:
        """Publish below the prefix, and wait until the broker has it."""
        if not self._client.is_connected():
            raise Retry("not connected to the broker", AGAIN)
        message = self._publish(self._topic(topic), text, retain)
        with suppress(RuntimeError, ValueError):  # the connection was lost just now
            message.wait_for_publish(TAKEN)
            if message.is_published():
                return
        raise Retry("the broker does not confirm", AGAIN)

    def _publish(self, topic: str, text: str, retain: bool = True) -> paho.MQTTMessageInfo:
        return self._client.publish(topic, text, 1, retain)

    def _topic(self, topic: str) -> str:
        return f"{self._config.prefix}/{topic}"

    def _alarm_of(self, camera: str) -> str:
        return "ON" if self._going.get(camera) else "OFF"

    def _introduce(self, cameras: Sequence[str]) -> None:
        """Make cameras known to the broker, and let it forget those that are not there any more."""
        kept = self._memory.content
        known = [str(name) for name in kept] if isinstance(kept, list) else []
        for gone in [name for name in known if name not in self._cameras]:
            self._going.pop(gone, None)
            for kind in ("alarm", "score", "state"):
                self._told.pop(f"{gone}/{kind}", None)
                self._publish(self._topic(f"{gone}/{kind}"), "")
            for topic in entities(self._config, gone):
                self._publish(topic, "")
        for camera in cameras:
            for topic, content in entities(self._config, camera).items():
                self._publish(topic, json.dumps(content))
            self._publish(self._topic(f"{camera}/alarm"), self._alarm_of(camera))
        if known != self._cameras:
            self._memory.write(self._cameras)

    def _say(self, level: int, text: str) -> None:
        """Tell what is wrong with the connection, once until it stands again."""
        if text != self._said:
            self._said = text
            log.log(level, "%s: %s", self.name, text)

    def _connected(self, _: paho.Client, __: Any, ___: Any, code: Any, ____: Any) -> None:
        if code.is_failure:
            self._say(logging.ERROR, f"refused ({code}); expected another username or password")
            return
        self._said = ""
        log.info("%s: connected", self.name)
        self._publish(self._topic("available"), ONLINE)
        self._told.clear()  # a broker may have forgotten everything
        self._introduce(self._cameras)

    def _disconnected(self, _: paho.Client, __: Any, ___: Any, code: Any, ____: Any) -> None:
        if code.is_failure and not self._said:
            self._say(logging.WARNING, f"lost ({code}); it is connected again")

    def _unreachable(self, _: paho.Client, __: Any) -> None:
        error = sys.exception()  # paho calls this while it handles it
        self._say(logging.WARNING, f"not reached ({reason(error) if error else 'no answer'}); it is tried again")
