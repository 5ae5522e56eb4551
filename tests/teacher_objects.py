"""Easy synthetic objects and a bare training loop for the tests of the teachers."""

import torch

from vadistill.training.parallel import Draws

HEIGHT, WIDTH, CLASSES = 120, 160, 4


def bare(count, rng, side=32):
    """Objects without crops: boxes all over the frame, all of class 0."""
    bottom = 30 + 90 * torch.rand(count, generator=rng)
    left = 130 * torch.rand(count, generator=rng)
    probabilities = torch.zeros(count, CLASSES)
    probabilities[:, 0] = 0.8
    return {
        "box": torch.stack([left, bottom - 24, left + 12, bottom], dim=1),
        "size": torch.tensor([[HEIGHT, WIDTH]]).float().repeat(count, 1),
        "scene": torch.zeros(count, dtype=torch.int64),
        "confidence": torch.full((count,), 0.8),
        "probabilities": probabilities,
    }


def usual_speed(objects):
    """Pixels over the flow's step: convex in the row of the box's lower edge."""
    return 0.5 + 6 * (objects["box"][:, 3] / HEIGHT) ** 2


def figure(side):
    """Mask (S, S) of an upright ellipse."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    return ((x / 0.5) ** 2 + (y / 0.9) ** 2 < 1).float()


def walkers(count, seed, side=32, speed=1.0):
    """Objects with gray crops and flow to both sides; ``speed`` is relative to what is usual in their row."""
    rng = torch.Generator().manual_seed(seed)
    objects = bare(count, rng)
    mask = figure(side)
    gray = 90 + 80 * mask + 8 * torch.randn(count, 1, side, side, generator=rng)
    heading = torch.where(torch.rand(count, generator=rng) < 0.5, -1.0, 1.0)
    moved = speed * usual_speed(objects) * heading * (0.7 + 0.3 * torch.rand(count, generator=rng))
    flow = torch.zeros(count, 2, 2, side, side)
    flow[:, 0, 0], flow[:, 1, 0] = -moved[:, None, None] * mask, moved[:, None, None] * mask
    flow += 0.1 * torch.randn(flow.shape, generator=rng)
    return {**objects, "gray": gray.clamp(0, 255).byte(), "flow": flow.half()}


def part(objects, index):
    return {name: value[index] for name, value in objects.items()}


def train(teacher, objects, steps, batch=32, seed=0):
    """Train every phase for ``steps`` steps; return the losses (steps,) by phase."""
    losses = {}
    rng = torch.Generator().manual_seed(seed)
    teacher.prepare(objects)
    for phase in teacher.phases():
        phase.start()
        teacher.eval()
        for module in phase.train:
            module.train()
        losses[phase.name] = []
        for _ in range(steps):
            chosen = torch.randint(len(objects["box"]), (batch,), generator=rng)
            loss = phase.loss(part(objects, chosen), Draws(rng))["loss"]
            phase.optimiser.zero_grad()
            loss.backward()
            phase.optimiser.step()
            losses[phase.name].append(loss.item())
    return losses
