import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from vadistill.settings import StudentConfig
from vadistill.student.discriminator import Discriminator
from vadistill.student.losses import (
    adversarial_loss,
    discriminator_loss,
    distillation_loss,
    map_statistics,
    reconstruction_loss,
)
from vadistill.student.network import Student

SIDES = (1, 4)


class Sum(torch.nn.Module):
    """A discriminator whose logits are known: scale * (the map's only cell)."""

    def __init__(self, scale):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, maps, condition=None):
        return self.scale * maps[1].flatten()


def cells(*values):
    return {1: torch.tensor(values).reshape(-1, 1, 1, 1)}


def networks():
    torch.manual_seed(0)
    student = Student(StudentConfig(base_width=2, depth=1, heads=1, head_width=4), SIDES)
    teacher = {side: torch.rand(2, 1, side, side) for side in SIDES}
    return student, student(torch.randn(2, 9, 40, 40)), Discriminator(SIDES), teacher


def gradients(module):
    return [parameter.grad for parameter in module.parameters()]


def test_reconstruction_loss_is_the_mean_over_pixels():
    prediction = torch.tensor([[[[1.0, 2.0]], [[0.0, 0.0]], [[0.0, -3.0]]]])
    assert reconstruction_loss(prediction, torch.zeros(1, 3, 1, 2)) == pytest.approx(14 / 6)
    with pytest.raises(ValueError):
        reconstruction_loss(prediction, torch.zeros(1, 3, 1, 1))


def test_distillation_loss_by_hand():
    student = {1: torch.full((1, 1, 1, 1), 0.5), 2: torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])}
    first = {1: torch.full((1, 1, 1, 1), 0.25), 2: torch.zeros(1, 1, 2, 2)}
    second = {1: torch.full((1, 1, 1, 1), 1.0, dtype=torch.float16), 2: torch.ones(1, 1, 2, 2, dtype=torch.float16)}
    loss, parts = distillation_loss(student, {"a": first, "b": second})
    assert {name: part.item() for name, part in parts.items()} == {
        "a_1x1": 0.0625,
        "a_2x2": 0.25,
        "b_1x1": 0.25,
        "b_2x2": 0.75,
    }
    assert loss.item() == 1.3125


@pytest.mark.parametrize("object_weight", [0.0, 1.0])
def test_every_resolution_of_every_teacher_counts(object_weight):
    sides = {1: 1.0, 3: 2.0, 4: 4.0, 16: 8.0}
    student = {side: torch.zeros(2, 1, side, side) for side in sides}
    teachers = {f"t{k}": {side: torch.full((2, 1, side, side), k * x) for side, x in sides.items()} for k in (1, 2, 3)}
    loss, parts = distillation_loss(student, teachers, object_weight)
    assert loss.item() == pytest.approx((1 + 4 + 9) * (1 + 4 + 16 + 64)) and len(parts) == 12


def test_cells_with_objects_weigh_more():
    student, teacher = {2: torch.tensor([[[[0.0, 1.0], [0.5, 0.0]]]])}, {2: torch.tensor([[[[0.0, 0.0], [0.25, 0.5]]]])}
    loss, parts = distillation_loss(student, {"a": teacher}, object_weight=3.0)
    assert loss.item() == parts["a_2x2"].item() == pytest.approx((1.0 + 4 * 0.0625 + 4 * 0.25) / (1 + 1 + 4 + 4))


def test_distillation_loss_is_a_mean_over_the_batch():
    student, teacher = {4: torch.rand(3, 1, 4, 4)}, {4: torch.rand(3, 1, 4, 4)}
    whole, _ = distillation_loss(student, {"a": teacher})
    single = [distillation_loss({4: student[4][i : i + 1]}, {"a": {4: teacher[4][i : i + 1]}})[0] for i in range(3)]
    torch.testing.assert_close(whole, torch.stack(single).mean())


def test_maps_without_their_channel_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 1, 4, 4\).*\(2, 4, 4\)"):
        distillation_loss({4: torch.rand(2, 1, 4, 4)}, {"a": {4: torch.rand(2, 4, 4)}})


def test_discriminator_and_adversarial_loss_by_hand():
    """Logits 2 and -2 for the real maps (0.5 % noise), 1 and 3 for the fakes."""

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    discriminator = Sum(2.0)
    loss, log = discriminator_loss(discriminator, cells(1.0, -1.0), cells(0.5, 1.5), torch.Generator())
    expected = -(math.log(sigmoid(2)) + math.log(sigmoid(-2))) / 2
    expected -= (math.log(1 - sigmoid(1)) + math.log(1 - sigmoid(3))) / 2
    assert loss.item() == pytest.approx(expected, abs=0.01)
    assert log["real"].item() == pytest.approx(0.5, abs=0.01)
    assert log["fake"].item() == pytest.approx((sigmoid(1) + sigmoid(3)) / 2)
    assert log["accuracy"] == 0.25
    adversarial = adversarial_loss(discriminator, cells(0.5, 1.5))
    assert adversarial.item() == pytest.approx(-(math.log(sigmoid(1)) + math.log(sigmoid(3))) / 2)
    logits = torch.tensor([1.0, 3.0])
    torch.testing.assert_close(adversarial, functional.binary_cross_entropy_with_logits(logits, torch.ones(2)))


def test_noise_is_small_positive_on_real_maps_only_and_of_the_generator():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, maps, condition=None):
            seen.append(maps[4])
            return maps[4].flatten(1).sum(1)

    zeros = {4: torch.zeros(8, 1, 4, 4)}
    for seed in (3, 3, 4):
        discriminator_loss(Spy(), zeros, zeros, torch.Generator().manual_seed(seed))
    first, fake, second, _, third, _ = seen
    assert first.min() >= 0 and 0.004 < first.max() <= 0.005
    assert not fake.any() and not zeros[4].any()
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_discriminator_learns_from_fakes_and_the_student_does_not():
    student, maps, discriminator, teacher = networks()
    loss, _ = discriminator_loss(discriminator, teacher, maps, torch.Generator().manual_seed(0))
    loss.backward()
    with_fakes = [gradient.clone() for gradient in gradients(discriminator)]
    assert all(gradient is None for gradient in gradients(student))
    # What is left of the gradient without the real maps' part comes from the fakes.
    discriminator.zero_grad()
    noisy = torch.Generator().manual_seed(0)
    real = {side: grid + 0.005 * torch.rand(grid.shape, generator=noisy) for side, grid in teacher.items()}
    functional.binary_cross_entropy_with_logits(discriminator(real), torch.ones(2)).backward()
    for gradient, of_real in zip(with_fakes, gradients(discriminator), strict=True):
        assert (gradient - of_real).abs().max() > 1e-4


def test_student_learns_from_the_discriminator_and_it_does_not():
    student, maps, discriminator, _ = networks()
    adversarial_loss(discriminator, maps).backward()
    assert all(gradient is None for gradient in gradients(discriminator))
    assert all(gradient.any() for gradient in gradients(student.heads))
    assert student.backbone.encoder.stem.conv.weight.grad.any()


def test_adversarial_gradient_raises_the_logits():
    _, maps, discriminator, _ = networks()
    maps = {side: grid.detach().requires_grad_() for side, grid in maps.items()}
    before = discriminator(maps).mean()
    adversarial_loss(discriminator, maps).backward()
    after = discriminator({side: grid - 0.1 * grid.grad for side, grid in maps.items()}).mean()
    assert after > before


def test_map_statistics_against_numpy():
    rng = np.random.default_rng(0)
    target = rng.random((3, 1, 4, 4)).astype(np.float32) * (rng.random((3, 1, 4, 4)) < 0.4)
    student = rng.random((3, 1, 4, 4)).astype(np.float32) + target
    student[1] = 0
    statistics = map_statistics({4: torch.from_numpy(student)}, {"a": {4: torch.from_numpy(target)}})
    used = target > 0
    assert statistics["correlation_a_4x4"].item() == pytest.approx(np.corrcoef(student[used], target[used])[0, 1])
    assert statistics["object_cells_4x4"].item() == pytest.approx(used.sum() / 3) and used[1].any()
    assert statistics["dead_cells_4x4"].item() == pytest.approx((student[used] < 0.01).sum() / 3)


@pytest.mark.parametrize("target", [torch.zeros(9, 1, 2, 2), torch.full((9, 1, 2, 2), 0.3)])
def test_undefined_correlation_is_0(target):
    statistics = map_statistics({2: torch.rand(9, 1, 2, 2)}, {"a": {2: target}})
    assert statistics["correlation_a_2x2"] == 0
