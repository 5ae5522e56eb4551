"""The epochs of distillation: feed frames and the teachers' maps to ``Distiller.step``."""

import logging
import time

import numpy as np
import torch

from vadistill.evaluation.health import complaints_of_training
from vadistill.student.distillation import Distiller
from vadistill.student.losses import agreement
from vadistill.student.network import scale_frames
from vadistill.student.scoring import validation_metrics
from vadistill.training.device import loader_workers
from vadistill.training.meters import Averages
from vadistill.training.parallel import processes, share
from vadistill.training.run import EarlyStopping, TrainingPhase
from vadistill.windows.loader import HELD_OUT_FRAMES, FrameWindows, batch_name, loader

log = logging.getLogger(__name__)


def distillation_phase(
    distiller: Distiller, windows: FrameWindows, validation: tuple[FrameWindows, dict[str, np.ndarray]] | None
) -> TrainingPhase:
    """Return the distillation as the one phase of its training.

    Args:
        distiller: The student and what trains it.
        windows: What it learns from.
        validation: Windows and labels of the split validation, by which the best epoch is kept; None: the last one is.
    """
    settings = distiller.settings
    best = EarlyStopping(distiller.result, patience=settings.epochs) if validation else None

    def epoch_with_validation(epoch: int, generator: torch.Generator) -> dict[str, float]:
        metrics = train_epoch(distiller, windows, epoch, generator) | held_out_statistics(distiller, windows)
        if validation and best:
            metrics |= validation_metrics(distiller.result, *validation, distiller.device)
            best.update(1 - metrics["validation_auc"])
        for line in complaints_of_training(metrics):
            log.warning("epoch %d: %s", epoch + 1, line)
        return metrics

    return TrainingPhase("distillation", settings.epochs, distiller.parts(), epoch_with_validation, best)


@torch.no_grad()
def held_out_statistics(distiller: Distiller, windows: FrameWindows) -> dict[str, float]:
    """Return how well the student draws the teachers' maps of normal frames that nothing is learned from.

    ``losses.agreement`` over all these frames, which needs no labels; nothing where no frames are held out.
    """
    order, student = windows.held_out_order(HELD_OUT_FRAMES), distiller.result
    if not order:
        return {}
    training, parts = student.training, []
    student.eval()
    for frames, targets in loader(windows, order, distiller.settings.batch, loader_workers()):
        made = student(scale_frames(frames.to(distiller.device, non_blocking=True)))
        parts.append({"student": {g: grid.cpu() for g, grid in made.items()}, **targets})
    student.train(training)
    maps = {name: {g: torch.cat([part[name][g] for part in parts]) for g in parts[0][name]} for name in parts[0]}
    own = maps.pop("student")
    return {f"held_out_{name}": value for name, value in agreement(own, maps).items()}


def train_epoch(
    distiller: Distiller, windows: FrameWindows, epoch: int, generator: torch.Generator
) -> dict[str, float]:
    """Take the steps of one epoch and return the means of what they log."""
    settings, device = distiller.settings, distiller.device
    started, averages = time.monotonic(), Averages()
    order = windows.epoch_order(epoch, settings.frame_stride, generator, settings.frame_run)
    batches = loader(windows, *share(order, settings.batch), loader_workers())
    for step, (frames, targets) in enumerate(batches):
        distiller.set_progress(epoch, step / len(batches))
        scaled = scale_frames(frames.to(device, non_blocking=True))
        targets = {
            name: {g: grid.to(device, non_blocking=True) for g, grid in maps.items()} for name, maps in targets.items()
        }
        context = batch_name(windows, order, settings.batch, epoch, step)
        averages.add(distiller.step(scaled, targets, generator, context), len(frames) * processes())
    distiller.finite.check()
    return {**averages.means(), "frames_per_second": averages.count / (time.monotonic() - started)}
