"""How cells of one camera usually move, by the flow that a student gets, and how far their motion is from that.

It is what the teacher ``flow_cells`` measures, as part of the student's graph: without the reach of the motion, and
with a few hundred prototypes in place of all normal cells.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vadistill.geometry.motion import MOVING, usual_speed
from vadistill.student.network import flow_by_cell
from vadistill.windows.flow_planes import MOST

AROUND = 3  # cells along a side of the square that flow, and distances, are averaged over
PROTOTYPES = 256
NORMAL_CELLS = 60_000  # at most, that the prototypes are means of


class UsualMotion(nn.Module):
    """Prototypes of the motion of cells in normal frames; not from a paper.

    A moving cell is described by its mean flow and its highest speed from the earlier frame and to the later one, by
    the same averaged over 3x3 cells, all in units of the usual speed of its row, and by its row. Its distance, in these
    units, is that to the nearest prototype, of which k-means makes ``PROTOTYPES``. Distances are averaged over 3x3
    cells, where still ones have 0, so that a single cell stands out less than an object does.

    Args:
        grid: Rows R and columns C of the cells.
        cell: Pixels of the flow along a side of one.
        directions: D of the flow.
    """

    least_spread = 0.25  # usual speeds: normal frames in which hardly anything moves do not make every motion unusual
    usual: Tensor
    factors: Tensor
    squares: Tensor

    def __init__(self, grid: tuple[int, int], cell: int, directions: int) -> None:
        super().__init__()
        self.cell, self.directions = cell, directions
        self.register_buffer("usual", torch.full((grid[0], 1), MOVING))
        # Of the prototypes p, -2 p and p^2: of |x - p|^2 = x^2 - 2 x p + p^2 a convolution has all but the first.
        self.register_buffer("factors", torch.zeros(PROTOTYPES, 6 * directions + 1, 1, 1))
        self.register_buffer("squares", torch.zeros(PROTOTYPES))
        self._seen: list[Tensor] = []

    def forward(self, flow: Tensor) -> Tensor:
        """Return the distances (N, 1, R, C) of flow (N, 2 * D, H, W) as windows have it, scaled."""
        cells = self._cells(flow)
        moving = self._moving(cells).float()
        described = self._described(cells)
        away = functional.conv2d(described, self.factors, self.squares)
        nearest = away.amin(1, keepdim=True) + described.square().sum(1, keepdim=True)
        distances = nearest.clamp(min=0).sqrt() * moving
        return functional.avg_pool2d(distances, AROUND, 1, AROUND // 2) * moving

    def see(self, flow: Tensor) -> None:
        """Add flow (N, 2 * D, H, W) of normal frames to that which ``settle`` measures."""
        self._seen.append(self._cells(flow).half().cpu())

    def settle(self) -> None:
        """Take what has been seen as usual; where nothing moved, every motion is unusual."""
        from sklearn.cluster import MiniBatchKMeans  # seconds, which scoring has no need of

        speeds = [self._highest(cells).amin(1).numpy() for cells in self._seen]
        self.usual.copy_(torch.from_numpy(usual_speed(speeds))[:, None])
        normal = []
        for cells in self._seen:
            cells = cells.float().to(self.usual.device)
            normal.append(self._described(cells).permute(0, 2, 3, 1)[self._moving(cells)[:, 0]].cpu().numpy())
        moving = np.concatenate(normal)
        moving = moving[:: max(1, -(-len(moving) // NORMAL_CELLS))]
        if len(moving):
            count = min(PROTOTYPES, len(moving))
            means = MiniBatchKMeans(count, random_state=0, n_init=1, batch_size=4096).fit(moving).cluster_centers_
            # As many as the file of any student has.
            self.take(torch.from_numpy(np.resize(means, (PROTOTYPES, means.shape[1]))))
        self._seen = []

    def take(self, prototypes: Tensor) -> None:
        """Take prototypes (K, 6 * D + 1) of normal cells."""
        self.factors.copy_(-2 * prototypes[:, :, None, None])
        self.squares.copy_(prototypes.square().sum(1))

    def _cells(self, flow: Tensor) -> Tensor:
        """Return the flow (N, 3 * D, R, C) of cells, in heights of the frame."""
        return flow_by_cell(flow.float() * MOST, self.cell)

    def _highest(self, cells: Tensor) -> Tensor:
        return cells[:, 2 * self.directions :]

    def _moving(self, cells: Tensor) -> Tensor:
        """Return which cells (N, 1, R, C) move, in both directions (``geometry.motion.cell_speed``)."""
        return self._highest(cells).amin(1, keepdim=True) >= MOVING

    def _described(self, cells: Tensor) -> Tensor:
        """Return the features (N, 6 * D + 1, R, C) of cells."""
        own = cells / self.usual
        around = functional.avg_pool2d(functional.pad(own, [AROUND // 2] * 4, mode="replicate"), AROUND, 1)
        count, _, rows, columns = own.shape
        row = (torch.arange(rows, device=own.device) / rows)[:, None].expand(count, 1, rows, columns)
        return torch.cat([own, around, row], 1)
