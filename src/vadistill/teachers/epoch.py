"""One pass of a teacher over objects in memory."""

import torch

from vadistill.teachers.base import Batch, Phase, Teacher
from vadistill.training.device import autocast
from vadistill.training.meters import Averages, finite


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

    A last batch of a single object is left out: batch normalisation cannot use it.

    Raises:
        InputError: A loss is not finite.
    """
    teacher.eval()
    for module in phase.train:
        module.train()
    averages = Averages()
    order = torch.randperm(len(objects["box"]), generator=generator)
    for step, rows in enumerate(order.split(batch)):
        if len(rows) < 2 and step:
            break
        with autocast(device, on_processors=True):
            losses = phase.loss(_rows(objects, rows, device), generator)
        phase.optimiser.zero_grad(set_to_none=True)
        finite(losses["loss"], f"phase {phase.name}, epoch {epoch + 1}, batch {step + 1}").backward()
        phase.optimiser.step()
        averages.add({name: value.detach() for name, value in losses.items()}, len(rows))
    return {f"train_{name}": value for name, value in averages.means().items()}


@torch.no_grad()
def held_out_losses(
    teacher: Teacher, phase: Phase, objects: Batch, batch: int, seed: int, device: torch.device
) -> dict[str, float]:
    """Return the mean of every held-out loss as ``held_out_...``; the same draws every epoch."""
    teacher.eval()
    generator = torch.Generator().manual_seed(seed)
    averages = Averages()
    # Boxes of one frame lie side by side in memory; mixed batches are closer to those of training.
    for rows in torch.randperm(len(objects["box"]), generator=generator).split(batch):
        with autocast(device, on_processors=True):
            losses = phase.held_out_loss(_rows(objects, rows, device), generator)
        averages.add(losses, len(rows))
    return {f"held_out_{name}": value for name, value in averages.means().items()}


def _rows(objects: Batch, rows: torch.Tensor, device: torch.device) -> Batch:
    return {name: values[rows].to(device, non_blocking=True) for name, values in objects.items()}
