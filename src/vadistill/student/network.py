"""The student: a convolutional transformer from a few frames to anomaly maps (arXiv 2211.15597).

Stage 1 trains its backbone as an auto-encoder of the middle frame, stage 2 puts the map heads on it. All tensors are
(N, C, H, W); windows of F frames, three by default, are (N, 3 * F, H, W), with flow (N, 3 * F + 4, H, W). The defaults
of ``settings.StudentConfig`` are the official layout: 4,997,747 parameters and 7.05 GMAC at 360x640. Windows come
scaled (``scale_frames``), in any size.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadistill.errors import InputError
from vadistill.settings import StudentConfig
from vadistill.windows.shape import plane_count

STEMS = {"full": 1, "half": 2, "quarter": 4}  # stride of the first convolution
FLOW_WIDTH = 16  # channels between the two convolutions of the flow
AnomalyMaps = dict[int, Tensor]  # anomaly maps by resolution, the side g of the grid: (N, 1, g, g)

CACHED = 1 << 18  # weights of a window's attention: those of a batch then stay in a processor's cache, written out
FIRST_VALUE = 0.05  # of an untrained map cell: near the targets, which are mostly 0, and on the live side of a ReLU


def scale_frames(frames: Tensor) -> Tensor:
    """Return uint8 frames, or windows, (N, C, H, W) as float32 of the same shape: (x - 127) / 128.

    They lie channels last in memory, which is faster on CPU and GPU.

    Raises:
        TypeError: The frames are not uint8, so they may be scaled already.
    """
    if frames.dtype != torch.uint8:
        raise TypeError(f"expected uint8 frames, got {frames.dtype}")
    return (frames.contiguous(memory_format=torch.channels_last).float() - 127) / 128


def frame_scores(maps: AnomalyMaps) -> Tensor:
    """Return (N,) frame scores: the mean over the resolutions of each map's maximum (arXiv 2211.15597)."""
    return torch.stack([grid.flatten(1).amax(1) for grid in maps.values()]).mean(0)


def with_positions(frames: Tensor) -> Tensor:
    """Return frames (N, C, H, W) with two more channels: the row and the column of each pixel, from -1 to 1."""
    count, _, height, width = frames.shape
    rows, columns = (torch.linspace(-1, 1, side, device=frames.device, dtype=frames.dtype) for side in (height, width))
    row = rows[None, None, :, None].expand(count, 1, height, width)
    column = columns[None, None, None, :].expand(count, 1, height, width)
    # In the layout of the frames: else the result is copied once more before the first convolution.
    places = torch.cat([row, column], 1).contiguous(memory_format=torch.channels_last)
    return torch.cat([frames, places], 1)


def feature_grid(settings: StudentConfig) -> tuple[int, int]:
    """Return height and width of the last features: a feature belongs to a square cell of the input."""
    height, width = (-(-side // feature_cell(settings)) for side in settings.size)
    return height, width


def feature_cell(settings: StudentConfig) -> int:
    """Return the pixels along a side of such a cell."""
    return STEMS[settings.stem] << settings.downsamplings


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels at every position of (N, C, H, W)."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the normalised features, same shape."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation and ReLU."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d):
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels)

    def forward(self, features: Tensor, **conv: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the activated features and the convolution's output before normalisation."""
        raw = self.conv(features, **conv)
        return functional.relu(self.norm(raw), inplace=True), raw


class Encoder(nn.Module):
    """A 7x7 convolution, then strided ones that halve the size and double the channels."""

    def __init__(self, settings: StudentConfig):
        super().__init__()
        self.positions = settings.positions
        width, channels = settings.base_width, 3 * settings.frames + 2 * settings.positions
        self.stem = ConvNorm(
            nn.Conv2d(channels, width, 7, STEMS[settings.stem], padding=3, padding_mode="reflect", bias=False)
        )
        self.stages = nn.ModuleList(
            ConvNorm(nn.Conv2d(width << i, width << (i + 1), 3, stride=2, padding=1, bias=False))
            for i in range(settings.downsamplings)
        )
        self.width = width << settings.downsamplings

    def forward(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the features of (N, 3 * F, H, W) frames and each stage's convolution output, the largest first.

        Sizes halve rounding up: stage i gives (N, base_width * 2^i, ceil(h / 2^i), ceil(w / 2^i)), where h and w are
        the frame's sides behind the stem.
        """
        features, _ = self.stem(with_positions(frames) if self.positions else frames)
        skips = []
        for stage in self.stages:
            features, raw = stage(features)
            skips.append(raw)
        return features, skips


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(Q K^T / sqrt(D)) V, (N, heads, L, D), of Q (N, heads, L, D), K and V (N, heads, M, D).

    Where few tokens are learned from in bfloat16 on a processor it is written out: torch's fused kernel takes nearly
    three times as long, forward and backward.
    """
    learned = query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad
    if learned and query.shape[1:3].numel() * key.shape[2] <= CACHED:
        return torch.softmax((query / math.sqrt(query.shape[3])) @ key.transpose(2, 3), 3) @ value
    return functional.scaled_dot_product_attention(query, key, value)


class Attention(nn.Module):
    """Multi-head attention with convolutional projections; keys and values lie on a grid of half the size."""

    def __init__(self, width: int, heads: int, head_width: int):
        super().__init__()
        self.heads = heads
        inner = heads * head_width
        self.query = self._projection(width, inner, stride=1)
        self.key_value = self._projection(width, 2 * inner, stride=2)
        self.output = nn.Conv2d(inner, width, 1)

    @staticmethod
    def _projection(width: int, inner: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, inner, 1, bias=False),
        )

    def _tokens(self, grid: Tensor) -> Tensor:
        """Turn (N, heads * D, H, W) into (N, heads, H * W, D)."""
        return grid.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Return softmax(Q K^T / sqrt(D)) V of every head, concatenated and projected: (N, C, H, W) as given."""
        query = self._tokens(self.query(features))
        key, value = (self._tokens(half) for half in self.key_value(features).chunk(2, dim=1))
        seen = attended(query, key, value)  # (N, heads, H * W, D)
        grid = seen.transpose(1, 2).flatten(2).unflatten(1, features.shape[-2:])  # (N, H, W, heads * D)
        return self.output(grid.permute(0, 3, 1, 2))


class Block(nn.Module):
    """Convolutional transformer block, pre-norm: attention and a pointwise feed-forward, both residual."""

    def __init__(self, width: int, heads: int, head_width: int, feed_forward: int):
        super().__init__()
        self.attention = nn.Sequential(ChannelNorm(width), Attention(width, heads, head_width))
        self.feed_forward = nn.Sequential(
            ChannelNorm(width),
            nn.Conv2d(width, feed_forward * width, 1),
            nn.GELU(),
            nn.Conv2d(feed_forward * width, width, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape (N, C, H, W)."""
        features = features + self.attention(features)
        return features + self.feed_forward(features)


def flow_by_cell(flow: Tensor, cell: int) -> Tensor:
    """Return the flow of square cells (N, 3 * D, ceil(H / cell), ceil(W / cell)) of flow (N, 2 * D, H, W).

    First come the mean flows of all directions, then the highest speeds, which a mean over something small would hide.

    Args:
        flow: Of D directions, in any unit; beyond its border there is none.
        cell: Pixels along a side.
    """
    below, beside = (-side % cell for side in flow.shape[-2:])
    flow = functional.pad(flow, (0, beside, 0, below))
    speed = flow.unflatten(1, (-1, 2)).square().sum(2).sqrt()
    return torch.cat([functional.avg_pool2d(flow, cell), functional.max_pool2d(speed, cell)], 1)


class FlowStem(nn.Module):
    """From the flow in windows to features of the encoder's size: what it is by cells, then two convolutions.

    Args:
        planes: Of the flow, two a direction.
        width: Channels of the features.
        cell: Pixels of the input along a side of one of the encoder's features.
    """

    def __init__(self, planes: int, width: int, cell: int):
        super().__init__()
        self.cell = cell
        self.hidden = ConvNorm(nn.Conv2d(planes // 2 * 3, FLOW_WIDTH, 3, padding=1, bias=False))
        self.output = nn.Conv2d(FLOW_WIDTH, width, 3, padding=1)

    def forward(self, flow: Tensor) -> Tensor:
        """Return the features (N, C, ceil(H / cell), ceil(W / cell)) of flow (N, 2 * D, H, W)."""
        hidden, _ = self.hidden(flow_by_cell(flow, self.cell))
        return self.output(hidden)


class Backbone(nn.Module):
    """Encoder and transformer blocks, which both stages share; what moves is added before the blocks."""

    def __init__(self, settings: StudentConfig):
        super().__init__()
        self.encoder = Encoder(settings)
        self.width = self.encoder.width
        self.colours = 3 * settings.frames
        self.blocks = nn.Sequential(
            *(
                Block(self.width, settings.heads, settings.head_width, settings.feed_forward)
                for _ in range(settings.depth)
            )
        )

        # Made last, so that everything else begins as it does without.
        planes = plane_count(settings.flow)
        self.flow = FlowStem(planes, self.width, feature_cell(settings)) if planes else None

    def forward(self, windows: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last features of windows (N, C, H, W) and the encoder's convolution outputs."""
        features, skips = self.encoder(windows[:, : self.colours])
        if self.flow is not None:
            features = features + self.flow(windows[:, self.colours :])
        return self.blocks(features), skips


class AutoEncoder(nn.Module):
    """Stage 1: the backbone and a decoder to the middle frame, at half the size that the stem leaves."""

    def __init__(self, settings: StudentConfig):
        super().__init__()
        self.backbone = Backbone(settings)
        widths = [settings.base_width << i for i in range(settings.downsamplings, 0, -1)]
        self.decoder = nn.ModuleList(
            ConvNorm(nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, bias=False))
            for wide, narrow in pairwise(widths)
        )
        self.output = nn.Conv2d(widths[-1], 3, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the scaled middle frame (N, 3, h, w) of scaled windows (N, C, H, W).

        h is ceil(H / 2) with the stem ``full``, a quarter of H with ``half``, an eighth with ``quarter``; w likewise.
        """
        features, (*larger, smallest) = self.backbone(frames)
        features = features + smallest
        for stage, skip in zip(self.decoder, reversed(larger), strict=True):
            # An odd size cannot be told from the half of it, hence the encoder's.
            features, _ = stage(features, output_size=skip.shape[-2:])
            features = features + skip
        return self.output(features)


class FrameHead(nn.Module):
    """Head of the 1x1 map: max-pooling to 2x2 and one fully connected layer."""

    def __init__(self, width: int):
        super().__init__()
        self.output = nn.Linear(4 * width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, 1, 1, 1) in [0, 1] for (N, C, H, W) features."""
        pooled = functional.adaptive_max_pool2d(features, 2).flatten(1)
        return self.output(functional.relu(pooled)).float().sigmoid()[..., None, None]


class MapHead(nn.Module):
    """Head of a g x g map: two 3x3 convolutions, an activation at full size, then max-pooling to the grid."""

    def __init__(self, width: int, side: int, last_activation: str):
        super().__init__()
        self.side = side
        self.pool: Callable[..., Tensor] = functional.adaptive_max_pool2d
        hidden = max(width // 4, 1)
        self.hidden = nn.Conv2d(width, hidden, 3, padding=1)
        output = nn.Conv2d(hidden, 1, 3, padding=1)
        self.output: nn.Module = output
        activations: dict[str, Callable[[Tensor], Tensor]]
        activations = {"softplus": functional.softplus, "relu": functional.relu}
        self.activation = activations[last_activation]
        inverse = {"softplus": math.log(math.expm1(FIRST_VALUE)), "relu": FIRST_VALUE}
        assert output.bias is not None
        nn.init.constant_(output.bias, inverse[last_activation])

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, 1, g, g), not negative, for (N, C, H, W) features; g may exceed H and W."""
        cells = self.activation(self.output(functional.relu(self.hidden(features))).float())
        return self.pool(cells, self.side)


class Student(nn.Module):
    """Stage 2: the backbone and one head a resolution."""

    def __init__(self, settings: StudentConfig, resolutions: Sequence[int]):
        super().__init__()
        self.backbone = Backbone(settings)
        width = self.backbone.width
        self.heads = nn.ModuleDict(
            {
                str(side): FrameHead(width) if side == 1 else MapHead(width, side, settings.last_activation)
                for side in resolutions
            }
        )

    def forward(self, frames: Tensor) -> AnomalyMaps:
        """Return float32 maps of scaled windows (N, C, H, W), in the order of the resolutions."""
        features, _ = self.backbone(frames)
        return self.maps_of(features)

    def maps_of(self, features: Tensor) -> AnomalyMaps:
        """Return the maps of the backbone's features."""
        return {int(side): head(features) for side, head in self.heads.items()}

    def load_backbone(self, autoencoder: Mapping[str, Tensor]) -> None:
        """Copy encoder and blocks from the ``state_dict`` of an ``AutoEncoder``; the heads stay as they are.

        Raises:
            InputError: The weights are not those of a backbone with this student's settings.
        """
        prefix = "backbone."
        given = {name.removeprefix(prefix): value for name, value in autoencoder.items() if name.startswith(prefix)}
        expected = self.backbone.state_dict()
        for name in sorted(given.keys() | expected.keys()):
            shapes = [tuple(state[name].shape) if name in state else "nothing" for state in (expected, given)]
            if shapes[0] != shapes[1]:
                raise InputError(
                    f"pre-trained weights: {prefix}{name} is {shapes[1]}, expected {shapes[0]}; "
                    "the student's settings differ from those of its pre-training"
                )
        self.backbone.load_state_dict(given)
