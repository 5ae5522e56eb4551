"""What a second of a camera costs in a watch, part by part, the network left out: ``python -m benchmarks.camera``."""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from benchmarks.decoding import CODECS, FRAMES, SIZES, generated_film
from benchmarks.output import save

from vadistill.benchmark.timing import by_turns
from vadistill.watch.config import File
from vadistill.watch.stream import Frame, frames_of
from vadistill.watch.windows import WindowMaker

INPUT, OFFSETS, STEP, RATE, CAMERA = (160, 240), (-3, 0, 3), 0.12, 5.0, 25  # of the student, and frames a second
ROUNDS = 3  # of the film, one behind the other
FLOWS = ("none", "fast", "medium")


def watched(film: Path, until: str, flow: str = "none") -> tuple[int, int]:
    """Follow a film as a camera up to a part, and return how many frames were wanted, and windows made."""
    size = INPUT if until == "windows" else (1, 1)
    maker, wanted, windows, nothing = WindowMaker(size, OFFSETS, STEP, RATE, flow), 0, 0, np.zeros((1, 1, 3), np.uint8)
    for seconds, frame in _frames(film):
        if maker.wants(seconds):
            wanted += 1
            picture = nothing if until == "decoding" else frame.image
            windows += len(maker.take(seconds, seconds, picture if until == "windows" else nothing))
    return wanted, windows


def _frames(film: Path) -> Iterator[tuple[float, Frame]]:
    for turn in range(ROUNDS):
        for t, frame in enumerate(frames_of(File(kind="file", path=film, real_time=False), threading.Event())):
            yield (turn * FRAMES + t) / CAMERA, frame


def row_of(film: Path, budget: float) -> dict:
    """Return the milliseconds of processor time a second of a camera."""
    tasks = {"decoding": lambda: watched(film, "decoding"), "converting": lambda: watched(film, "converting")}
    for flow in FLOWS:
        tasks[flow] = lambda flow=flow: watched(film, "windows", flow)
    length = ROUNDS * FRAMES / CAMERA
    took = {name: 1000 * float(np.median(s)) / length for name, s in by_turns(tasks, budget, time.process_time).items()}
    flows = {f"flow: {flow}": took[flow] - took["none"] for flow in FLOWS[1:]}
    wanted, _ = watched(film, "decoding")
    _, windows = tasks["none"]()
    return {
        "film": film.stem,
        "wanted_per_second": wanted / length,
        "windows_per_second": windows / length,
        "decoding": took["decoding"],
        "converting": took["converting"] - took["decoding"],
        "resizing": took["none"] - took["converting"],
        **flows,
    }


def main() -> None:
    """Measure generated films of 360p and 1080p."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--budget", type=float, default=2.0, help="processor seconds for each number")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        films = [generated_film(Path(folder), size, codec) for size in SIZES for codec in CODECS]
        save(given.output, "camera", {"parts": [row_of(film, given.budget) for film in films]})


if __name__ == "__main__":
    main()
