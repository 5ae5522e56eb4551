"""Samples of a distillation, mirrored, reversed in time, brighter or darker; what discriminators see of them."""

import torch
from torch import Tensor
from torch.nn import functional

from vadistill.settings import DistillationConfig
from vadistill.student.network import AnomalyMaps

CONDITION = 4  # channels that a conditional discriminator sees: the middle frame and what moves


def augmented(
    frames: Tensor,
    targets: dict[str, AnomalyMaps],
    settings: DistillationConfig,
    generator: torch.Generator,
    teacher_features: Tensor | None = None,
) -> tuple[Tensor, dict[str, AnomalyMaps], Tensor | None]:
    """Return frames (N, 3 * F, H, W) and targets, samples mirrored, reversed in time, brighter or darker, as set.

    What the teachers saw of a sample's objects is left out where it is mirrored or reversed: they would see something
    else.
    """
    mirror, reverse = (
        (torch.rand(len(frames), generator=generator) < 0.5).to(frames.device)[:, None, None, None] for _ in range(2)
    )
    if settings.flip:
        frames = torch.where(mirror, frames.flip(-1), frames)
        targets = {
            name: {side: torch.where(mirror, grid.flip(-1), grid) for side, grid in maps.items()}
            for name, maps in targets.items()
        }
        teacher_features = None if teacher_features is None else torch.where(mirror, 0.0, teacher_features)
    if settings.jitter:
        contrast, brightness = (
            settings.jitter * (2 * torch.rand(len(frames), 1, 1, 1, generator=generator).to(frames.device) - 1)
            for _ in range(2)
        )
        frames = (frames * (1 + contrast) + brightness).clamp(-1, 1)
    if settings.reverse:
        teacher_features = None if teacher_features is None else torch.where(reverse, 0.0, teacher_features)
        frames = torch.where(reverse, frames.unflatten(1, (-1, 3)).flip(1).flatten(1, 2), frames)
    return frames.contiguous(memory_format=torch.channels_last), targets, teacher_features


def condition_of(frames: Tensor, side: int) -> Tensor:
    """Return a conditional discriminator's input (N, 4, side, side): mean colour and frame difference of each cell."""
    middle = frames.shape[1] // 2 - 1
    moved = (frames[:, -3:] - frames[:, :3]).abs().mean(1, keepdim=True)
    return functional.adaptive_avg_pool2d(torch.cat([frames[:, middle : middle + 3], moved], 1), side)
