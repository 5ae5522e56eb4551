"""The student from uint8 frames to scores and maps, as it is trained and without operations that a runtime lacks."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadistill.maps.grid_pool import GridPool
from vadistill.student.network import FrameHead, MapHead, Student, frame_scores, scale_frames
from vadistill.student.surprise import Surprise
from vadistill.training.folding import fold_norms


class ScoringNetwork(nn.Module):
    """A student with its pre-processing before it, and what is unusual and the frame score behind it."""

    def __init__(self, student: Student, surprise: Surprise | None = None, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.student, self.surprise, self.dtype = student, surprise, dtype

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Return float32 scores (N,) and a map (N, g, g) a resolution of uint8 windows (N, C, H, W)."""
        scaled = scale_frames(frames)
        features, _ = self.student.backbone(scaled.to(self.dtype))
        maps = self.student.maps_of(features)
        if self.surprise is not None:
            maps = self.surprise(features, scaled[:, self.student.backbone.colours :], maps)
        return frame_scores(maps), *(grid[:, 0] for grid in maps.values())


def streamlined(
    network: ScoringNetwork, window: tuple[int, int, int], dtype: torch.dtype = torch.float32
) -> ScoringNetwork:
    """Return a copy of the scoring network: batch norms folded, pooling of plain operations.

    Args:
        network: In evaluation mode.
        window: Shape (C, H, W) of its input.
        dtype: Of weights and features; the last layer of every head, and what follows, is float32 in any case: eight
            bits of mantissa would tie the scores of calm frames.
    """
    network = copy.deepcopy(network)
    student = fold_norms(network.student)
    with torch.no_grad():
        weight = next(student.parameters())
        features, _ = student.backbone(torch.zeros(1, *window, dtype=weight.dtype, device=weight.device))
    size = features.shape[-2:]
    student.to(dtype)
    for side, head in student.heads.items():
        if isinstance(head, FrameHead):
            student.heads[side] = _FrameHead(_Float32(head.output), GridPool(size, 2))
        elif isinstance(head, MapHead):
            head.output = _Float32(head.output)
            head.pool = GridPool(size, int(side))
    return ScoringNetwork(student.to(weight.device), network.surprise, dtype).eval()


class _FrameHead(nn.Module):
    """``FrameHead`` with another pooling."""

    def __init__(self, output: nn.Module, pool: GridPool):
        super().__init__()
        self.output, self.pool = output, pool

    def forward(self, features: Tensor) -> Tensor:
        return self.output(functional.relu(self.pool(features).flatten(1))).sigmoid()[..., None, None]


class _Float32(nn.Module):
    """A layer that computes in float32 whatever it is given."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer.float()

    def forward(self, features: Tensor) -> Tensor:
        return self.layer(features.float())
