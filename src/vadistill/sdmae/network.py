"""The network of SDMAE: a masked auto-encoder of convolutional transformer blocks with two decoders (arXiv 2306.12041).

L tokens are patches of P x P pixels, in rows; (N, 1 + L, C) features have the class token first. The defaults of
``settings.SdmaeConfig`` are the official layout: 3,042,560 parameters, and 257 of the classifier. Layers that the paper
does not tell are as its released code is described to have them.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadistill.settings import SdmaeConfig

DROPOUT = 0.1
CHANNELS = 4  # of a reconstructed pixel: colour, and whether an anomaly was pasted there
Grid = tuple[int, int]
"""Rows and columns of tokens."""


class Made(NamedTuple):
    """What the network makes of N windows.

    Attributes:
        first: (N, L, 4 * P * P) the first decoder's patches.
        second: The same of the second decoder; None where it is not asked for.
        logit: (N,) of the classifier, positive for a pasted anomaly.
    """

    first: Tensor
    second: Tensor | None
    logit: Tensor


def scale_pixels(frames: Tensor) -> Tensor:
    """Return uint8 values of any shape as float32 from -1 to 1: (x - 127.5) / 127.5."""
    return (frames.float() - 127.5) / 127.5


def patches_of(pixels: Tensor, patch: int) -> Tensor:
    """Return the patches (N, L, C * P * P) of pixels (N, C, H, W), in rows."""
    cut = pixels.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))  # (N, C, rows, P, columns, P)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def halved(grid: Grid) -> Grid:
    """Return the grid on which the half of the tokens that is not masked is laid out.

    Raises:
        ValueError: The number of tokens is odd.
    """
    rows, columns = grid
    if columns % 2 == 0:
        return rows, columns // 2
    if rows % 2 == 0:
        return rows // 2, columns
    raise ValueError(f"{rows} x {columns} tokens have no half")


def picked(tokens: Tensor, places: Tensor) -> Tensor:
    """Return the tokens (N, K, C) at places (N, K) of (N, L, C)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))


class Projection(nn.Module):
    """Depthwise 3x3 convolution and batch norm over the tokens of the picture, then a linear layer over all."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, width)

    def forward(self, features: Tensor, grid: Grid) -> Tensor:
        """Return (N, 1 + L, C) as given."""
        picture = features[:, 1:].transpose(1, 2).unflatten(2, grid)
        tokens = self.norm(self.conv(picture)).flatten(2).transpose(1, 2)
        return self.linear(torch.cat([features[:, :1], tokens], 1))


def attended(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Return the values (N, heads, L, C) that the queries attend to: softmax(q k' scale) v.

    Written out in bfloat16 on a processor, where torch's fused kernel takes twice the time for some hundred tokens.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        return torch.softmax((query * scale) @ key.transpose(2, 3), 3) @ value
    return functional.scaled_dot_product_attention(query, key, value, scale=scale)


class Attention(nn.Module):
    """Multi-head attention; its scale is that of the full width, as in the released code of arXiv 2306.12041."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.scale = heads, width**-0.5
        self.query, self.key, self.value = (Projection(width) for _ in range(3))
        self.output = nn.Linear(width, width)

    def forward(self, features: Tensor, grid: Grid) -> Tensor:
        """Return (N, 1 + L, C) as given."""
        query, key, value = (
            part(features, grid).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        return self.output(attended(query, key, value, self.scale).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm transformer block; the class token passes by its feed-forward."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.forward_norm = nn.LayerNorm(width)
        layers = nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(2 * width, width)
        self.feed_forward = nn.Sequential(*layers)

    def forward(self, features: Tensor, grid: Grid) -> Tensor:
        """Return (N, 1 + L, C) as given."""
        features = features + self.attention(self.norm(features), grid)
        normed = self.forward_norm(features)
        return features + torch.cat([normed[:, :1], self.feed_forward(normed[:, 1:])], 1)


class Decoder(nn.Module):
    """Blocks from the features of all tokens to patches of pixels."""

    def __init__(self, settings: SdmaeConfig, depth: int):
        super().__init__()
        width = settings.decoder_width
        self.blocks = nn.ModuleList(Block(width, settings.heads) for _ in range(depth))
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, CHANNELS * settings.patch**2)

    def forward(self, features: Tensor, grid: Grid) -> Tensor:
        """Return (N, L, 4 * P * P) of (N, 1 + L, C)."""
        for block in self.blocks:
            features = block(features, grid)
        return self.output(self.norm(features))[:, 1:]


class MaskedAutoEncoder(nn.Module):
    """From half of a window's tokens to all patches of its middle frame, twice: by a decoder, and by a smaller one.

    The smaller one, ``second``, learns what the first one makes of it; it begins behind the first one's first block.
    Where nothing is masked, it sees all tokens in their places, whatever their order.
    """

    def __init__(self, settings: SdmaeConfig):
        super().__init__()
        wide, narrow = settings.encoder_width, settings.decoder_width
        self.grid, self.masked = settings.tokens, settings.masked
        self.seen_grid = halved(self.grid) if self.masked else self.grid
        self.embedding = nn.Conv2d(9, wide, settings.patch, settings.patch)
        self.embedding_norm = nn.LayerNorm(wide)
        self.class_token = nn.Parameter(torch.zeros(1, 1, wide))
        self.blocks = nn.ModuleList(Block(wide, settings.heads) for _ in range(settings.encoder_depth))
        self.norm = nn.LayerNorm(wide)
        self.classifier = nn.Linear(wide, 1)
        self.narrow = nn.Linear(wide, narrow)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, narrow))
        self.shared = Block(narrow, settings.heads)
        self.first = Decoder(settings, settings.decoder_depth - 1)
        self.second = Decoder(settings, 1)
        for token in (self.class_token, self.mask_token):
            nn.init.normal_(token, std=0.02)

    def forward(self, frames: Tensor, order: Tensor, second: bool = True) -> Made:
        """Return what is made of scaled frames (N, 9, H, W), whose tokens are seen, or the first half of an order.

        Args:
            frames: In BGR triples.
            order: (N, L) of the tokens. Those that are seen lie side by side in this order: the encoder's convolutions
                mix what happens to be neighbours.
            second: Whether the second decoder is asked, too.
        """
        tokens = self.embedding_norm(self.embedding(frames).flatten(2).transpose(1, 2))
        if not self.masked:
            order = torch.arange(tokens.shape[1], device=order.device).expand_as(order)
        seen = picked(tokens, order[:, : math.prod(self.seen_grid)])
        features = torch.cat([self.class_token.expand(frames.shape[0], -1, -1), seen], 1)
        for block in self.blocks:
            features = block(features, self.seen_grid)
        features = self.norm(features)
        logit = self.classifier(features[:, 0])[:, 0]
        features = self.shared(self._whole(self.narrow(features), order), self.grid)
        return Made(self.first(features, self.grid), self.second(features, self.grid) if second else None, logit)

    def _whole(self, features: Tensor, order: Tensor) -> Tensor:
        """Return (N, 1 + L, C), mask tokens where nothing was seen, each token in its place."""
        hidden = self.mask_token.expand(features.shape[0], order.shape[1] - features.shape[1] + 1, -1)
        shuffled = torch.cat([features[:, 1:], hidden.to(features.dtype)], 1)
        return torch.cat([features[:, :1], picked(shuffled, order.argsort(1))], 1)
