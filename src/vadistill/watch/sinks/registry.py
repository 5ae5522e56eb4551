"""All kinds of sinks by name."""

from collections.abc import Callable
from typing import Any

from vadistill.extras import extra
from vadistill.watch.config import WatchConfig
from vadistill.watch.sinks.base import SinkThread
from vadistill.watch.sinks.frigate import FrigateSink
from vadistill.watch.sinks.json_lines import JsonLinesSink
from vadistill.watch.sinks.webhook import WebhookSink


def _mqtt(config: Any, cameras: list[str]) -> Any:
    with extra("watch"):
        from vadistill.watch.sinks.mqtt import MqttSink

    return MqttSink(config, cameras)


MAKERS: dict[str, Callable[[Any, list[str]], Any]] = {
    "json_lines": lambda config, _: JsonLinesSink(config),
    "webhook": lambda config, _: WebhookSink(config),
    "frigate": lambda config, _: FrigateSink(config),
    "mqtt": _mqtt,
}


def make_sinks(config: WatchConfig) -> list[SinkThread]:
    """Return a thread for each sink of a file, not started yet.

    Raises:
        InputError: One cannot be used.
    """
    return [SinkThread(MAKERS[sink.kind](sink, list(config.cameras))) for sink in config.sinks]
