"""One training in several processes (``torchrun``): each takes its share of every batch, and all keep equal weights.

Nothing here does anything in a process that was started alone. Shares of a batch are of equal size, so that the mean
over processes of their mean losses is the loss of the whole batch, and the mean of their gradients is its gradient.
"""

import atexit
import logging
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from vadistill.errors import InputError

Network = TypeVar("Network", bound=nn.Module)
# That processes wait for what the others read; one that has gone is noticed by who started it.
READING = timedelta(days=1)


def processes() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """Return which of them this one is; 0 writes the files."""
    return int(os.environ.get("RANK", 0))


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


def check_batch(batch: int) -> None:
    """Raise an error for a batch that has no equal shares.

    Raises:
        InputError: It cannot be divided evenly.
    """
    if batch % processes():
        raise InputError(f"batch is {batch}; expected a multiple of the {processes()} processes that train together")


def share(order: Sequence[int], batch: int) -> tuple[list[int], int]:
    """Return this process's part of every batch of an order, and its size of a batch.

    Of the last batch up to ``processes() - 1`` items are left out, so that all parts are of equal size.

    Raises:
        InputError: A batch cannot be divided evenly.
    """
    check_batch(batch)
    count = processes()
    parts = [order[start : start + batch] for start in range(0, len(order), batch)]
    sizes = [len(part) // count for part in parts]
    own = [i for part, size in zip(parts, sizes, strict=True) for i in part[rank() * size : (rank() + 1) * size]]
    return own, batch // count


def uniform(shape: Sequence[int], generator: torch.Generator | None, device: torch.device | str = "cpu") -> Tensor:
    """Return numbers from [0, 1) for this process's share (N, ...): its rows of those that one process would draw."""
    drawn = torch.rand((processes() * shape[0], *shape[1:]), generator=generator, device=device)
    return drawn[rank() * shape[0] : (rank() + 1) * shape[0]]


def spread(rows: Tensor) -> Tensor:
    """Return this process's share of the objects of a batch (N, ...): every n-th of n processes, up to n - 1 left out.

    Where the whole has a first and a second half, every share has its part of each.
    """
    count = processes()
    return rows[: len(rows) // count * count][rank() :: count]


class Draws:
    """Random numbers of objects, along the first axis, from a CPU generator.

    Those of a process's share (``spread``) are the ones that one process would draw for the same objects.

    Args:
        generator: In the same state in all processes.
        shared: Whether the objects are a share; else each process draws for all.
    """

    def __init__(self, generator: torch.Generator | None, shared: bool = False) -> None:
        self.generator, self._shared = generator, shared and processes() > 1

    def _of(self, draw: Callable[..., Tensor], count: int, *shape: int) -> Tensor:
        if not self._shared:
            return draw((count, *shape), generator=self.generator)
        return spread(draw((processes() * count, *shape), generator=self.generator))

    def rand(self, count: int, *shape: int) -> Tensor:
        """Return numbers (count, ...) from [0, 1)."""
        return self._of(torch.rand, count, *shape)

    def uniform(self, low: float, high: float, count: int, *shape: int) -> Tensor:
        """Return numbers (count, ...) from [low, high)."""
        return low + (high - low) * self.rand(count, *shape)

    def randn(self, count: int, *shape: int) -> Tensor:
        """Return numbers (count, ...) of the normal distribution."""
        return self._of(torch.randn, count, *shape)

    def randint(self, low: int, high: int, count: int, *shape: int) -> Tensor:
        """Return whole numbers (count, ...) from [low, high)."""
        return self._of(partial(torch.randint, low, high), count, *shape)


@cache
def _between_processors() -> distributed.ProcessGroup | None:
    """Return the group of all processes for what lies in the memory of the processors; reading may take a while."""
    return distributed.new_group(backend="gloo", timeout=READING)


def joined(part: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the objects that all processes have read, in the order of the processes.

    Args:
        part: Tensors (n, ...) of as many objects as this process has read; empty where it has none.
    """
    if processes() == 1:
        return part
    group, told = _between_processors(), [dict[str, tuple[torch.Size, torch.dtype]]()] * processes()
    distributed.all_gather_object(told, {name: (rows.shape, rows.dtype) for name, rows in part.items()}, group)
    whole: dict[str, Tensor] = {}
    for name, (shape, dtype) in next(filter(None, told)).items():
        counts = [kinds[name][0][0] if kinds else 0 for kinds in told]
        whole[name] = torch.empty((sum(counts), *shape[1:]), dtype=dtype)
        for number, rows in enumerate(whole[name].split(counts)):
            if number == rank() and len(rows):
                rows.copy_(part.pop(name))  # which is freed: a sample never lies in memory twice
            if len(rows):
                distributed.broadcast(rows.flatten().view(torch.uint8), number, group)
    return whole


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


class _WholeBatch(nn.modules.batchnorm._BatchNorm):
    """Batch norm by mean and variance of the whole batch; torch's own of this kind runs on GPUs alone."""

    def forward(self, features: Tensor) -> Tensor:
        """Return normalised features (N, C, ...) of this process's share."""
        if not self.training:
            return super().forward(features)
        values, others = features.float(), [axis for axis in range(features.ndim) if axis != 1]
        shape = [-1] + [1] * (features.ndim - 2)
        centre = mean(values.mean(others))
        values = values - centre.view(shape)
        variance = mean(values.square().mean(others))
        self._keep(centre.detach(), variance.detach(), processes() * values.numel() // values.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (values * scale.view(shape) + self.bias.view(shape)).to(features.dtype)

    def _keep(self, centre: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics as torch does, with the unbiased variance of ``count`` values."""
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(centre, momentum)
        self.running_var.lerp_(variance * count / max(count - 1, 1), momentum)


class WholeBatchNorm2d(_WholeBatch, nn.BatchNorm2d):
    """That of features (N, C, H, W)."""


class WholeBatchNorm3d(_WholeBatch, nn.BatchNorm3d):
    """That of features (N, C, L, H, W)."""


WHOLE: dict[type, type] = {nn.BatchNorm2d: WholeBatchNorm2d, nn.BatchNorm3d: WholeBatchNorm3d}


def whole_batch_norms(network: Network) -> Network:
    """Return the network, whose batch norms see the whole batch from now on; its weights are as they were."""
    for module in network.modules() if processes() > 1 else ():
        module.__class__ = WHOLE.get(type(module), type(module))
    return network
