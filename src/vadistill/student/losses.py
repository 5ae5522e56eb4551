"""Losses of the student and its discriminators (arXiv 2211.15597), and what to log beside them.

Maps are {g: (N, 1, g, g)}, a teacher's by its name. Half-precision maps are compared as float32.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from vadistill.evaluation.health import DEAD
from vadistill.student.discriminator import Discriminator
from vadistill.student.network import AnomalyMaps
from vadistill.training.parallel import mean, uniform

DEQUANTISATION = 0.005


def reconstruction_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of (N, 3, H, W) frames (arXiv 2211.15597, eq 2).

    Raises:
        ValueError: The shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"{tuple(prediction.shape)} cannot be compared with {tuple(target.shape)}")
    return functional.mse_loss(prediction.float(), target.float())


def distillation_loss(
    student: AnomalyMaps, teachers: Mapping[str, AnomalyMaps], object_weight: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the distillation loss and its parts (arXiv 2211.15597, eq 3 and 4), means over the batch.

    For a teacher the mean squared errors of all resolutions are summed, then the teachers. The parts are detached:
    ``TEACHER_GxG``.

    Args:
        student: The student's maps.
        teachers: Each teacher's maps.
        object_weight: Cells with an object (target above 0) weigh 1 + this in their map's mean; 0 is the paper's form.

    Raises:
        ValueError: The shapes of two maps differ.
    """
    terms, parts = [], {}
    for name, maps in teachers.items():
        for side, grid in student.items():
            if object_weight:
                weight = 1 + object_weight * (maps[side] > 0).float()
                error = (weight * (grid.float() - maps[side].float()).square()).sum() / mean(weight.sum())
            else:
                error = reconstruction_loss(grid, maps[side])
            terms.append(error)
            parts[f"{name}_{side}x{side}"] = error.detach()
    return torch.stack(terms).sum(), parts


def discriminator_loss(
    discriminator: Discriminator,
    teacher: AnomalyMaps,
    student: AnomalyMaps,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return one discriminator's loss (negated eq 5 of arXiv 2211.15597) and its metrics to log.

    The student's maps are detached before the discriminator, so that it learns from them and the student does not.
    Uniform noise up to 0.005 hides that a teacher's empty cells, unlike the student's, are exactly 0. Logged are the
    ``real`` and ``fake``, the means of the logits' sigmoids, and the ``accuracy``, all detached.

    Args:
        discriminator: Of one teacher.
        teacher: The teacher's maps.
        student: The student's maps.
        generator: For the noise.
    """
    noisy = {side: grid.float() + _noise(grid, generator) for side, grid in teacher.items()}
    real = discriminator(noisy)
    fake = discriminator({side: grid.detach() for side, grid in student.items()})
    loss = functional.softplus(-real).mean() + functional.softplus(fake).mean()
    with torch.no_grad():
        log = {
            "real": real.sigmoid().mean(),
            "fake": fake.sigmoid().mean(),
            "accuracy": torch.cat([real > 0, fake < 0]).float().mean(),
        }
    return loss, log


def _noise(grid: Tensor, generator: torch.Generator | None) -> Tensor:
    # Drawn where the generator lives: the same numbers on every device.
    device = grid.device if generator is None else generator.device
    return DEQUANTISATION * uniform(grid.shape, generator, device).to(grid.device)


def adversarial_loss(discriminator: Discriminator, student: AnomalyMaps) -> Tensor:
    """Return the student's adversarial loss for one teacher's discriminator, BCE(D(student), 1) (arXiv 2211.15597).

    The discriminator's parameters get no gradient.
    """
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    return functional.softplus(-functional_call(discriminator, frozen, (student,))).mean()


@torch.no_grad()
def map_statistics(student: AnomalyMaps, teachers: Mapping[str, AnomalyMaps]) -> dict[str, Tensor]:
    """Return diagnostics of the student's maps: correlation with each teacher, and collapsed (dead) cells.

    ``correlation_TEACHER_GxG``: Pearson's, over the batch's cells whose target is above 0 (the loss is dominated by
    the empty ones); 0 where it is undefined. ``object_cells_GxG``: cells a frame where a teacher has an object;
    ``dead_cells_GxG``: those of them in which the student's value is below 0.01.
    """
    statistics = {}
    for side, grid in student.items():
        for name, maps in teachers.items():
            statistics[f"correlation_{name}_{side}x{side}"] = _correlation(grid.float(), maps[side].float())
        objects = torch.stack([maps[side] > 0 for maps in teachers.values()]).any(0)
        statistics[f"object_cells_{side}x{side}"] = objects.float().sum() / len(grid)
        statistics[f"dead_cells_{side}x{side}"] = ((grid < DEAD) & objects).float().sum() / len(grid)
    return statistics


@torch.no_grad()
def peak_shortfall(student: AnomalyMaps, teachers: Mapping[str, AnomalyMaps]) -> Tensor:
    """Return by how much the student is below the teachers' mean where this is highest, mean over the frames.

    Of the finest map; frames without an object do not count.
    """
    side = max(student)
    target = torch.stack([maps[side].float() for maps in teachers.values()]).mean(0).flatten(1)
    highest, cell = target.max(1, keepdim=True)
    found = highest > 0
    return ((highest - student[side].float().flatten(1).gather(1, cell)) * found).sum() / found.sum().clamp(min=1)


def agreement(student: AnomalyMaps, teachers: Mapping[str, AnomalyMaps]) -> dict[str, float]:
    """Return how well the student draws its teachers' maps (N, 1, g, g), which needs no labels.

    The correlations of ``map_statistics``, of all cells of the frames in which a teacher has an object, and
    ``peak_shortfall``.
    """
    statistics = map_statistics(student, teachers)
    found = {name: float(value) for name, value in statistics.items() if name.startswith("correlation")}
    return found | {"peak_shortfall": float(peak_shortfall(student, teachers))}


def _correlation(values: Tensor, targets: Tensor) -> Tensor:
    # Weights of 0 and 1 instead of a selection, which would wait for the GPU.
    used = (targets > 0).float()
    count = used.sum().clamp(min=1)
    x, y = (grid - (grid * used).sum() / count for grid in (values, targets))
    spread = ((x * x * used).sum() * (y * y * used).sum()).sqrt()
    # Below this product of deviations what varies is rounding.
    return torch.where(spread > 1e-7 * count, (x * y * used).sum() / spread, 0.0)
