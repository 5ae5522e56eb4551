"""What every training loop does with its losses: check and average them."""

import torch

from vadistill.errors import InputError
from vadistill.training.parallel import mean

CHECKED_TOGETHER = 32  # losses, on a GPU


def finite(loss: torch.Tensor, where: str) -> torch.Tensor:
    """Return the loss as it is.

    Raises:
        InputError: It is not finite; ``where`` names the batch.
    """
    if not torch.isfinite(loss):
        raise InputError(f"the loss is {loss.item()} at {where}; lower the learning rate or check the frames")
    return loss


class FiniteLosses:
    """Checks that losses are finite: on a processor at once, on a GPU several together.

    Whoever looks at a loss waits until the GPU has computed it, and the GPU then waits for what comes next. A step with
    a loss that is not finite spoils the weights; ``check`` comes before they are kept.
    """

    def __init__(self, device: torch.device) -> None:
        self._together = 1 if device.type == "cpu" else CHECKED_TOGETHER
        self._waiting: list[tuple[torch.Tensor, str]] = []

    def __call__(self, loss: torch.Tensor, where: str) -> torch.Tensor:
        """Return the loss as it is; ``where`` names the batch.

        Raises:
            InputError: It, or one before it, is not finite.
        """
        self._waiting.append((loss.detach(), where))
        if len(self._waiting) >= self._together:
            self.check()
        return loss

    def check(self) -> None:
        """Check those that were not yet, before the end of an epoch.

        Raises:
            InputError: One is not finite: the first is named.
        """
        waiting, self._waiting = self._waiting, []
        if len(waiting) > 1 and torch.stack([loss for loss, _ in waiting]).isfinite().all():
            return
        for loss, where in waiting:
            finite(loss, where)


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
