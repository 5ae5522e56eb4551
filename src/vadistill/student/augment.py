"""Samples of a distillation, mirrored."""

import torch
from torch import Tensor

from vadistill.student.network import AnomalyMaps
from vadistill.training.parallel import uniform


def mirrored(
    windows: Tensor,
    targets: dict[str, AnomalyMaps],
    colours: int,
    generator: torch.Generator,
    teacher_features: Tensor | None = None,
) -> tuple[Tensor, dict[str, AnomalyMaps], Tensor | None]:
    """Return scaled windows (N, C, H, W) and targets, half of the samples mirrored, what moves left moves right there.

    What the teachers saw of a sample's objects is left out where it is mirrored: they would see something else.

    Args:
        windows: Frames and, behind them, planes of flow: across and down by turns.
        targets: Each teacher's maps {g: (N, 1, g, g)}.
        colours: Channels of the frames.
        generator: Says which samples.
        teacher_features: (N, 1 + D, g, g).
    """
    mirror = (uniform((len(windows),), generator) < 0.5).to(windows.device)[:, None, None, None]
    turned = windows.flip(-1)
    turned[:, colours::2] *= -1
    windows = torch.where(mirror, turned, windows)
    targets = {
        name: {side: torch.where(mirror, grid.flip(-1), grid) for side, grid in maps.items()}
        for name, maps in targets.items()
    }
    teacher_features = None if teacher_features is None else torch.where(mirror, 0.0, teacher_features)
    return windows.contiguous(memory_format=torch.channels_last), targets, teacher_features
