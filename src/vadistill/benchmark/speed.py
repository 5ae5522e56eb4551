"""From a student's file to the record of its speed on this machine."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from vadistill.benchmark.benchmark import BATCHES, Racer, benchmark
from vadistill.benchmark.costs import cost_of, write_untrained
from vadistill.benchmark.machine_peak import describe_machine, measure_peak
from vadistill.datasets.demo.clips import render_clip
from vadistill.errors import InputError
from vadistill.frame_level.registry import as_network, read_detector
from vadistill.inference.backends import BACKENDS, BASELINE, load_backend
from vadistill.inference.export import loadable
from vadistill.inference.stream import StreamTimes, assemble
from vadistill.io.files import read_json
from vadistill.io.formats import known_ending, refuse_to_replace
from vadistill.io.media.video import frames_of
from vadistill.io.mp4 import write_mp4
from vadistill.processors import cores
from vadistill.settings import DemoConfig
from vadistill.training.device import pick_device

log = logging.getLogger(__name__)
OFFICIAL = f"official-{BASELINE}"
FILM = {"cpu": 512, "cuda": 4096}  # frames of it that are scored at most
CALIBRATION = 32  # windows for int8: enough to time it, too few to judge its scores
DRAWN = DemoConfig(height=480, width=856, frames=64)


def check_record(output: Path) -> None:
    """Refuse a name for the record of ``measure_speed`` that is not .json, or that is taken by something else.

    Raises:
        InputError: It is.
    """
    known_ending(output, {".json": "the record of a benchmark"})
    refuse_to_replace(output, _is_record, "record of a benchmark")


def measure_speed(
    model: Path | None = None,
    film: Path | None = None,
    names: Sequence[str] = tuple(BACKENDS),
    batches: Sequence[int] = BATCHES,
    budget: float = 5.0,
) -> dict[str, Any]:
    """Return the machine, its peaks, the students' costs and the table of ``benchmark``, to be written as JSON.

    Args:
        model: A distilled student; without one, the official layout with random weights.
        film: A video for the parts that begin with frames; without one, frames are drawn.
        names: Of backends; one that cannot be had here is left out, and the record says why.
        batches: Frames of a batch.
        budget: Seconds for each record of the table.

    Raises:
        InputError: A file cannot be read, or there is no such backend.
    """
    if unknown := sorted(set(names) - set(BACKENDS)):
        raise InputError(f"backend '{unknown[0]}': unknown; expected some of {', '.join(BACKENDS)}")
    device, threads = pick_device(fixed_shapes=True), cores()
    with tempfile.TemporaryDirectory() as folder:
        official = Path(folder) / "official.pt"
        write_untrained(official)
        if film is None:
            film = Path(folder) / "film.mp4"
            write_film(film, FILM[device.type])
        racers = {OFFICIAL: _racer(BASELINE, official, official, threads)}
        if model:
            racers[BASELINE] = _racer(BASELINE, model, model, threads)
        own, left_out = model or official, {}
        windows = windows_of_film(film, own)
        for name in [name for name in names if name != BASELINE]:
            try:
                racers[name] = _racer(name, own, loadable(name, own, Path(folder), windows), threads)
                racers[name].load()
            except InputError as error:
                racers.pop(name, None)
                left_out[name] = str(error)
                log.warning("%s is left out: %s", name, error)
        peak = measure_peak(device, {name.rpartition("-")[2] for name in racers})
        second, decoders = BASELINE if model else OFFICIAL, 1 if device.type == "cpu" else threads
        table = benchmark(racers, film, peak, OFFICIAL, second, batches, budget, FILM[device.type], decoders)
        costs = {"official": asdict(racers[OFFICIAL].cost), "own": asdict(racers[second].cost)}
    machine = describe_machine(device, threads)
    return {"machine": machine, "peak": asdict(peak), "students": costs, "left_out": left_out, "table": table}


def _is_record(path: Path) -> bool:
    try:
        found = read_json(path)
    except InputError:
        return False
    return isinstance(found, dict) and {"machine", "peak", "table"} <= found.keys()


def write_film(path: Path, frames: int) -> None:
    """Write a film of a drawn scene, which repeats itself, in H.264."""
    drawn = [frame for frame, *_ in render_clip(DRAWN, "train", "train_01")]
    write_mp4(path, islice(chain.from_iterable(repeat(drawn)), frames), 25)


def windows_of_film(film: Path, model: Path) -> list[np.ndarray]:
    """Return the first windows (C, H, W) uint8 of a film as a student sees them."""
    detector = read_detector(model).detector
    size, offsets = detector.size, detector.offsets
    return list(next(assemble(frames_of(film), size, offsets, CALIBRATION, StreamTimes(), detector.flow)))


def _racer(name: str, model: Path, file: Path, threads: int) -> Racer:
    return Racer(
        partial(load_backend, name, file, threads=threads), cost_of(as_network(read_detector(model).detector, model))
    )
