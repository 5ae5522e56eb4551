"""What threads are worth: stages of the demo with one and with two, alone and beside a busy loop of lowest priority.

    PYTHONPATH=src:tests python -m benchmarks.busy results/benchmarks [--loop] [--only detect_objects ...]

In the repository, behind make demo. Each stage is run as the workflow runs it, its output in a temporary folder;
trainings end after one epoch of each phase. Seconds of the clock, and of the processor, its readers included. On two
processors, one foreign process may cost a stage of two threads half of its speed, and nothing that has one thread.
More threads than processors cannot be asked for: a stage takes no more (``vadistill.processors.cores``).
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.output import save

TARGETS = (
    "results/demo/frames/test/test_01.h5",
    "results/demo/motion/test/0.h5",
    "results/demo/detections/test/0.h5",
    "results/demo/frames/synthetic/train_02.misplaced.h5",
    "results/demo/teachers/background_agnostic/model.pt",
    "results/demo/teachers/multi_task/model.pt",
    "results/demo/teachers/flow_neighbours/model.pt",
    "results/demo/object_scores/background_agnostic/test/0.h5",
    "results/demo/object_scores/multi_task/test/0.h5",
    "results/demo/object_scores/flow_neighbours/test/0.h5",
    "results/demo/maps/multi_task/test/0.h5",
    "results/demo/student/distilled.pt",
    "results/demo/student/student.pt",
    "results/demo/student/scores/test.h5",
    "results/demo/auc.json",
)
LOOP = [sys.executable, "-c", "while True: pass"]
KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "4294967296"}  # as running.smk


def command_of(target: str, folder: Path) -> tuple[str, list[str]]:
    """Return the stage that makes a result, and the words that run it with its outputs in another folder."""
    asked = ["snakemake", "-n", "-p", "--nolock", "--cores", "2", "--force", target]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "python -m vadistill.stages." in line]
    parsed = [shlex.split(line.partition("python -m ")[2].partition(" 2>&1")[0]) for line in lines]
    words = next(words for words in parsed if target in words)
    written = [words[words.index(option) + 1] for option in ("--output", "--boxes") if option in words]
    # An option without a value is followed by the next option.
    words = [str(folder / Path(word).name) if word in written and word[:2] != "--" else word for word in words]
    words[words.index("--settings") + 1] = json.dumps(once(json.loads(words[words.index("--settings") + 1])))
    return words[0].rpartition(".")[2], [sys.executable, "-m", *words]


def once(settings: dict) -> dict:
    """Return settings of which every training has one epoch."""
    return {
        name: once(value) if isinstance(value, dict) else min(value, 1) if name.endswith("epochs") else value
        for name, value in settings.items()
    }


def seconds(words: list[str], threads: int, limit: float) -> tuple[float, float]:
    """Return how long a command takes with so many threads, by the clock and of the processor.

    After ``limit`` seconds of the clock it is ended.
    """
    number = str(threads)
    clean = {**os.environ, **KEEP_FREED, "OMP_NUM_THREADS": number, "OPENCV_FOR_THREADS_NUM": number}
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(words, env=clean, check=True, capture_output=True, timeout=limit)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - begun, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def beside_loop(words: list[str], threads: int, limit: float) -> float:
    """Return how long a command takes beside a busy loop, by the clock."""
    loop = subprocess.Popen(["nice", "-n", "19", *LOOP])
    try:
        return seconds(words, threads, limit)[0]
    finally:
        loop.kill()
        loop.wait()


def measured(target: str, threads: int, loop: bool, limit: float) -> dict:
    """Return the record of the stage that makes a result, with so many threads."""
    with tempfile.TemporaryDirectory() as name:
        stage, words = command_of(target, Path(name))
        clock, processor = seconds(words, threads, limit)
    row = {"stage": stage, "target": target, "threads": threads, "clock_s": clock, "processor_s": processor}
    if loop:
        with tempfile.TemporaryDirectory() as name:
            busy = beside_loop(command_of(target, Path(name))[1], threads, limit)
        row |= {"busy_s": busy, "times": busy / clock}
    return row


def main() -> None:
    """Measure every stage and write JSON."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path, help="of busy.json and its table")
    arguments.add_argument("--only", nargs="*", default=[""], help="parts of the results' paths, as score_objects")
    arguments.add_argument("--loop", action="store_true", help="each stage once more, beside a busy loop")
    arguments.add_argument("--limit", type=float, default=600, help="seconds of the clock after which a stage is ended")
    args = arguments.parse_args()
    rows = []
    for target in TARGETS:
        if any(part in target for part in args.only):
            for threads in range(1, (os.cpu_count() or 1) + 1):
                rows.append(measured(target, threads, args.loop, args.limit))
                print(json.dumps(rows[-1]), flush=True)
    save(args.folder, "busy", {"stages": rows})


if __name__ == "__main__":
    main()
