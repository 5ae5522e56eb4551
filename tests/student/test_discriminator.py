import pytest
import torch
from torch.nn import functional

from vadistill.student.discriminator import Discriminator
from vadistill.student.losses import adversarial_loss, discriminator_loss

SIDES = (1, 4, 16)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def random_maps(sides, count=2):
    return {side: torch.rand(count, 1, side, side) for side in sides}


def test_official_layout_has_the_published_parameters():
    assert sum(parameter.numel() for parameter in Discriminator(SIDES).parameters()) == 959


def test_logit_equals_the_written_out_layers():
    discriminator, maps = Discriminator(SIDES), random_maps(SIDES)
    first, second = discriminator.convs
    x = functional.max_pool2d(functional.conv2d(maps[16], first.weight, first.bias, padding=1).relu(), 4)
    x = functional.conv2d(torch.cat([x, maps[4]], 1), second.weight, second.bias, padding=1).relu()
    x = torch.cat([functional.max_pool2d(x, 4), maps[1]], 1).flatten(1)
    hidden, _, output = discriminator.classifier
    x = x @ hidden.weight.T + hidden.bias
    x = torch.where(x > 0, x, 0.01 * x) @ output.weight.T + output.bias
    torch.testing.assert_close(discriminator(maps), x[:, 0])


@pytest.mark.parametrize("sides", [(2, 8, 16), (4, 16, 32), (1, 4), (1,), (16, 5, 3), (1, 2, 4, 8)])
def test_every_grid_counts(sides):
    discriminator, maps = Discriminator(sides), random_maps(sides)
    for grid in maps.values():
        grid.requires_grad_()
    logits = discriminator(maps)
    assert logits.shape == (2,)
    logits.sum().backward()
    assert all(grid.grad.any() for grid in maps.values())
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_float32_under_autocast():
    discriminator, maps = Discriminator(SIDES), random_maps(SIDES)
    expected = discriminator(maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = discriminator(maps)
        loss, _ = discriminator_loss(discriminator, maps, {side: grid.bfloat16() for side, grid in maps.items()})
    assert logits.dtype == loss.dtype == torch.float32
    assert torch.equal(logits, expected)


def test_it_learns_to_tell_maps_apart():
    discriminator = Discriminator(SIDES)
    optimiser = torch.optim.Adam(discriminator.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    real = {side: 0.5 + 0.5 * grid for side, grid in random_maps(SIDES, 16).items()}
    fake = {side: 0.2 * grid for side, grid in random_maps(SIDES, 16).items()}
    before = adversarial_loss(discriminator, fake).item()
    for _ in range(100):
        loss, log = discriminator_loss(discriminator, real, fake, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert log["real"] > 0.8 > 0.2 > log["fake"]
    assert log["accuracy"] == 1
    assert adversarial_loss(discriminator, fake).item() > before
