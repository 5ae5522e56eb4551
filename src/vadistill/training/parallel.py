"""One training in several processes (``torchrun``): each takes its share of every batch, and all keep equal weights.

Nothing here does anything in a process that was started alone. Shares of a batch are of equal size, so that the mean
over processes of their mean losses is the loss of the whole batch, and the mean of their gradients is its gradient.
"""

import atexit
import logging
import os
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from vadistill.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


def processes() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """Return which of them this one is; 0 writes the files."""
    return int(os.environ.get("RANK", 0))


def refuse_company(what: str) -> None:
    """Refuse to train with others what has no shares of batches.

    Raises:
        InputError: Several processes were started.
    """
    if processes() > 1:
        raise InputError(f"{what}: trains in one process, found {processes()}; start it with python, not with torchrun")


def join(backend: str) -> int:
    """Meet the other processes, where there are any, and return the number of this process on its machine.

    Args:
        backend: ``nccl`` between GPUs, ``gloo`` between processors.
    """
    if processes() > 1 and not distributed.is_initialized():
        distributed.init_process_group(backend)
        atexit.register(distributed.destroy_process_group)
        if rank():
            logging.disable(logging.WARNING)  # the first process says it
    return int(os.environ.get("LOCAL_RANK", 0))


def share(order: Sequence[int], batch: int) -> tuple[list[int], int]:
    """Return this process's part of every batch of an order, and its size of a batch.

    Of the last batch up to ``processes() - 1`` items are left out, so that all parts are of equal size.

    Raises:
        InputError: A batch cannot be divided evenly.
    """
    count = processes()
    if batch % count:
        raise InputError(f"batch is {batch}; expected a multiple of the {count} processes that train together")
    parts = [order[start : start + batch] for start in range(0, len(order), batch)]
    sizes = [len(part) // count for part in parts]
    own = [i for part, size in zip(parts, sizes, strict=True) for i in part[rank() * size : (rank() + 1) * size]]
    return own, batch // count


def uniform(shape: Sequence[int], generator: torch.Generator | None, device: torch.device | str = "cpu") -> Tensor:
    """Return numbers from [0, 1) for this process's share (N, ...): its rows of those that one process would draw."""
    drawn = torch.rand((processes() * shape[0], *shape[1:]), generator=generator, device=device)
    return drawn[rank() * shape[0] : (rank() + 1) * shape[0]]


class _Mean(torch.autograd.Function):
    """Mean over the processes; each gradient is the mean of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / processes()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Mean.forward(ctx, gradients[0])


def mean(value: Tensor) -> Tensor:
    """Return the mean of a value over the processes."""
    return _Mean.apply(value) if processes() > 1 else value


def averaging(optimiser: torch.optim.Optimizer) -> None:
    """Have an optimiser average the gradients over the processes before each of its steps."""

    def average(*_: Any) -> None:
        parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        means = mean(torch.cat([p.grad.flatten() for p in parameters])).split([p.numel() for p in parameters])
        for parameter, values in zip(parameters, means, strict=True):
            parameter.grad.copy_(values.view_as(parameter))

    if processes() > 1:
        optimiser.register_step_pre_hook(average)


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch norm by mean and variance of the whole batch; torch's own of this kind runs on GPUs alone."""

    def forward(self, features: Tensor) -> Tensor:
        """Return normalised features (N, C, H, W) of this process's share."""
        if not self.training:
            return super().forward(features)
        values = features.float()
        centre = mean(values.mean((0, 2, 3)))
        values = values - centre[:, None, None]
        variance = mean(values.square().mean((0, 2, 3)))
        self._keep(centre.detach(), variance.detach(), processes() * values.numel() // values.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (values * scale[:, None, None] + self.bias[:, None, None]).to(features.dtype)

    def _keep(self, centre: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics as torch does, with the unbiased variance of ``count`` values."""
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(centre, momentum)
        self.running_var.lerp_(variance * count / max(count - 1, 1), momentum)


def whole_batch_norms(network: Network) -> Network:
    """Return the network, whose batch norms see the whole batch from now on; its weights are as they were."""
    for module in network.modules() if processes() > 1 else ():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = WholeBatchNorm
    return network
