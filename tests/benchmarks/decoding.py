"""What a frame of a video costs until it is a BGR picture, beside OpenCV's reader, by turns, in processor seconds."""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from benchmarks.output import save

from vadistill.benchmark.timing import Spread, by_turns
from vadistill.io.media.video import frames_of, wanted_frames_of

FRAMES = 60
SIZES = ((360, 640), (1080, 1920))
CODECS = {"H.264": ("libx264", {"preset": "veryfast", "crf": "23"}),
          "HEVC": ("libx265", {"preset": "ultrafast", "crf": "26", "x265-params": "log-level=none"})}  # fmt: skip


def main(output: Path, films: list[Path], budget: float) -> None:
    """Measure generated films of 360p and 1080p, and others that are given; the first 60 frames of each.

    Args:
        output: Folder of the table.
        films: Video files.
        budget: Processor seconds for each number.
    """
    with tempfile.TemporaryDirectory() as folder:
        generated = [generated_film(Path(folder), size, codec) for size in SIZES for codec in CODECS]
        save(output, "decoding", {"rates": [row for film in [*generated, *films] for row in _rows(film, budget)]})


def _rows(film: Path, budget: float) -> list[dict[str, Any]]:
    readers = {
        "vadistill": frames_of,
        "vadistill, nobody looks": partial(wanted_frames_of, wanted=lambda t: t == 0),
        "opencv": _by_opencv,
    }
    tasks = {name: partial(_count, reader, film) for name, reader in readers.items()}
    frames = {task() for task in tasks.values()}
    assert len(frames) == 1, f"{film}: the readers give {sorted(frames)} frames"
    milliseconds = {
        name: 1000 * taken / max(frames) for name, taken in by_turns(tasks, budget, time.process_time).items()
    }
    return [
        {"film": film.name, "reader": name, "milliseconds": spread.median, "low": spread.low, "high": spread.high,
         "times_opencv": Spread.of(taken / milliseconds["opencv"]).median, "runs": len(taken)}
        for name, taken in milliseconds.items() for spread in [Spread.of(taken)]
    ]  # fmt: skip


def _count(reader, film: Path) -> int:
    return sum(1 for _ in islice(reader(film), FRAMES))


def _by_opencv(film: Path) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(film), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    while (given := capture.read())[0]:
        yield given[1]


def generated_film(folder: Path, size: tuple[int, int], codec: str) -> Path:
    """Write a generated film in one thread."""
    path, (name, options) = folder / f"{codec}, {size[1]}x{size[0]}.mp4", CODECS[codec]
    with av.open(str(path), "w") as film:
        stream = film.add_stream(name, rate=25, options=options)
        stream.height, stream.width = size
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
        for frame in _noisy_frames(size):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        film.mux(stream.encode())
    return path


def _noisy_frames(size: tuple[int, int]) -> Iterator[np.ndarray]:
    """A coarse picture that moves, with noise as of a camera; one noise moved about, since drawing it takes long."""
    rng = np.random.default_rng(0)
    height, width = size
    picture = cv2.resize(rng.integers(0, 255, (20, 48, 3), np.uint8), (width + 2 * FRAMES, height))
    noise = rng.normal(0, 4, (*size, 3)).astype(np.int8)
    for t in range(FRAMES):
        frame = picture[:, 2 * t : 2 * t + width].astype(np.int16) + np.roll(noise, 97 * t, (0, 1)[t % 2])
        yield np.clip(frame, 0, 255).astype(np.uint8)
