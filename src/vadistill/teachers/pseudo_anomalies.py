"""Procedural pseudo-anomalies: crops and flow that belong to no scene, so that one recipe serves all data sets.

A stand-in for the image pools of arXiv 2008.12328, which can take its place. Draws come from a CPU generator and
results lie on the device of the given tensors, so that equal generator states give equal pseudo-anomalies on every
device, and in any number of processes (``parallel.Draws``).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vadistill.teachers.motion_units import object_speed
from vadistill.training.parallel import Draws

SPEED = (1.5, 3.0)  # translation of affine_flow, in units of the highest usual speed
LONGER_GAP = (6, 10)  # thirds of a step between the ends of flow that is too fast


def _grid(side: int) -> tuple[Tensor, Tensor]:
    """Return x and y (S, S) of pixel centres in [-1, 1]."""
    axis = (torch.arange(side) + 0.5) * 2 / side - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def fractal_noise(count: int, side: int, rng: Draws, octaves: int = 4) -> Tensor:
    """Return smooth noise (N, 1, S, S) in [0, 1]: octaves of value noise, each half as strong as the one before."""
    total = torch.zeros(count, 1, side, side)
    for octave in range(octaves):
        cells = rng.rand(count, 1, 2 ** (octave + 1) + 1, 2 ** (octave + 1) + 1)
        total += 0.5**octave * F.interpolate(cells, size=(side, side), mode="bicubic", align_corners=True)
    low, high = total.amin((1, 2, 3), keepdim=True), total.amax((1, 2, 3), keepdim=True)
    return (total - low) / (high - low).clamp_min(1e-6)


def textures(count: int, side: int, rng: Draws) -> Tensor:
    """Return gratings and checkers (N, 1, S, S) in [0, 1] of random period, direction and distortion."""
    x, y = _grid(side)
    angle = rng.uniform(0, math.pi, count, 1, 1)
    frequency = rng.uniform(4, 25, count, 1, 1)
    warp = rng.uniform(0, 8, count, 1, 1) * fractal_noise(count, side, rng, 2)[:, 0]
    along = torch.sin(frequency * (x * angle.cos() + y * angle.sin()) + warp)
    across = torch.sin(frequency * (y * angle.cos() - x * angle.sin()) + warp)
    wave = torch.where(rng.rand(count, 1, 1) < 0.5, along, along * across)
    hard = (0.5 + rng.uniform(0.5, 6, count, 1, 1) * wave).clamp(0, 1)
    return hard[:, None]


def shapes(count: int, side: int, rng: Draws) -> Tensor:
    """Return soft masks (N, 1, S, S) in [0, 1] of star-shaped regions of random place, size and outline."""
    x, y = _grid(side)
    x = x - rng.uniform(-0.4, 0.4, count, 1, 1)
    y = y - rng.uniform(-0.4, 0.4, count, 1, 1)
    angle = torch.atan2(y, x)
    radius = rng.uniform(0.35, 0.9, count, 1, 1).expand(count, side, side).clone()
    for wave in (2, 3, 5):
        amplitude, phase = rng.uniform(0, 0.5 / wave, count, 1, 1), rng.uniform(0, 2 * math.pi, count, 1, 1)
        radius += amplitude * torch.cos(wave * angle + phase)
    return torch.sigmoid((radius - torch.hypot(x, y)) * side / 3)[:, None]


def elastic(images: Tensor, strength: Tensor, rng: Draws) -> Tensor:
    """Return images (N, C, S, S) bent by smooth random displacements.

    Args:
        images: Any values.
        strength: (N,) standard deviation of the displacement in half image sides.
        rng: Source of the displacements.
    """
    count, _, side, _ = images.shape
    coarse = rng.randn(count, 2, 5, 5) * strength.cpu()[:, None, None, None]
    bend = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    grid = (torch.stack(_grid(side), dim=-1) + bend).to(images.device)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _filling(count: int, side: int, rng: Draws) -> Tensor:
    """Return texture, noise or one shade, each for a third of the images (N, 1, S, S)."""
    kind = rng.randint(0, 3, count, 1, 1, 1)
    flat = rng.rand(count, 1, 1, 1)
    made = torch.where(kind == 0, textures(count, side, rng), fractal_noise(count, side, rng))
    return torch.where(kind == 2, flat, made)


def appearance(count: int, side: int, rng: Draws) -> Tensor:
    """Return gray images (N, 1, S, S) in [0, 1] that show no object of a surveillance scene.

    One filling shaped as an object in front of another, or one filling alone; half of them bent, all of random
    brightness and contrast.
    """
    mask = torch.maximum(shapes(count, side, rng), (rng.rand(count, 1, 1, 1) < 0.25).float())
    images = mask * _filling(count, side, rng) + (1 - mask) * _filling(count, side, rng)
    bent = (rng.rand(count) < 0.5) * rng.uniform(0.05, 0.35, count)
    images = elastic(images, bent, rng)
    low = rng.uniform(0, 0.6, count, 1, 1, 1)
    return low + (1 - low) * rng.uniform(0.3, 1, count, 1, 1, 1) * images


def coloured(gray: Tensor, rng: Draws) -> Tensor:
    """Return colour images (N, 3, S, S) in [0, 1] whose shades run from one random colour to another.

    Their saturation is random, too: real crops are nearly gray, and colour alone must not give the images away.

    Args:
        gray: (N, 1, S, S) in [0, 1].
        rng: Source of the colours.
    """
    first, last = rng.rand(2, len(gray), 3, 1, 1).to(gray.device)
    saturation = rng.rand(len(gray), 1, 1, 1).to(gray.device)
    return torch.lerp(gray.expand(-1, 3, -1, -1), torch.lerp(first, last, gray), saturation)


def split_pool(pool: Tensor, share: float, rng: Draws) -> tuple[Tensor, Tensor]:
    """Return about 1 - ``share`` and ``share`` of at least two images (P, ...), at least one each, at random."""
    order = torch.randperm(len(pool), generator=rng.generator)
    first = min(max(round((1 - share) * len(pool)), 1), len(pool) - 1)
    return pool[order[:first]], pool[order[first:]]


def from_pool(images: Tensor, count: int, side: int, rng: Draws) -> Tensor:
    """Return random square parts (count, 3, S, S) in [0, 1] of images, each image as often as the others.

    Args:
        images: (P, 3, S', S') uint8.
        count: Number of parts.
        side: Their side S in pixels; they show 50 to 100 % of the image's side.
        rng: Source of the places.
    """
    length = images.shape[-1]
    parts = []
    for index in range(count):
        cut = int(rng.randint(max(1, length // 2), length + 1, 1))
        x, y = rng.randint(0, length - cut + 1, 2).tolist()
        part = images[index % len(images), None, :, y : y + cut, x : x + cut].float() / 255
        parts.append(F.interpolate(part, size=(side, side), mode="bilinear", antialias=True))
    return torch.cat(parts)


def unlike(crops: Tensor, bank: Tensor, rng: Draws) -> Tensor:
    """Return one pseudo-anomaly of appearance for each crop.

    Half are images of the bank, a quarter the crop with an image of the bank pasted over a part of it (cut-mix), a
    quarter the crop strongly bent.

    Args:
        crops: (N, C, S, S) in [0, 1].
        bank: (B, C, S, S) in [0, 1], or (B, 1, S, S) for the same image in every channel.
        rng: Source of all draws.
    """
    count, _, side, _ = crops.shape
    drawn = bank[rng.randint(0, len(bank), count).to(bank.device)]
    mirrored = rng.rand(count, 1, 1, 1).to(crops.device) < 0.5
    drawn = torch.where(mirrored, drawn.flip(3), drawn)
    kind = rng.randint(0, 4, count, 1, 1, 1).to(crops.device)
    mask = shapes(count, side, rng).to(crops.device)
    pasted = mask * drawn + (1 - mask) * crops
    bent = elastic(crops, rng.uniform(0.2, 0.4, count), rng)
    return torch.where(kind < 2, drawn, torch.where(kind == 2, pasted, bent))


def longer_gap(flow: Tensor, step: int, rng: Draws) -> Tensor:
    """Return flow (N, K, 2, S, S) as it would be over 2 to 10/3 steps, in whole frames.

    An approximation, at constant speed, of flow measured over t..t+k (k in 6..10 at a step of 3): the given flow is
    scaled by k / step, and nothing is measured anew.

    Args:
        flow: Flow over ``step`` frames.
        step: Frames between the ends of the flow.
        rng: Source of the gaps.
    """
    low, high = (thirds * step // 3 for thirds in LONGER_GAP)
    gap = rng.randint(low, high + 1, len(flow), 1, 1, 1, 1)
    return flow * (gap / step).to(flow.device)


def affine_flow(flow: Tensor, rng: Draws) -> Tensor:
    """Return flow in which a random shape in random affine motion covers a part of the given flow.

    The shape moves by 1.5 to 3 and, where it turns, grows or shears, up to about one more towards its rim. Around it
    the given flow stays: noise must not tell real from made.

    Args:
        flow: (N, 2, 2, S, S) to the past and to the future, in units of the highest usual speed.
        rng: Source of all draws.
    """
    count, side = len(flow), flow.shape[-1]
    x, y = _grid(side)
    direction, speed = rng.uniform(0, 2 * math.pi, count, 1, 1), rng.uniform(*SPEED, count, 1, 1)
    a, b, c, d = (rng.uniform(-0.7, 0.7, count, 1, 1) for _ in range(4))
    future = torch.stack([speed * direction.cos() + a * x + b * y, speed * direction.sin() + c * x + d * y], dim=1)
    # Speeding up or slowing down a little: the past is not the exact mirror of the future.
    moved = torch.stack([-rng.uniform(0.8, 1.2, count, 1, 1, 1) * future, future], dim=1).to(flow.device)
    mask = shapes(count, side, rng)[:, None].to(flow.device)
    return mask * moved + (1 - mask) * flow


def turned(flow: Tensor, angle: Tensor, shift: Tensor) -> Tensor:
    """Return flow whose field is turned about the crop's centre, its vectors with it, and then shifted.

    Args:
        flow: (N, K, 2, S, S), (x, y).
        angle: (N,) radians from x to y: clockwise as seen.
        shift: (N, 2) x and y in half crop sides; what comes in is the mirror image.
    """
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    x, y = _grid(flow.shape[-1])
    places = torch.stack([x, y], dim=-1).reshape(1, -1, 2) - shift[:, None]
    grid = (places @ turn).reshape(len(flow), *x.shape, 2).to(flow.device)
    moved = F.grid_sample(flow.flatten(1, 2), grid, padding_mode="reflection", align_corners=False)
    return torch.einsum("nij,nkjhw->nkihw", turn.to(flow.device), moved.view_as(flow))


def rotated_flow(flow: Tensor, rng: Draws) -> Tensor:
    """Return flow (N, K, 2, S, S) turned by 45 to 315 degrees or shifted by a quarter to half a crop, at random."""
    count = len(flow)
    angle = rng.uniform(math.pi / 4, 7 * math.pi / 4, count)
    heading, distance = rng.uniform(0, 2 * math.pi, count), rng.uniform(0.5, 1, count)
    shift = torch.stack([heading.cos(), heading.sin()], dim=1) * distance[:, None]
    turns = rng.rand(count) < 0.5
    return turned(flow, angle * turns, shift * ~turns[:, None])


def shuffled_flow(flow: Tensor, rng: Draws) -> Tensor:
    """Return flow (N, 2, 2, S, S) whose past and future change places, or whose future is another object's."""
    swapped = (rng.rand(len(flow), 1, 1, 1, 1) < 0.5).to(flow.device)
    mixed = torch.stack([flow[:, 0], flow[:, 1].roll(1, dims=0)], dim=1)
    return torch.where(swapped, flow.flip(1), mixed)


def motion(flow: Tensor, kinds: Sequence[str], step: int, rng: Draws) -> Tensor:
    """Return one pseudo-anomaly of motion for each object, every kind as often as the others.

    Objects that stay slow over a longer gap show affine motion instead, where that is among the kinds.

    Args:
        flow: (N, 2, 2, S, S) to the past and to the future, in units of the highest usual speed.
        kinds: Of ``longer_gap``, ``affine``, ``rotated`` and ``shuffled``.
        step: Frames between the ends of the flow.
        rng: Source of all draws.
    """
    fast = longer_gap(flow, step, rng)
    choice = (rng.rand(len(flow)) * len(kinds)).long().to(flow.device)
    if {"longer_gap", "affine"} <= set(kinds):
        slow = (choice == kinds.index("longer_gap")) & (object_speed(fast) <= 1)
        choice = choice.masked_fill(slow, kinds.index("affine"))
    makers = {"longer_gap": lambda: fast, "affine": lambda: affine_flow(flow, rng),
              "rotated": lambda: rotated_flow(flow, rng), "shuffled": lambda: shuffled_flow(flow, rng)}  # fmt: skip
    made = flow
    for index, kind in enumerate(kinds):
        made = torch.where((choice == index)[:, None, None, None, None], makers[kind](), made)
    return made
