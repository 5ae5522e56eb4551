"""Auto-encoder and classifier of one view of the objects, and the losses of its three steps (arXiv 2008.12328)."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vadistill.teachers.pooling import HalvingPool
from vadistill.training.parallel import mean

MARGIN = 4.0  # bounded ascent ends where pseudo-anomalies have this many times the normal error


class _Reverse(torch.autograd.Function):
    """Identity whose gradient is multiplied by minus ``weight``."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None


def _encoder(channels: int) -> nn.Sequential:
    """Return the way from (N, C, S, S) to latent features (N, 16, S/8, S/8)."""
    widths = pairwise((channels, 32, 32, 16))
    # Pooled first, ReLU has a quarter of the values; the result is the same.
    layers = [(nn.Conv2d(before, after, 3, padding=1), HalvingPool(), nn.ReLU()) for before, after in widths]
    return nn.Sequential(*(layer for stage in layers for layer in stage))


def convolve_enlarged(features: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Return a 3x3 convolution of features (N, F, H, W) enlarged twice, (N, C, 2H, 2W), without enlarging them.

    An enlarged pixel equals its neighbour, so that those at even and at odd rows and columns are four convolutions of
    the small features, whose weights are sums of the given ones. With few channels C that spares most of the time. It
    differs from enlarging by the rounding of the sums.
    """
    weight = _of_even_and_odd(_of_even_and_odd(convolution.weight, -2), -1).flatten(0, 2)
    assert convolution.bias is not None  # as Conv2d makes it
    return F.pixel_shuffle(F.conv2d(features, weight, convolution.bias.repeat_interleave(4), padding=1), 2)


def _of_even_and_odd(weight: Tensor, axis: int) -> Tensor:
    """Return the weights (C, ..., 2, F, 3, 3) on small pixels that those on enlarged ones (C, ..., F, 3, 3) amount to.

    The new axis says whether an enlarged pixel's place along the axis is even or odd.
    """
    before, at, behind = weight.unbind(axis)
    even, odd = (before, at + behind, torch.zeros_like(at)), (torch.zeros_like(at), before + at, behind)
    return torch.stack([torch.stack(taps, axis) for taps in (even, odd)], dim=-4)


class _Decoder(nn.Sequential):
    """The way from latent features (N, 16, S/8, S/8) to (N, C, S, S)."""

    def forward(self, latent: Tensor) -> Tensor:
        """Return what the layers in a row would; the last enlargement is made by the convolution behind it."""
        *layers, _, convolution, last = self
        for layer in layers:
            latent = layer(latent)
        assert isinstance(convolution, nn.Conv2d)  # as _decoder puts it
        return last(convolve_enlarged(latent, convolution))


def _decoder(channels: int, bounded: bool) -> _Decoder:
    """Return the way from latent features (N, 16, S/8, S/8) to (N, C, S, S); bounded: in (0, 1)."""
    widths = pairwise((16, 16, 32, 32))
    layers = [
        (nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)) for before, after in widths
    ]
    last = nn.Sigmoid() if bounded else nn.Identity()
    return _Decoder(*(layer for stage in layers for layer in stage), nn.Conv2d(32, channels, 3, padding=1), last)


class Classifier(nn.Module):
    """Normal or abnormal, from a stream's absolute errors and latent features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.errors = _encoder(channels)
        self.head = nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2)
        )

    def forward(self, errors: Tensor, latent: Tensor) -> Tensor:
        """Return logits (N, 2) of errors (N, C, S, S) and latent features (N, 16, S/8, S/8); abnormal is class 1."""
        return self.head(torch.cat([self.errors(errors), latent], dim=1))


class Stream(nn.Module):
    """One view (N, C, S, S) of the objects: auto-encoder, second decoder for pseudo-anomalies, classifier.

    Attributes:
        adversary: The second decoder, which the reversed gradient needs; None without it.
    """

    def __init__(self, channels: int, bounded: bool = False, adversary: bool = True) -> None:
        super().__init__()
        self.encoder = _encoder(channels)
        self.decoder = _decoder(channels, bounded)
        self.adversary = _decoder(channels, bounded) if adversary else None
        self.classifier = Classifier(channels)

    def reconstruct(self, view: Tensor) -> Tensor:
        """Return the auto-encoder's output."""
        return self.decoder(self.encoder(view))

    def reconstruct_reversed(self, view: Tensor, weight: float) -> Tensor:
        """Return the second decoder's output; the encoder receives its gradient times minus ``weight``."""
        assert self.adversary is not None  # made where gradients are reversed
        return self.adversary(_Reverse.apply(self.encoder(view), weight))

    def predict(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, 2) and mean squared errors (N,); no gradient reaches the auto-encoder."""
        with torch.no_grad():
            latent = self.encoder(view)
            errors = (view - self.decoder(latent)).abs()
        return self.classifier(errors, latent), errors.square().mean(dim=(1, 2, 3))


def reconstruct_both(stream: Stream, normal: Tensor, pseudo: Tensor) -> dict[str, Tensor]:
    """Step A, arXiv 2008.12328: reconstruct normal views X and pseudo-abnormal ones Z; rec(X) + rec(Z)."""
    made = stream.reconstruct(torch.cat([normal, pseudo]))
    losses = [F.mse_loss(part, view) for part, view in zip(made.chunk(2), (normal, pseudo), strict=True)]
    return {"loss": losses[0] + losses[1], "normal": losses[0], "pseudo": losses[1]}


def reverse_gradient(weight: float, stream: Stream, normal: Tensor, pseudo: Tensor) -> dict[str, Tensor]:
    """Step B: descent on X; on Z descent of the second decoder and, weighted, ascent of the encoder."""
    real = F.mse_loss(stream.reconstruct(normal), normal)
    made = F.mse_loss(stream.reconstruct_reversed(pseudo, weight), pseudo)
    return {"loss": real + made, "normal": real, "pseudo": made}


def bounded_ascent(weight: float, stream: Stream, normal: Tensor, pseudo: Tensor) -> dict[str, Tensor]:
    """Step B without a second decoder: rec(X) + weight * max(0, m - rec(Z)), m four times the batch's normal error.

    Plain ascent, rec(X) - weight * rec(Z), has no lower bound; here Z stops to count once its error has reached m, to
    which no gradient flows.
    """
    # Of the whole batch: the mean of what shares of it would give is another loss.
    real = mean(F.mse_loss(stream.reconstruct(normal), normal))
    made = mean(F.mse_loss(stream.reconstruct(pseudo), pseudo))
    return {"loss": real + weight * (MARGIN * real.detach() - made).relu(), "normal": real, "pseudo": made}


def classify(stream: Stream, normal: Tensor, pseudo: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of normal (class 0) and pseudo-abnormal (class 1) objects, and the share that is right."""
    logits, _ = stream.predict(torch.cat([normal, pseudo]))
    labels = torch.arange(2, device=logits.device).repeat_interleave(len(normal))
    return {"loss": F.cross_entropy(logits, labels), "accuracy": (logits.argmax(1) == labels).float().mean()}
