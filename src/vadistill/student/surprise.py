"""Surprise: how far the student's features are from what is usual at their place, beside the maps that it learned.

A student knows what its teachers say of the anomalies that it was shown. Its features know more: what is drawn by
them as nothing is in normal clips at that place is unusual, whatever the maps make of it.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadistill.maps.grid_pool import GridPool
from vadistill.student.network import AnomalyMaps, Student, scale_frames
from vadistill.training.device import loader_workers
from vadistill.windows.loader import FrameWindows, loader

COMMON = 0.25  # weight of a channel's mean variance over all places beside a place's own: some hardly ever change
AROUND = 15  # features along a side of the square whose mean distance is subtracted
BATCH = 16  # frames
USUAL_FRAMES = 4000  # at most, by which it is measured what is usual
SCALE_FRAMES = 2000  # at most, by which it is measured how far normal frames are from that
RARE = 0.99  # quantile of normal frames
LEAST_SPREAD = 1e-6
LEAST_PEAK = 0.05  # of the maps of normal frames, on the teachers' scale: lower ones say nothing


class Surprise(nn.Module):
    """What is usual at each place of one camera, and a student's maps with what is not.

    The distance of features f is sqrt(mean over the channels of ((f - mean) / spread)^2), with mean and spread at their
    place in normal frames, less the mean distance around it, since what changes far and wide, as light does, is no
    anomaly. Of a map's cell it is the greatest one, d. With the finest map m that the student learned, the finest map
    is M / tanh(1) (tanh(m / M) + w tanh(max(0, (d - D1) / (D2 - D1)))) / (1 + w), and the others are its maxima. M and
    D2 are the highest cells of m and d in all but one of a hundred normal frames, D1 is the median of d; where m is M
    and d is D2 it is M, so that maps stay on the teachers' scale.

    Args:
        grid: Height and width of the features.
        width: Their channels C.
        resolutions: Sides g of the maps.
        weight: w.
    """

    mean: Tensor
    inverse_spread: Tensor
    scale: Tensor

    def __init__(self, grid: tuple[int, int], width: int, resolutions: Sequence[int], weight: float) -> None:
        super().__init__()
        self.weight, self.finest = weight, max(resolutions)
        self.register_buffer("mean", torch.zeros(width, *grid))
        self.register_buffer("inverse_spread", torch.ones(width, *grid))
        self.register_buffer("scale", torch.tensor([0.0, 1.0, 1.0]))  # D1, D2 - D1, M
        self.pool = GridPool(grid, self.finest)
        sides = [side for side in resolutions if side != self.finest]
        self.coarser = nn.ModuleDict({str(side): GridPool((self.finest, self.finest), side) for side in sides})

    def distances(self, features: Tensor) -> Tensor:
        """Return the distances (N, 1, g, g) of features (N, C, H, W) by the cells of the finest map."""
        away = (features.float() - self.mean) * self.inverse_spread
        distances = away.square().mean(1, keepdim=True).sqrt()
        around = functional.avg_pool2d(distances, AROUND, 1, AROUND // 2, count_include_pad=False)
        return self.pool(distances - around)

    def forward(self, features: Tensor, maps: AnomalyMaps) -> AnomalyMaps:
        """Return the maps of all resolutions, given the last features (N, C, H, W) and the student's maps."""
        calm, rare, highest = self.scale
        surprise = ((self.distances(features) - calm) / rare).clamp(min=0).tanh()
        learned = (maps[self.finest].float() / highest).tanh()
        finest = (learned + self.weight * surprise) * (highest / math.tanh(1) / (1 + self.weight))
        return {side: self.coarser[str(side)](finest) if str(side) in self.coarser else finest for side in maps}

    @torch.no_grad()
    def measure(self, student: Student, windows: FrameWindows, device: torch.device) -> None:
        """Measure what is usual by frames that are drawn from, and the scale by others, where there are some.

        Args:
            student: In evaluation mode, on the device.
            windows: Of normal clips of one camera.
            device: Where the student and this are.
        """
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for features in _features(student, windows, windows.drawn_order(USUAL_FRAMES), device):
            wide = features.double()
            count, total, squares = count + len(wide), total + wide.sum(0), squares + wide.square().sum(0)
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        variance = (variance + COMMON * variance.mean((1, 2), keepdim=True)) / (1 + COMMON)
        self.mean.copy_(mean)
        self.inverse_spread.copy_(variance.clamp(min=LEAST_SPREAD**2).rsqrt())
        order = windows.held_out_order(SCALE_FRAMES) or windows.drawn_order(SCALE_FRAMES)
        found = [
            (self.distances(features), student.maps_of(features)[self.finest].float())
            for features in _features(student, windows, order, device)
        ]
        distances, learned = (torch.cat(parts).flatten(1) for parts in zip(*found, strict=True))
        calm = distances.median()
        far, high = (cells.amax(1).quantile(RARE) for cells in (distances, learned))
        self.scale.copy_(torch.stack([calm, (far - calm).clamp(min=LEAST_SPREAD), high.clamp(min=LEAST_PEAK)]))


def _features(student: Student, windows: FrameWindows, order: list[int], device: torch.device) -> Iterator[Tensor]:
    """Yield the last features (N, C, H, W) float32 of batches of frames."""
    for frames, *_ in loader(windows, order, BATCH, loader_workers()):
        features, _ = student.backbone(scale_frames(frames.to(device, non_blocking=True)))
        yield features.float()
