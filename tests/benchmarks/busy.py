"""How much longer do stages take beside a busy loop of the lowest priority, with one thread and with all?

    PYTHONPATH=src:tests python -m benchmarks.busy results/benchmarks        (in the repository, behind make demo)

Each stage is run as the workflow runs it, its output in a temporary folder: idle, then beside the loop. On two
processors, one foreign process may cost a stage of two threads half of its speed, and nothing that has one thread.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.output import save

TARGETS = (
    "results/demo/detections/test/0.h5",
    "results/demo/teachers/multi_task/model.pt",
    "results/demo/object_scores/multi_task/test/0.h5",
    "results/demo/student/scores/test.h5",
)
LOOP = [sys.executable, "-c", "while True: pass"]


def command_of(target: str, folder: Path) -> tuple[str, list[str]]:
    """Return the stage that makes a result, and the words that run it with its output in another folder."""
    asked = ["snakemake", "-n", "-p", "--nolock", "--cores", "2", "--force", target]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    line = next(line for line in (done.stdout + done.stderr).splitlines() if "python -m vadistill.stages." in line)
    words = shlex.split(line.partition("python -m ")[2].partition(" 2>&1")[0])
    stage = words[0].rpartition(".")[2]
    return stage, [sys.executable, "-m", *(str(folder / Path(word).name) if word == target else word for word in words)]


def seconds(words: list[str], threads: int) -> float:
    """Return how long a command takes with so many threads."""
    number = str(threads)
    clean = {**os.environ, "OMP_NUM_THREADS": number, "OPENCV_FOR_THREADS_NUM": number}
    begun = time.monotonic()
    subprocess.run(words, env=clean, check=True, capture_output=True)
    return time.monotonic() - begun


def beside_loop(words: list[str], threads: int) -> float:
    """Return how long a command takes beside a busy loop."""
    loop = subprocess.Popen(["nice", "-n", "19", *LOOP])
    try:
        return seconds(words, threads)
    finally:
        loop.kill()
        loop.wait()


def main() -> None:
    """Measure every stage and write JSON."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path, help="of busy.json and its table")
    args = arguments.parse_args()
    rows = []
    for target in TARGETS:
        for threads in (1, os.cpu_count() or 1):
            with tempfile.TemporaryDirectory() as name:
                stage, words = command_of(target, Path(name))
                idle = seconds(words, threads)
            with tempfile.TemporaryDirectory() as name:
                busy = beside_loop(command_of(target, Path(name))[1], threads)
            rows.append({"stage": stage, "threads": threads, "idle_s": idle, "busy_s": busy, "times": busy / idle})
            print(json.dumps(rows[-1]), flush=True)
    save(args.folder, "busy", {"stages": rows})


if __name__ == "__main__":
    main()
