"""Surprise: how far features and motion are from what is usual, beside the maps that the student learned.

A student knows what its teachers say of the anomalies that it was shown. Its features know more: what is drawn by
them as nothing is in normal clips at that place is unusual, whatever the maps make of it. So does the flow that it
gets: what moves as nothing moves in normal clips.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vadistill.maps.grid_pool import GridPool
from vadistill.settings import StudentConfig
from vadistill.student.network import AnomalyMaps, Student, feature_cell, feature_grid, scale_frames
from vadistill.student.usual_features import UsualFeatures
from vadistill.student.usual_motion import UsualMotion
from vadistill.training.device import loader_workers
from vadistill.windows.loader import FrameWindows, loader
from vadistill.windows.shape import FLOWS

BATCH = 16  # frames
USUAL_FRAMES = 4000  # at most, by which it is measured what is usual
SCALE_FRAMES = 2000  # at most, by which it is measured how far normal frames are from that
RARE = 0.99  # quantile of normal frames
LEAST_PEAK = 0.05  # of the maps of normal frames, on the teachers' scale: lower ones say nothing


class Surprise(nn.Module):
    """What is usual on one camera, and a student's maps with what is not.

    Of a map's cell, d is the greatest distance from what is usual (``UsualFeatures``, ``UsualMotion``). With the finest
    map m that the student learned, the finest map is M / tanh(1) (tanh(m / M) + sum of w tanh(max(0, (d - D1) /
    (D2 - D1)))) / (1 + sum of w), and the others are its maxima. M and D2 are the highest cells of m and d in all but
    one of a hundred normal frames, D1 is the median of d; where m is M and every d is D2 it is M, so that maps stay on
    the teachers' scale.

    Args:
        layout: Of the student.
        width: Channels of its last features.
        resolutions: Sides g of the maps.
        weights: w above 0 of what there is of ``features`` and ``motion``; the latter asks for flow.
    """

    calm: Tensor
    rare: Tensor
    highest: Tensor

    def __init__(
        self, layout: StudentConfig, width: int, resolutions: Sequence[int], weights: Mapping[str, float]
    ) -> None:
        super().__init__()
        grid, self.finest = feature_grid(layout), max(resolutions)
        self.weights = dict(weights)
        made = {
            "features": lambda: UsualFeatures(grid, width),
            "motion": lambda: UsualMotion(grid, feature_cell(layout), FLOWS),
        }
        self.parts = nn.ModuleDict({part: made[part]() for part in self.weights})
        self.register_buffer("calm", torch.zeros(len(self.weights)))  # D1
        self.register_buffer("rare", torch.ones(len(self.weights)))  # D2 - D1
        self.register_buffer("highest", torch.ones(()))  # M
        self.pool = GridPool(grid, self.finest)
        sides = [side for side in resolutions if side != self.finest]
        self.coarser = nn.ModuleDict({str(side): GridPool((self.finest, self.finest), side) for side in sides})

    def distances(self, features: Tensor, flow: Tensor) -> list[Tensor]:
        """Return the distances (N, 1, g, g) of each part by the cells of the finest map.

        Args:
            features: (N, C, H, W) the student's last ones.
            flow: (N, P, h, w) the scaled planes of the windows; of no use without motion.
        """
        given = {"features": features, "motion": flow}
        return [self.pool(part(given[name])) for name, part in self.parts.items()]

    def forward(self, features: Tensor, flow: Tensor, maps: AnomalyMaps) -> AnomalyMaps:
        """Return the maps of all resolutions, given what ``distances`` takes and the student's maps."""
        joined = (maps[self.finest].float() / self.highest).tanh()
        for number, (weight, distances) in enumerate(
            zip(self.weights.values(), self.distances(features, flow), strict=True)
        ):
            joined = joined + weight * ((distances - self.calm[number]) / self.rare[number]).clamp(min=0).tanh()
        finest = joined * (self.highest / math.tanh(1) / (1 + sum(self.weights.values())))
        return {side: self.coarser[str(side)](finest) if str(side) in self.coarser else finest for side in maps}

    @torch.no_grad()
    def measure(self, student: Student, windows: FrameWindows, device: torch.device) -> None:
        """Measure what is usual by frames that are drawn from, and the scale by others, where there are some.

        Args:
            student: In evaluation mode, on the device.
            windows: Of normal clips of one camera.
            device: Where the student and this are.
        """
        parts = cast(dict[str, UsualFeatures | UsualMotion], dict(self.parts.items()))
        given = {
            "features": lambda scaled: student.backbone(scaled)[0].float(),
            "motion": lambda scaled: scaled[:, student.backbone.colours :],
        }
        for scaled in _scaled(windows, windows.drawn_order(USUAL_FRAMES), device):
            for name, part in parts.items():
                part.see(given[name](scaled))
        for part in parts.values():
            part.settle()
        found = []
        others = windows.held_out_order(SCALE_FRAMES) or windows.drawn_order(SCALE_FRAMES)
        for scaled in _scaled(windows, others, device):
            features = given["features"](scaled)
            learned = student.maps_of(features)[self.finest].float()
            found.append((*self.distances(features, given["motion"](scaled)), learned))
        *distances, learned = (torch.cat(cells).flatten(1) for cells in zip(*found, strict=True))
        for number, (part, cells) in enumerate(zip(parts.values(), distances, strict=True)):
            self.calm[number] = cells.median()
            self.rare[number] = (_rare_peak(cells) - self.calm[number]).clamp(min=part.least_spread)
        self.highest.copy_(_rare_peak(learned).clamp(min=LEAST_PEAK))


def _rare_peak(cells: Tensor) -> Tensor:
    """Return the highest of the cells (N, g * g) in all but one of a hundred frames."""
    return cells.amax(1).quantile(RARE)


def _scaled(windows: FrameWindows, order: list[int], device: torch.device) -> Iterator[Tensor]:
    """Yield the scaled windows (N, C, H, W) of batches of frames."""
    for frames, _ in loader(windows, order, BATCH, loader_workers()):
        yield scale_frames(frames.to(device, non_blocking=True))
