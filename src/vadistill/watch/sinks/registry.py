"""All kinds of sinks by name."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vadistill.extras import extra
from vadistill.watch.config import WatchConfig
from vadistill.watch.sinks.base import SinkThread
from vadistill.watch.sinks.frigate import FrigateSink
from vadistill.watch.sinks.json_lines import JsonLinesSink
from vadistill.watch.sinks.webhook import WebhookSink


def _mqtt(config: Any, cameras: list[str], storage: Path | None) -> Any:
    with extra("watch"):
        from vadistill.watch.sinks.mqtt import MqttSink

    return MqttSink(config, cameras, storage)


# Of the sink's part of the file, the names of all cameras, and the storage folder.
MAKERS: dict[str, Callable[[Any, list[str], Path | None], Any]] = {
    "json_lines": lambda config, *_: JsonLinesSink(config),
    "webhook": lambda config, *_: WebhookSink(config),
    "frigate": lambda config, _, storage: FrigateSink(config, storage),
    "mqtt": _mqtt,
}


def make_sinks(config: WatchConfig, storage: Path | None = None) -> list[SinkThread]:
    """Return a thread for each sink of a file, not started yet.

    Args:
        config: The file.
        storage: Folder in which sinks keep what they must know after a restart; None: they forget it.

    Raises:
        InputError: One cannot be used.
    """
    threads, names = [], Counter[str]()
    for part in config.sinks:
        sink = MAKERS[part.kind](part, list(config.cameras), storage)
        names[sink.name] += 1
        if names[sink.name] > 1:  # two addresses may differ in their secret parts alone
            sink.name += f" ({names[sink.name]})"
        threads.append(SinkThread(sink))
    return threads
