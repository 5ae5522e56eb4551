"""What a student's features usually are at each place of one camera, and how far they are from that."""

import torch
from torch import Tensor, nn
from torch.nn import functional

COMMON = 0.25  # weight of a channel's mean variance over all places beside a place's own: some hardly ever change
AROUND = 15  # features along a side of the square whose mean distance is subtracted
LEAST_SPREAD = 1e-6
NOTHING = (0, torch.zeros(()), torch.zeros(()))


class UsualFeatures(nn.Module):
    """Mean and spread of the features at their place in normal frames; not from a paper.

    The distance of features f is sqrt(mean over the channels of ((f - mean) / spread)^2), less the mean distance around
    it, in spreads, since what changes far and wide, as light does, is no anomaly.

    Args:
        grid: Height H and width W of the features.
        width: Their channels C.
    """

    least_spread = LEAST_SPREAD
    mean: Tensor
    inverse_spread: Tensor

    def __init__(self, grid: tuple[int, int], width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width, *grid))
        self.register_buffer("inverse_spread", torch.ones(width, *grid))
        self._seen: tuple[int, Tensor, Tensor] = NOTHING

    def forward(self, features: Tensor) -> Tensor:
        """Return the distances (N, 1, H, W) of features (N, C, H, W)."""
        away = (features.float() - self.mean) * self.inverse_spread
        distances = away.square().mean(1, keepdim=True).sqrt()
        return distances - functional.avg_pool2d(distances, AROUND, 1, AROUND // 2, count_include_pad=False)

    def see(self, features: Tensor) -> None:
        """Add features (N, C, H, W) of normal frames to those that ``settle`` measures."""
        count, total, squares = self._seen
        wide = features.double()
        self._seen = count + len(wide), total + wide.sum(0), squares + wide.square().sum(0)

    def settle(self) -> None:
        """Take what has been seen as usual."""
        count, total, squares = self._seen
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        variance = (variance + COMMON * variance.mean((1, 2), keepdim=True)) / (1 + COMMON)
        self.mean.copy_(mean)
        self.inverse_spread.copy_(variance.clamp(min=LEAST_SPREAD**2).rsqrt())
        self._seen = NOTHING
