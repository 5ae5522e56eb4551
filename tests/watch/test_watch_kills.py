"""Killed at any moment, a watch's storage is readable, and nothing that was said to be saved is lost."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time

import av
import pytest

from vadistill.watch.store import Store

pytestmark = pytest.mark.slow  # real servers and processes
WRITER = """
import sys, time
from dataclasses import replace
import numpy as np
from vadistill.watch.alarm import Alarm, Phase
from vadistill.watch.clips import ClipRecorder, ClipWriter
from vadistill.watch.config import CameraConfig
from vadistill.watch.store import Store
folder, first = sys.argv[1], int(sys.argv[2])
store = Store(folder)
writer = ClipWriter(store)
config = CameraConfig.model_validate({"source": {"kind": "file", "path": "x"}, "pre_roll": 1, "post_roll": 0})
recorder, rng = ClipRecorder(config, writer), np.random.default_rng(first)
picture = rng.integers(0, 256, (120, 160, 3), np.uint8)
print("ready", flush=True)
for number in range(first, first + 10**6):
    alarm = Alarm(id=f"a{number}", camera="yard", zone="", phase=Phase.START, start=float(number), end=None,
                  peak=float(number), score=0.5, threshold=0.4, box=(0, 0, 1, 1))
    for phase in (Phase.START, Phase.UPDATE, Phase.END):
        moment = number + 0.1 * list(Phase).index(phase)
        recorder.add(moment, picture, 0.5)
        store.add_scores("yard", [moment], [0.5])
        one = writer.with_paths(replace(alarm, phase=phase, end=moment if phase == Phase.END else None))
        store.save(one)
        print(one.id, phase, flush=True)
        if phase == Phase.START:
            recorder.start(one)
            recorder.snapshot(one, picture, np.eye(4, dtype=np.float32))
        if phase == Phase.END:
            recorder.end(one)
"""


def kills(folder, count, seed):
    rng, number = random.Random(seed), 0
    for _ in range(count):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, folder, str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(rng.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=30)
        # A line that was cut off itself says nothing.
        saved = dict(line.split() for line in said.splitlines(keepends=True) if line.endswith("\n"))
        with sqlite3.connect(folder / "watch.db") as database:
            assert database.execute("pragma integrity_check").fetchone()[0] == "ok"
        database.close()
        store = Store(folder)
        order = ["start", "update", "end"]
        for name, phase in saved.items():
            assert order.index(store.alarm(name)["phase"]) >= order.index(phase), name
        store.close_open(time.time())
        assert all(one["phase"] == "end" for one in store.alarms(limit=10**6)), json.dumps(saved)
        number += len(saved) + 1
        store.close()
    whole = 0
    for clip in (folder / "clips").glob("[!.]*.mp4"):
        with av.open(str(clip)) as film:
            assert len(list(film.decode(video=0))) >= 1
        whole += 1
    return number, whole


def test_ten_kills(tmp_path):
    saved, whole = kills(tmp_path, 10, 0)
    assert saved > 20 and whole > 0


@pytest.mark.workflow
def test_a_hundred_kills(tmp_path):
    saved, whole = kills(tmp_path, 100, 1)
    assert saved > 200 and whole > 10
