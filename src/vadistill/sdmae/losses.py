"""Losses of SDMAE (arXiv 2306.12041, equations 1 to 4)."""

import torch
from torch import Tensor
from torch.nn import functional

from vadistill.sdmae.network import patches_of

LEAST_ANOMALY = 128.0  # grey levels that a pasted pixel counts at least as change: the released code's


def token_weights(before: Tensor, after: Tensor, mask: Tensor, patch: int) -> Tensor:
    """Return how much each token counts (N, L), in sum 1 a sample: the highest change in it, mean over the colours.

    Source: arXiv 2306.12041, equations 1 and 2; pasted anomalies are added to the change, as strong as the highest one
    of the sample and at least 128 grey levels (released code). Where nothing changes, all tokens count alike.

    Args:
        before: (N, 3, H, W) uint8, one frame before the judged one.
        after: One frame after it.
        mask: (N, 1, H, W) float32, 1 where an anomaly was pasted.
        patch: Side of a token in pixels.
    """
    change = (after.float() - before.float()).abs()
    change = change + mask * change.amax((1, 2, 3), keepdim=True).clamp(min=LEAST_ANOMALY)
    highest = functional.max_pool2d(change, patch).mean(1).flatten(1)
    total = highest.sum(1, keepdim=True)
    return torch.where(total > 0, highest / total.clamp(min=1e-6), 1 / highest.shape[1])


def even_weights(count: int, tokens: int, device: torch.device) -> Tensor:
    """Return equal weights (count, tokens), in sum 1 a sample."""
    return torch.full((count, tokens), 1 / tokens, device=device)


def weighted_error(made: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over samples of the weighted mean squared error of their tokens.

    Source: arXiv 2306.12041, equations 3 and 4; its division by the number of tokens, a constant, is left out.

    Args:
        made: (N, L, D) patches.
        target: What they should be.
        weights: (N, L), in sum 1 a sample.
    """
    return (weights * (made.float() - target.float()).square().mean(2)).sum(1).mean()


def target_patches(clean: Tensor, mask: Tensor, patch: int) -> Tensor:
    """Return what is to be reconstructed (N, L, 4 * P * P): the frame without the anomaly, and 1 where it was, else -1.

    Args:
        clean: (N, 3, H, W) scaled.
        mask: (N, 1, H, W), 1 where an anomaly was pasted.
        patch: Side of a token in pixels.
    """
    return patches_of(torch.cat([clean, 2 * mask - 1], 1), patch)
