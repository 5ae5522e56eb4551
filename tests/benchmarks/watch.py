"""How many cameras does ``vadistill watch`` follow on this machine, and how late are its alarms?

    PYTHONPATH=src:tests python -m benchmarks.watch starter results/watch.json --cameras 4,8,16,32

A generated film of 640x360 pixels and 25 frames a second, H.264, is served as so many RTSP streams by GStreamer
(Debian: python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad) on the same cores;
the server's share is told beside the watch's own. With ``--kills`` the server is killed and started again so often
after the measurement, with ``--kill-every`` during it: ``--cameras 4 --seconds 7200 --kill-every 100`` is a soak.
``--detector`` times an ONNX detector of 80 classes, 640x384, on the same cores: how many cameras it would follow.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import yaml
from films import write_film
from live_sources import PYTHON, RTSP, free_port, listens, until

import vadistill
from vadistill.datasets.demo.clips import make_clip
from vadistill.evaluation.metrics import smooth
from vadistill.processors import cores
from vadistill.settings import DemoConfig
from vadistill.watch.alarm import CameraState
from vadistill.watch.app import Watch

RAW = {"preset": "veryfast", "g": "50", "bf": "0", "aud": "1"}
NEVER = 1e6  # a threshold
RATE = 25  # frames a second of the film
TICKS = os.sysconf("SC_CLK_TCK")


def film_of(folder: Path, frames: int) -> Path:
    """Write the film: a scene with an anomaly now and then, so that alarms come."""
    settings = replace(DemoConfig(), height=360, width=640, frames=frames)
    clip = make_clip(settings, "test", "test_04")
    return write_film(folder / "film.h264", "libx264", [clip.frame(t)[0] for t in range(frames)], options=RAW)


def seconds_of(pid: str, task: str = "") -> float:
    """Return the processor seconds of a process, or of one of its threads."""
    words = Path(f"/proc/{pid}/{f'task/{task}/' if task else ''}stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def by_kind() -> dict[str, float]:
    """Return the processor seconds of this process so far, by kind of thread."""
    names = {str(thread.native_id): thread.name.partition(" of ")[0] for thread in threading.enumerate()}
    found: dict[str, float] = defaultdict(float)
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            found[names.get(task, "network (threads of the runtime)")] += seconds_of("self", task)
    return found


def memory() -> float:
    """Return the resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


class Server:
    """The RTSP server, which can be killed and started again."""

    def __init__(self, film: Path, cameras: int) -> None:
        self.port, self.film, self.cameras, self.kills = free_port(), film, cameras, 0
        self.start()

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.process = subprocess.Popen([PYTHON, RTSP, str(self.port), str(self.film), str(self.cameras)])
        until(lambda: listens(self.port))

    def stop(self) -> None:
        """Kill it, as by the power switch."""
        self.process.kill()
        self.process.wait()

    def kill(self) -> None:
        """Kill it and start it again a second later."""
        self.stop()
        time.sleep(1.0)
        self.start()
        self.kills += 1

    def seconds(self) -> float:
        """Return its processor seconds since it was started last."""
        return seconds_of(str(self.process.pid))


def measured(watch: Watch, server: Server, lines: Path, seconds: float, kill_every: float = np.inf) -> dict:
    """Watch for some seconds and return the rates of all cameras together."""
    before, kinds, serving = [replace_counts(one) for one in watch.cameras()], by_kind(), server.seconds()
    # What grows here counts as the watch's memory: a list of floats would take four times as much.
    begun, latencies, told, memories = time.monotonic(), array("d"), array("d"), array("d", [memory()])
    read = lines.stat().st_size
    kills = server.kills
    while time.monotonic() - begun < seconds:
        time.sleep(0.2)
        if time.monotonic() - begun > kill_every * (server.kills - kills + 1):
            server.kill()
            print(f"{time.monotonic() - begun:.0f} s: kill {server.kills}, {memory():.0f} MB", flush=True)
        latencies.extend(one.latency for one in watch.cameras())
        with lines.open() as file:
            file.seek(read)
            text = file.read()
        read += len(text)
        starts = [json.loads(line) for line in text.splitlines() if '"start"' in line and '"phase": "start"' in line]
        told.extend(time.time() - alarm["start"] for alarm in starts)
        memories.append(memory())
    took = time.monotonic() - begun
    after = [replace_counts(one) for one in watch.cameras()]
    total = {name: sum(b[name] - a[name] for a, b in zip(before, after, strict=True)) for name in before[0]}
    slowest = min(b["frames_analysed"] - a["frames_analysed"] for a, b in zip(before, after, strict=True))
    shares = {name: (value - kinds[name]) / took for name, value in by_kind().items()}
    return {
        "seconds": took,
        "streams_killed": (server.kills - kills) * server.cameras,
        "live": sum(one.state == CameraState.LIVE for one in watch.cameras()),
        **{f"{name}_per_second": value / took for name, value in total.items()},
        "analysed_per_second_of_slowest": slowest / took,
        "latency_p95": float(np.percentile(latencies, 95)),
        "alarms": len(told),
        "frame_to_alarm_p95": float(np.percentile(told, 95)) if told else None,
        "cores": {name: round(value, 3) for name, value in sorted(shares.items(), key=lambda pair: -pair[1])},
        "cores_of_server": (server.seconds() - serving) / took if server.kills == kills else None,
        "memory_mb": [round(min(memories)), round(max(memories))],
        "memory_mb_of_quarters": [round(float(np.median(part))) for part in np.array_split(memories, 4)],
    }  # fmt: skip


def replace_counts(status) -> dict[str, int]:
    """Return the counters of a camera as they are now."""
    return {name: getattr(status, name) for name in ("frames_in", "frames_analysed", "frames_dropped")}


def passed_now_and_then(model: Path, film: Path) -> float:
    """Return a smoothed score that a tenth of the film's frames pass, by windows as live ones are."""
    made = vadistill.load(model).score(film, match_rate=True)
    return float(np.quantile(smooth(made.score, 0.8 * RATE), 0.9))


def detector_rate(path: Path, seconds: float) -> float:
    """Return how many frames a second an ONNX detector takes on all cores, the network alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    frames = np.random.default_rng(0).random((1, 3, 384, 640), np.float32)
    name, count, begun = session.get_inputs()[0].name, 0, time.monotonic()
    while time.monotonic() - begun < seconds:
        session.run(None, {name: frames})
        count += 1
    return count / (time.monotonic() - begun)


def run(args: argparse.Namespace, folder: Path, film: Path, cameras: int, rate: float) -> dict:
    """Watch so many cameras at a rate."""
    server, lines = Server(film, cameras), folder / f"alarms_{cameras}_{rate:g}.jsonl"
    sources = [{"kind": "rtsp", "url": f"rtsp://127.0.0.1:{server.port}/{n}"} for n in range(cameras)]
    thresholds = [args.threshold if n < args.alarming else NEVER for n in range(cameras)]
    content = {
        "model": str(args.model),
        "storage": {"path": str(folder / f"kept_{cameras}_{rate:g}")},
        "web": {"port": 0},
        "sinks": [{"kind": "json_lines", "path": str(lines)}],
        "cameras": {
            f"camera_{n}": {"source": source, "rate": rate, "threshold": threshold}
            for n, (source, threshold) in enumerate(zip(sources, thresholds, strict=True))
        },
    }
    path = folder / "cameras.yaml"
    path.write_text(yaml.safe_dump(content))
    watch, over = Watch(path), threading.Event()
    watch.start()
    thread = threading.Thread(target=watch.run, args=(over,), name="application")
    thread.start()
    try:
        until(lambda: all(one.frames_analysed > 3 for one in watch.cameras()), 120)
        time.sleep(args.warm)
        made = {"cameras": cameras, "rate": rate, **measured(watch, server, lines, args.seconds, args.kill_every)}
        for kill in range(args.kills):
            server.kill()
            before = [one.frames_in for one in watch.cameras()]
            until(lambda b=before: all(one.frames_in > n + 5 for one, n in zip(watch.cameras(), b, strict=True)), 120)
            print(f"kill {kill + 1}: all {cameras} cameras are back, {memory():.0f} MB", flush=True)
        if args.kills:
            made["after_kills"] = measured(watch, server, lines, args.seconds)
        return made
    finally:
        over.set()
        thread.join()
        watch.stop()
        server.stop()


def described() -> dict:
    """Return the machine; with torch, which is not to count as the watch's memory before."""
    import torch

    from vadistill.benchmark.machine_peak import describe_machine

    return describe_machine(torch.device("cpu"), cores())


def main() -> None:
    """Measure every number of cameras and write JSON."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", type=Path)
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--cameras", default="4,8,16,32")
    arguments.add_argument("--rates", default="5")
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--warm", type=float, default=10, help="seconds before")
    arguments.add_argument("--threshold", type=float, help="by default one that the film passes in a tenth of its time")
    arguments.add_argument("--alarming", type=int, default=4, help="cameras that have alarms, one every ten seconds")
    arguments.add_argument("--kills", type=int, default=0)
    arguments.add_argument("--kill-every", type=float, default=np.inf, help="seconds")
    arguments.add_argument("--detector", type=Path)
    args = arguments.parse_args()
    made: dict = {
        "command": " ".join(sys.argv[1:]),
        "rows": [],
    }
    with tempfile.TemporaryDirectory() as name:
        film = film_of(Path(name), 250)
        if args.threshold is None:
            args.threshold = passed_now_and_then(args.model, film)
        rates = [float(rate) for rate in args.rates.split(",")]
        for cameras, rate in chain.from_iterable(
            zip(map(int, args.cameras.split(",")), repeat(rate)) for rate in rates
        ):
            made["rows"].append(row := run(args, Path(name), film, cameras, rate))
            print(json.dumps(row), flush=True)
            args.output.write_text(json.dumps(made, indent=2))
    if args.detector:
        made["detector_frames_per_second"] = detector_rate(args.detector, 20)
        print(made["detector_frames_per_second"])
    made["machine"] = described()
    args.output.write_text(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
