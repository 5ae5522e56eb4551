"""Maxima over a grid, of operations that every runtime has."""

import torch
from torch import Tensor, nn


class GridPool(nn.Module):
    """``adaptive_max_pool2d`` of one size of input, of operations that every exporter knows.

    Cell i of g covers floor(i H / g) to ceil((i + 1) H / g), likewise columns. The members of every row of cells are
    gathered and reduced, then those of every column.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, size: tuple[int, int], side: int):
        super().__init__()
        for axis, length in zip(("rows", "columns"), size, strict=True):
            spans = [(i * length // side, -(-(i + 1) * length // side)) for i in range(side)]
            most = max(end - start for start, end in spans)
            # A shorter cell repeats its last member: no maximum changes by it.
            members = [[min(start + k, end - 1) for k in range(most)] for start, end in spans]
            self.register_buffer(axis, torch.tensor(members), persistent=False)

    def forward(self, cells: Tensor, *_: int) -> Tensor:
        """Return (N, C, g, g) for (N, C, H, W); a second argument, the side, is known already."""
        rows = self._highest(cells.transpose(2, 3), self.rows).transpose(2, 3)
        return self._highest(rows, self.columns)

    @staticmethod
    def _highest(cells: Tensor, members: Tensor) -> Tensor:
        return cells.index_select(-1, members.flatten()).unflatten(-1, members.shape).amax(-1)
