"""What every training loop does with its losses: check and average them."""

import torch

from vadistill.errors import InputError
from vadistill.training.parallel import mean


def finite(loss: torch.Tensor, where: str) -> torch.Tensor:
    """Return the loss as it is.

    Raises:
        InputError: It is not finite; ``where`` names the batch.
    """
    if not torch.isfinite(loss):
        raise InputError(f"the loss is {loss.item()} at {where}; lower the learning rate or check the frames")
    return loss


class Averages:
    """Means of logged scalars over an epoch, weighted by the size of the batches."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, torch.Tensor] = {}

    def add(self, values: dict[str, torch.Tensor], size: int) -> None:
        """Add a batch's detached scalars."""
        self.count += size
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0) + value * size

    def means(self) -> dict[str, float]:
        """Return the means, over all processes that train together."""
        return {name: float(mean(value)) / self.count for name, value in self._sums.items()}
