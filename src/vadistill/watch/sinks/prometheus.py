"""What Prometheus reads of a watch."""

import time
from collections.abc import Iterator, Sequence

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vadistill.watch.alarm import CameraState, CameraStatus
from vadistill.watch.sinks.base import SinkThread

QUANTILES = (0.5, 0.9, 0.99)
COUNTERS = {
    "frames_in": "Frames that came.",
    "frames_analysed": "Frames that were scored.",
    "frames_dropped": "Frames that were due and gave way to newer ones.",
    "reconnects": "How often the camera was connected again.",
    "alarms": "Alarms that have begun.",
}


class _Watch(Collector):
    def __init__(self, cameras: Sequence[CameraStatus], sinks: Sequence[SinkThread]) -> None:
        self._cameras, self._sinks = cameras, sinks

    def collect(self) -> Iterator[Metric]:
        for name, text in COUNTERS.items():
            counter = CounterMetricFamily(f"vadistill_{name}", text, labels=["camera"])
            for status in self._cameras:
                counter.add_metric([status.name], getattr(status, name))
            yield counter
        now = time.time()
        gauges = {
            "last_frame_age_seconds": ("Seconds since the last frame.", lambda one: now - one.last_frame),
            "latency_seconds": ("Seconds from a frame's coming to its score.", lambda one: one.latency),
            "score": ("Last smoothed score.", lambda one: one.score),
        }
        for name, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(f"vadistill_{name}", text, labels=["camera"])
            for status in self._cameras:
                if status.last_frame:
                    gauge.add_metric([status.name], value(status))
            yield gauge
        quantiles = GaugeMetricFamily(
            "vadistill_score_quantile", "Quantiles of the last raw scores.", labels=["camera", "quantile"]
        )
        states = GaugeMetricFamily("vadistill_state", "1 for the state of the camera.", labels=["camera", "state"])
        for status in self._cameras:
            if status.recent:
                for quantile, value in zip(QUANTILES, np.quantile(status.recent, QUANTILES), strict=True):
                    quantiles.add_metric([status.name, f"{quantile:g}"], float(value))
            for state in CameraState:
                states.add_metric([status.name, str(state)], float(status.state == state))
        yield quantiles
        yield states
        for name in ("sent", "failed", "lost"):
            counter = CounterMetricFamily(f"vadistill_sink_{name}", f"Phases of alarms: {name}.", labels=["sink"])
            for sink in self._sinks:
                counter.add_metric([sink.sink.name], getattr(sink, name))
            yield counter
        waiting = GaugeMetricFamily("vadistill_sink_waiting", "Phases of alarms: waiting.", labels=["sink"])
        for sink in self._sinks:
            waiting.add_metric([sink.sink.name], sink.waiting)
        yield waiting


def metrics(cameras: Sequence[CameraStatus], sinks: Sequence[SinkThread]) -> bytes:
    """Return the states of cameras and sinks in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Watch(cameras, sinks))
    return generate_latest(registry)
