"""Training of a teacher: all its phases, on samples of objects that are read while it learns."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vadistill.errors import InputError
from vadistill.teachers.base import Batch, Phase, Teacher
from vadistill.teachers.loader import TrainingObjects
from vadistill.training.device import autocast, moved
from vadistill.training.meters import Averages, FiniteLosses
from vadistill.training.parallel import Draws, averaging, check_batch, processes, spread, whole_batch_norms
from vadistill.training.run import EarlyStopping, Stateful, TrainingPhase, TrainingRun
from vadistill.training.schedule import set_rate

log = logging.getLogger(__name__)


def fit(
    teacher: Teacher,
    settings: Any,
    samples: TrainingObjects,
    held_samples: TrainingObjects,
    start: Callable[[], TrainingRun],
    device: torch.device,
) -> tuple[TrainingRun, dict[str, Tensor]]:
    """Train a teacher phase by phase; return the run, to be finished, and the teacher's state on the CPU.

    Args:
        teacher: On the device.
        settings: Of the teacher.
        samples: Objects to learn from.
        held_samples: Objects that decide when a phase ends; without any, every phase runs to its last epoch.
        start: Starts the run, which writes files; called once the objects are there.
        device: Where the teacher learns.

    Raises:
        InputError: There is no object, or a loss is not finite.
    """
    training = TeacherTraining(teacher, settings, samples, held_samples, device)
    run = start()
    run.fit(training.phases(run.seed))
    return run, {key: value.cpu() for key, value in teacher.state_dict().items()}


class TeacherTraining:
    """A teacher and the objects that it learns from, of which a new sample may be drawn every epoch."""

    def __init__(
        self,
        teacher: Teacher,
        settings: Any,
        samples: TrainingObjects,
        held_samples: TrainingObjects,
        device: torch.device,
    ) -> None:
        """Read the first samples and let the teacher fit its tables on them; see ``fit``."""
        self._teacher, self._settings = whole_batch_norms(teacher), settings
        self._samples, self._device = samples, device
        started = time.monotonic()
        self._objects: Batch = samples.sample(0)
        if (count := len(self._objects["box"])) < processes():
            raise InputError(f"{count} objects to train on; expected no fewer than processes, {processes()}")
        held_out: Batch = held_samples.sample(0) if len(held_samples) else {}
        held = len(held_out["box"]) if held_out else 0
        self._held = held_out if held >= processes() else None
        log.info("%s on %s: %d of %d objects, %d held out, read in %.0f s", teacher.name, device,
                 len(self._objects["box"]), len(samples), held, time.monotonic() - started)  # fmt: skip
        teacher.prepare(self._objects)

    def phases(self, seed: int) -> Iterator[TrainingPhase]:
        """Yield the teacher's phases; the held-out losses of every epoch draw from ``seed``."""
        for phase in self._teacher.phases():
            stopped = self._held is not None and phase.early_stop
            early = EarlyStopping(self._teacher, self._settings.patience) if stopped else None
            check_batch(self._settings.batch)
            averaging(phase.optimiser)
            parts: dict[str, Stateful] = {"teacher": self._teacher, "optimiser": phase.optimiser}
            yield TrainingPhase(phase.name, phase.epochs, parts, partial(self._epoch, phase, early, seed), early)

    def _epoch(
        self, phase: Phase, early: EarlyStopping | None, seed: int, epoch: int, generator: torch.Generator
    ) -> dict[str, float]:
        teacher, batch = self._teacher, self._settings.batch
        if epoch == 0:
            phase.start()
        if phase.rate:
            set_rate(phase.optimiser, phase.rate(epoch))
        begun = time.monotonic()
        if epoch and teacher.redraw:
            self._objects = {}  # the old sample goes before the new one comes
            self._objects = self._samples.sample(epoch)
        read = time.monotonic()
        if teacher.redraw and epoch + 1 < phase.epochs:
            self._samples.read_ahead(epoch + 1)
        metrics = train_one_epoch(teacher, phase, self._objects, batch, generator, self._device, epoch)
        rate = len(self._objects["box"]) / (time.monotonic() - read)
        metrics |= {"objects_per_second": rate, "waited_seconds": read - begun}
        if self._held is not None:
            metrics |= held_out_losses(teacher, phase, self._held, batch, seed, self._device)
        if early:
            early.update(metrics["held_out_loss"])
        return metrics


def train_one_epoch(
    teacher: Teacher,
    phase: Phase,
    objects: Batch,
    batch: int,
    generator: torch.Generator,
    device: torch.device,
    epoch: int = 0,
) -> dict[str, float]:
    """Train one epoch of a phase on shuffled batches; return the mean of every logged loss as ``train_...``.

    A last batch of a single object is left out: batch normalisation cannot use it. Of processes that train together
    each takes its share of every batch.

    Raises:
        InputError: A loss is not finite.
    """
    teacher.eval()
    for module in phase.train:
        module.train()
    averages, finite = Averages(), FiniteLosses(device)
    order, draws = torch.randperm(len(objects["box"]), generator=generator), Draws(generator, shared=True)
    for step, rows in enumerate(order.split(batch)):
        own = spread(rows)
        if len(rows) < max(2, processes()) and step:
            break
        with autocast(device, on_processors=True):
            losses = phase.loss(_rows(objects, own, device), draws)
        phase.optimiser.zero_grad(set_to_none=True)
        finite(losses["loss"], f"phase {phase.name}, epoch {epoch + 1}, batch {step + 1}").backward()
        phase.optimiser.step()
        averages.add({name: value.detach() for name, value in losses.items()}, len(own) * processes())
    finite.check()
    return {f"train_{name}": value for name, value in averages.means().items()}


@torch.no_grad()
def held_out_losses(
    teacher: Teacher, phase: Phase, objects: Batch, batch: int, seed: int, device: torch.device
) -> dict[str, float]:
    """Return the mean of every held-out loss as ``held_out_...``; the same draws every epoch."""
    teacher.eval()
    generator = torch.Generator().manual_seed(seed)
    averages, draws = Averages(), Draws(generator, shared=True)
    # Boxes of one frame lie side by side in memory; mixed batches are closer to those of training.
    for rows in torch.randperm(len(objects["box"]), generator=generator).split(batch):
        if not len(own := spread(rows)):
            break
        with autocast(device, on_processors=True):
            losses = phase.held_out_loss(_rows(objects, own, device), draws)
        averages.add(losses, len(own) * processes())
    return {f"held_out_{name}": value for name, value in averages.means().items()}


def _rows(objects: Batch, rows: torch.Tensor, device: torch.device) -> Batch:
    return {name: moved(values[rows], device) for name, values in objects.items()}
