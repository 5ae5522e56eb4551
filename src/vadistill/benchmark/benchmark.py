"""How fast a student is on this machine, backend beside backend, against the official layout in eager fp32."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vadistill.benchmark.costs import Cost
from vadistill.benchmark.machine_peak import KINDS, Peak, synchronised
from vadistill.benchmark.memory import peak_memory, random_windows
from vadistill.benchmark.timing import Spread, by_turns
from vadistill.errors import InputError
from vadistill.inference.backend import Backend
from vadistill.inference.stream import StreamTimes, assemble, score_video
from vadistill.inference.torch_backend import TorchBackend
from vadistill.io.media.video import frames_of

log = logging.getLogger(__name__)
BATCHES = (1, 8, 32, 64)
PARTS = ("network", "frames", "film")


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
    film_frames: int = 512,
    decoders: int = 1,
    memory: Callable[[Callable[[], Backend], Sequence[int]], list[int]] = peak_memory,
    timed: Callable[..., dict[str, np.ndarray]] | None = None,
) -> list[dict[str, Any]]:
    """Return a table of frames a second, a record a part, batch and racer.

    The parts are ``network`` (a batch of windows in memory to scores), ``frames`` (decoded frames are resized and
    assembled before, one after the other) and ``film`` (a file is decoded, too, all of it side by side).

    Args:
        racers: What is timed, by name; the precision stands behind the name's last hyphen.
        film: A video file.
        peak: Of the GPU, or of the processors where there is none; backends elsewhere have no share of it.
        official: Name of the first baseline, the official layout in eager fp32.
        own: Name of the second baseline, the racers' own student in eager fp32.
        batches: Frames of a batch.
        budget: Seconds for each record, though at least five runs are timed.
        film_frames: Frames of the film that are scored at most; a racer scores about a second's work.
        decoders: Threads that decode the film.
        memory: Measures the peaks in bytes of a process with one racer, for each batch.
        timed: Times tasks by turns; by default such that nothing is compiled meanwhile.

    Raises:
        InputError: The film cannot be read, or a backend was compiled anew while it was timed.
    """
    timed = timed or partial(by_turns, during=nothing_compiled)
    backends = {name: racer.load() for name, racer in racers.items()}
    batches = sorted(batches)
    frames = list(islice(frames_of(film), batches[-1]))
    length = sum(1 for _ in islice(frames_of(film), max(film_frames, batches[-1])))
    log.info("measuring the memory of %d backends", len(racers))
    taken = {name: memory(racer.load, batches) for name, racer in racers.items()}
    rows = []
    for turn, batch in enumerate(batches):
        some = [frames[t % len(frames)] for t in range(batch)]
        rates: dict[str, float] = {}
        for part in PARTS:
            tasks: dict[str, Callable[[], Any]]
            log.info("timing %s, batches of %d", part, batch)
            if part == "network":
                tasks = {name: _network_run(backend, batch) for name, backend in backends.items()}
            elif part == "frames":
                tasks = {name: partial(_frames_run, backend, some) for name, backend in backends.items()}
            else:
                counts = {name: _batches(rates[name], batch, length) for name in backends}
                tasks = {name: FilmRun(one, film, batch, counts[name], decoders) for name, one in backends.items()}
            seconds = timed(tasks, budget)
            scored = {name: min(length, counts[name] * batch) if part == "film" else batch for name in backends}
            speeds = {name: scored[name] / seconds[name] for name in backends}
            rates = {name: float(np.median(speed)) for name, speed in speeds.items()}
            for name, racer in racers.items():
                task = tasks[name]
                limit = task.times.limit if isinstance(task, FilmRun) and task.times else None
                rows.append(
                    {"part": part, "batch": batch, "backend": name, **_speed(speeds[name])}
                    | _ratios("official", speeds[name] / speeds[official])
                    | _ratios("own_eager", speeds[name] / speeds[own])
                    | _shares(racer.cost, name, rates[name], peak if _device(backends[name]) == peak.device else None)
                    | {"peak_memory_mib": round(taken[name][turn] / 2**20), "limited_by": limit}
                )
    return rows


@contextmanager
def nothing_compiled() -> Iterator[None]:
    """Refuse, in this block, that ``torch.compile`` compiles anything: its minute would count as a run.

    Raises:
        InputError: It would have to.
    """
    with torch.compiler.set_stance("fail_on_recompile"):
        try:
            yield
        except RuntimeError as error:
            if "fail_on_recompile" not in str(error):
                raise
            raise InputError(
                "a compiled backend meets a new size of batch while it is timed; expected each in the warm-up"
            ) from error


def _batches(rate: float, batch: int, length: int) -> int:
    """Return how many batches of a film are scored: about a second's work, at least two, if the film has so many."""
    return max(1, min(length, max(2 * batch, math.ceil(rate))) // batch)


def _network_run(backend: Backend, batch: int) -> Callable[[], Any]:
    """Return the network alone: on a GPU, frames and scores stay there."""
    frames = random_windows(backend, batch)
    if not isinstance(backend, TorchBackend) or backend.device.type == "cpu":
        return partial(backend, frames)
    run = torch.inference_mode()(backend.run)
    return synchronised(partial(run, torch.from_numpy(frames).to(backend.device)), backend.device)


def _frames_run(backend: Backend, frames: Sequence[np.ndarray]) -> None:
    size, offsets, times = backend.size, backend.offsets, StreamTimes()
    for windows in assemble(frames, size, offsets, len(frames), times, backend.flow):
        backend(windows)


def _speed(rates: np.ndarray) -> dict[str, float | int]:
    rate = Spread.of(rates)
    spread = {"frames_per_second_low": rate.low, "frames_per_second_high": rate.high}
    return {"frames_per_second": rate.median, **spread, "runs": len(rates)}


def _ratios(baseline: str, ratios: np.ndarray) -> dict[str, float]:
    """Return what is said of the ratios (R,) of runs of the same rounds, so that both had the same company."""
    ratio = Spread.of(ratios)
    name = f"times_{baseline}"
    return {name: ratio.median, f"{name}_low": ratio.low, f"{name}_high": ratio.high}


def _device(backend: Backend) -> str:
    return backend.device.type if isinstance(backend, TorchBackend) else "cpu"


def _shares(cost: Cost, name: str, rate: float, peak: Peak | None) -> dict[str, float | None]:
    """Return the share of a device's peaks that a rate in frames a second reaches, by its precision."""
    precision = name.rpartition("-")[2]
    product = peak.products.get(precision) if peak else None
    size = KINDS[precision].itemsize if precision in KINDS else None
    return {
        "gmac_per_frame": cost.products / 1e9,
        "share_of_product": cost.products * rate / product if product else None,
        "share_of_copy": cost.values * size * rate / peak.copied if peak and size else None,
    }
