"""How fast a student is on this machine, backend beside backend, against the official layout in eager fp32."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vadistill.data.video import frames_of
from vadistill.inference.backend import Backend
from vadistill.inference.costs import Cost
from vadistill.inference.machine_peak import KINDS, Peak, synchronised
from vadistill.inference.memory import peak_memory, random_windows
from vadistill.inference.stream import StreamTimes, assemble, score_video
from vadistill.inference.timing import Spread, by_turns

log = logging.getLogger(__name__)
BATCHES = (1, 8, 32, 64)
FILM = 128  # frames of a film that are scored at once, if it has so many


@dataclass(frozen=True)
class Racer:
    """A backend to be timed.

    Attributes:
        load: Returns it; known by name to other processes.
        cost: Of its student.
    """

    load: Callable[[], Backend]
    cost: Cost


@dataclass
class FilmRun:
    """One pass over the first frames of a film, from the file to scores; ``times`` are those of the last pass."""

    backend: Backend
    film: Path
    batch: int
    batches: int
    decoders: int = 1
    times: StreamTimes | None = None

    def __call__(self) -> None:
        """Score the film."""
        self.times = StreamTimes()
        with closing(score_video(self.film, self.backend, self.batch, self.times, self.decoders)) as scores:
            for _ in islice(scores, self.batches):
                pass


def benchmark(
    racers: Mapping[str, Racer],
    film: Path,
    peak: Peak,
    official: str,
    own: str,
    batches: Sequence[int] = BATCHES,
    budget: float = 5.0,
    film_frames: int = FILM,
    decoders: int = 1,
    memory: Callable[[Callable[[], Backend], Sequence[int]], list[int]] = peak_memory,
    timed: Callable[..., dict[str, np.ndarray]] = by_turns,
) -> list[dict[str, Any]]:
    """Return a table of frames a second, a record a part, batch and racer.

    The parts are ``network`` (a batch of windows in memory to scores), ``frames`` (decoded frames are resized and
    assembled before, one after the other) and ``film`` (a file is decoded, too, all of it side by side).

    Args:
        racers: What is timed, by name; the precision stands behind the name's last hyphen.
        film: A video file.
        peak: Of the machine.
        official: Name of the first baseline, the official layout in eager fp32.
        own: Name of the second baseline, the racers' own student in eager fp32.
        batches: Frames of a batch.
        budget: Seconds for each record, though at least five runs are timed.
        film_frames: Frames of the film that are scored at most, but for one batch at least.
        decoders: Threads that decode the film.
        memory: Measures the peaks in bytes of a process with one racer, for each batch.
        timed: Times tasks by turns.

    Raises:
        InputError: The film cannot be read.
    """
    backends = {name: racer.load() for name, racer in racers.items()}
    frames = list(islice(frames_of(film), max(film_frames, *batches)))
    log.info("measuring the memory of %d backends", len(racers))
    taken = {name: memory(racer.load, sorted(batches)) for name, racer in racers.items()}
    rows = []
    for turn, batch in enumerate(sorted(batches)):
        some = [frames[t % len(frames)] for t in range(batch)]
        count = max(1, min(len(frames), film_frames) // batch)
        parts: dict[str, tuple[int, dict[str, Callable[[], Any]]]] = {
            "network": (batch, {name: _network_run(one, batch) for name, one in backends.items()}),
            "frames": (batch, {name: partial(_frames_run, one, some) for name, one in backends.items()}),
            "film": (
                min(len(frames), count * batch),
                {name: FilmRun(one, film, batch, count, decoders) for name, one in backends.items()},
            ),
        }
        for part, (scored, tasks) in parts.items():
            log.info("timing %s, batches of %d", part, batch)
            seconds = timed(tasks, budget)
            for name, racer in racers.items():
                limit = tasks[name].times.limit if part == "film" else None
                rows.append(
                    {"part": part, "batch": batch, "backend": name, **_speed(seconds[name], scored)}
                    | _ratios("official", seconds[official] / seconds[name])
                    | _ratios("own_eager", seconds[own] / seconds[name])
                    | _shares(racer.cost, name, scored / float(np.median(seconds[name])), peak)
                    | {"peak_memory_mib": round(taken[name][turn] / 2**20), "limited_by": limit}
                )
    return rows


def _network_run(backend: Backend, batch: int) -> Callable[[], Any]:
    """Return the network alone: on a GPU, frames and scores stay there."""
    frames, device = random_windows(backend, batch), getattr(backend, "device", torch.device("cpu"))
    if device.type == "cpu":
        return partial(backend, frames)
    run = torch.inference_mode()(backend.run)
    return synchronised(partial(run, torch.from_numpy(frames).to(device)), device)


def _frames_run(backend: Backend, frames: Sequence[np.ndarray]) -> None:
    for windows in assemble(frames, backend.size, backend.offsets, len(frames), StreamTimes()):
        backend(windows)


def _speed(seconds: np.ndarray, frames: int) -> dict[str, float | int]:
    rate = Spread.of(frames / seconds)
    return {
        "frames_per_second": rate.median,
        "frames_per_second_low": rate.low,
        "frames_per_second_high": rate.high,
        "milliseconds_a_run": 1000 * float(np.median(seconds)),
        "runs": len(seconds),
    }


def _ratios(baseline: str, ratios: np.ndarray) -> dict[str, float]:
    """Return what is said of the ratios (R,) of runs of the same rounds, so that both had the same company."""
    ratio = Spread.of(ratios)
    name = f"times_{baseline}"
    return {name: ratio.median, f"{name}_low": ratio.low, f"{name}_high": ratio.high}


def _shares(cost: Cost, name: str, rate: float, peak: Peak) -> dict[str, float | None]:
    """Return the share of the machine's peaks that a rate in frames a second reaches, by its precision."""
    precision = name.rpartition("-")[2]
    product, size = peak.products.get(precision), KINDS[precision].itemsize if precision in KINDS else None
    return {
        "gmac_per_frame": cost.products / 1e9,
        "share_of_product": cost.products * rate / product if product else None,
        "share_of_copy": cost.values * size * rate / peak.copied if size else None,
    }
