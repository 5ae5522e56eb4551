"""Samples of a distillation, mirrored."""

import torch
from torch import Tensor

from vadistill.student.network import AnomalyMaps


def mirrored(
    frames: Tensor,
    targets: dict[str, AnomalyMaps],
    generator: torch.Generator,
    teacher_features: Tensor | None = None,
) -> tuple[Tensor, dict[str, AnomalyMaps], Tensor | None]:
    """Return frames (N, 3 * F, H, W) and targets, half of the samples mirrored.

    What the teachers saw of a sample's objects is left out where it is mirrored: they would see something else.
    """
    mirror = (torch.rand(len(frames), generator=generator) < 0.5).to(frames.device)[:, None, None, None]
    frames = torch.where(mirror, frames.flip(-1), frames)
    targets = {
        name: {side: torch.where(mirror, grid.flip(-1), grid) for side, grid in maps.items()}
        for name, maps in targets.items()
    }
    teacher_features = None if teacher_features is None else torch.where(mirror, 0.0, teacher_features)
    return frames.contiguous(memory_format=torch.channels_last), targets, teacher_features
