"""Alarms and states by MQTT, with Home Assistant's discovery."""

import json
import logging
import ssl
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from vadistill import __version__
from vadistill.watch.alarm import Alarm, CameraState, CameraStatus, Phase
from vadistill.watch.config import Mqtt
from vadistill.watch.sinks.base import Retry

log = logging.getLogger(__name__)
ONLINE, OFFLINE = "online", "offline"
TAKEN = 5.0  # seconds within which the broker confirms


class MqttSink:
    """Keeps a connection, and publishes with QoS 1.

    Topics below the prefix: ``available`` (online, offline; the last will), ``events`` (the JSON of each phase), and of
    each camera ``<camera>/alarm`` (ON, OFF), ``<camera>/score``, ``<camera>/state``.

    Args:
        config: Its part of the file.
        cameras: Names of all cameras.
    """

    tries = 20

    def __init__(self, config: Mqtt, cameras: Sequence[str]) -> None:
        self.name = f"mqtt {config.host}:{config.port}"
        self._config, self._cameras = config, list(cameras)
        self._going: dict[str, set[str]] = {camera: set() for camera in cameras}
        self._told: dict[str, str] = {}
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        if config.username:
            password = config.password.get_secret_value() if config.password else None
            client.username_pw_set(config.username, password)
        if config.tls:
            client.tls_set_context(ssl.create_default_context())
        client.will_set(self._topic("available"), OFFLINE, 1, retain=True)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.reconnect_delay_set(1, 30)
        client.connect_async(config.host, config.port, keepalive=30)
        client.loop_start()
        self._client = client

    def send(self, alarm: Alarm) -> None:
        """Publish a phase, and whether the camera has an alarm.

        Raises:
            Retry: The broker does not take it.
        """
        going = self._going.setdefault(alarm.camera, set())
        (going.discard if alarm.phase == Phase.END else going.add)(alarm.id)
        self._publish("events", json.dumps(alarm.record()))
        self._publish(f"{alarm.camera}/alarm", "ON" if going else "OFF", retain=True)

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """Publish score and state of each camera where they have changed; take leave of cameras that are gone."""
        if not self._client.is_connected():
            return
        names = [status.name for status in cameras]
        for gone in [name for name in self._cameras if name not in names]:
            for topic, _ in self._discovery(gone):
                self._client.publish(topic, "", 1, retain=True)
        for new in [name for name in names if name not in self._cameras]:
            self._introduce(new)
        self._cameras = names
        for status in cameras:
            for kind, value in (("score", f"{status.score:.4g}"), ("state", str(status.state))):
                topic = self._topic(f"{status.name}/{kind}")
                if self._told.get(topic) != value:
                    self._told[topic] = value
                    self._client.publish(topic, value, 0, retain=kind == "state")

    def close(self) -> None:
        """Say that it is offline, and disconnect."""
        if self._client.is_connected():
            self._client.publish(self._topic("available"), OFFLINE, 1, retain=True).wait_for_publish(TAKEN)
        self._client.disconnect()
        self._client.loop_stop()

    def _publish(self, topic: str, text: str, retain: bool = False) -> None:
        if not self._client.is_connected():
            raise Retry("not connected to the broker")
        message = self._client.publish(self._topic(topic), text, 1, retain)
        try:
            message.wait_for_publish(TAKEN)
        except (RuntimeError, ValueError) as error:
            raise Retry(f"not taken ({error})") from None
        if not message.is_published():
            raise Retry(f"not confirmed within {TAKEN:g} seconds")

    def _topic(self, topic: str) -> str:
        return f"{self._config.prefix}/{topic}"

    def _connected(self, client: paho.Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if reason.is_failure:
            log.error("%s: refused (%s); expected another username or password", self.name, reason)
            return
        log.info("%s: connected", self.name)
        client.publish(self._topic("available"), ONLINE, 1, retain=True)
        self._told.clear()
        for camera in self._cameras:
            self._introduce(camera)
            client.publish(self._topic(f"{camera}/alarm"), "ON" if self._going.get(camera) else "OFF", 1, retain=True)

    def _disconnected(self, _: paho.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            log.warning("%s: lost (%s); it is connected again", self.name, reason)

    def _introduce(self, camera: str) -> None:
        for topic, content in self._discovery(camera):
            self._client.publish(topic, json.dumps(content), 1, retain=True)

    def _discovery(self, camera: str) -> list[tuple[str, dict[str, Any]]]:
        """Return topic and content of what Home Assistant makes a camera's entities of."""
        if self._config.discovery is None:
            return []
        made = f"vadistill_{camera}"
        shared = {
            "availability_topic": self._topic("available"),
            "device": {
                "identifiers": [made], "name": f"vadistill {camera}", "manufacturer": "vadistill",
                "model": "video anomaly detector", "sw_version": __version__,
            },
        }  # fmt: skip
        entities: list[tuple[str, str, dict[str, Any]]] = [
            ("binary_sensor", "alarm", {"name": "Alarm", "device_class": "motion"}),
            ("sensor", "score", {"name": "Score", "state_class": "measurement"}),
            ("binary_sensor", "state", {
                "name": "Camera", "device_class": "connectivity", "payload_on": str(CameraState.LIVE),
                "payload_off": str(CameraState.DEAD),
            }),
        ]  # fmt: skip
        return [
            (
                f"{self._config.discovery}/{component}/{made}/{kind}/config",
                {**content, "unique_id": f"{made}_{kind}", "state_topic": self._topic(f"{camera}/{kind}"), **shared},
            )
            for component, kind, content in entities
        ]
