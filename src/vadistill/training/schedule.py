"""Learning rates in the course of a training.

All are pure functions of how far the training has come: a resumed one has nothing to restore.
"""

import math

import torch

WARM_UP = 0.1  # share of a training in which the learning rate rises


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def cosine(done: float, total: float = 1.0) -> float:
    """Return the factor of a learning rate that falls from 1 to 0 as half a cosine.

    Source: arXiv 1608.03983, equation 5, without restarts.
    """
    return (1 + math.cos(math.pi * done / total)) / 2


def warmed_cosine(progress: float) -> float:
    """Return the factor of a learning rate that rises evenly over the first tenth, then falls as ``cosine``.

    Args:
        progress: Share of the training that is done.

    Source: the warm-up is that of arXiv 1706.02677, section 2.2.
    """
    rest = (progress - WARM_UP) / (1 - WARM_UP)
    return progress / WARM_UP if rest < 0 else cosine(rest)


def stepped(epoch: int, every: int, decay: float) -> float:
    """Return the factor of a learning rate that is multiplied by ``decay`` after every so many epochs.

    Source: the schedule in the code of arXiv 2211.15597; the paper has none.
    """
    return decay ** (epoch // every)
