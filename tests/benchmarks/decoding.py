"""How fast videos are decoded to BGR frames, beside OpenCV's reader, by turns."""

import tempfile
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from benchmarks.output import save

from vadistill.benchmark.timing import Spread, by_turns
from vadistill.io.media.video import frames_of
from vadistill.io.mp4 import write_mp4

FRAMES, SIZE, THREADS = 300, (1080, 1920), (1, 2)


def main(output: Path, films: list[Path], budget: float) -> None:
    """Measure a generated H.264 film of 1080p and others that are given; the first 300 frames of each.

    Args:
        output: Folder of the table.
        films: Video files.
        budget: Seconds for each number.
    """
    with tempfile.TemporaryDirectory() as folder:
        generated = Path(folder) / "1080p.mp4"
        write_mp4(generated, _noisy_frames(), 25)
        save(output, "decoding", {"rates": [row for film in [generated, *films] for row in _rows(film, budget)]})


def _rows(film: Path, budget: float) -> list[dict[str, Any]]:
    readers = {"vadistill": frames_of, "opencv": _by_opencv}
    tasks = {(name, n): partial(_count, reader, film, n) for n in THREADS for name, reader in readers.items()}
    frames = {task() for task in tasks.values()}
    assert len(frames) == 1, f"{film}: the readers give {sorted(frames)} frames"
    seconds = by_turns(tasks, budget)
    rates = {task: frames.copy().pop() / taken for task, taken in seconds.items()}
    return [
        {"film": film.name, "reader": name, "threads": n, "frames_per_second": spread.median, "low": spread.low,
         "high": spread.high, "times_opencv": Spread.of(rates[name, n] / rates["opencv", n]).median, "runs": len(taken)}
        for (name, n), taken in rates.items() for spread in [Spread.of(taken)]
    ]  # fmt: skip


def _count(reader, film: Path, threads: int) -> int:
    return sum(1 for _ in islice(reader(film, threads), FRAMES))


def _by_opencv(film: Path, threads: int):
    capture = cv2.VideoCapture(str(film), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    while (given := capture.read())[0]:
        yield given[1]


def _noisy_frames():
    """A coarse picture that moves, with noise as of a camera; one noise moved about, since drawing it takes long."""
    rng = np.random.default_rng(0)
    height, width = SIZE
    picture = cv2.resize(rng.integers(0, 255, (20, 48, 3), np.uint8), (width + 2 * FRAMES, height))
    noise = rng.normal(0, 4, (*SIZE, 3)).astype(np.int8)
    for t in range(FRAMES):
        frame = picture[:, 2 * t : 2 * t + width].astype(np.int16) + np.roll(noise, 97 * t, (0, 1)[t % 2])
        yield np.clip(frame, 0, 255).astype(np.uint8)
