import pytest
import torch

from vadistill.teachers import pseudo_anomalies as pseudo


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", [pseudo.appearance, pseudo.fractal_noise, pseudo.textures, pseudo.shapes])
@pytest.mark.parametrize("side", [32, 64])
def test_images_are_gray_crops_that_the_generator_determines(kind, side):
    made = kind(40, side, rng(3))
    assert made.shape == (40, 1, side, side) and made.dtype == torch.float32
    assert made.min() >= 0 and made.max() <= 1
    assert torch.equal(made, kind(40, side, rng(3)))
    assert not torch.equal(made, kind(40, side, rng(4)))


def test_appearances_differ_and_most_have_content():
    made = pseudo.appearance(200, 32, rng()).flatten(1)
    assert torch.pdist(made).min() > 0
    assert (made.std(1) > 0.05).float().mean() > 0.7
    assert made.mean(1).std() > 0.1


def test_shapes_cover_a_part_of_the_crop():
    cover = pseudo.shapes(300, 32, rng()).mean((1, 2, 3))
    assert cover.min() > 0.03 and cover.median() < 0.6


def test_elastic_of_no_strength_is_the_identity_and_strength_is_per_image():
    images = pseudo.fractal_noise(2, 32, rng())
    bent = pseudo.elastic(images, torch.tensor([0.0, 0.3]), rng(1))
    torch.testing.assert_close(bent[0], images[0], atol=1e-5, rtol=0)
    assert (bent[1] - images[1]).abs().mean() > 0.02


def test_unlike_takes_half_from_the_bank_and_keeps_parts_of_a_quarter():
    crops, bank = torch.zeros(2000, 1, 16, 16), torch.ones(3, 1, 16, 16)
    crops[..., :2] = 0.25  # so that bent crops differ from the crops
    made = pseudo.unlike(crops, bank, rng())
    whole = (made == 1).flatten(1).all(1)
    pasted = (made > 0.3).flatten(1).any(1) & ~whole
    assert abs(whole.float().mean() - 0.5) < 0.05
    assert abs(pasted.float().mean() - 0.25) < 0.05
    bent = made[~whole & ~pasted]
    assert (bent != crops[: len(bent)]).flatten(1).any(1).all() and bent.max() <= 0.25 + 1e-5
    assert torch.equal(made, pseudo.unlike(crops, bank, rng()))


def test_longer_gap_scales_each_object_by_6_to_10_steps():
    flow = torch.randn(500, 2, 2, 4, 4)
    factor = (pseudo.longer_gap(flow, 3, rng()) / flow * 3).flatten(1)
    assert (factor - factor[:, :1]).abs().max() < 1e-3
    assert set(factor[:, 0].round().int().tolist()) == {6, 7, 8, 9, 10}


def test_affine_flow_is_fast_and_affine_inside_and_keeps_its_surroundings():
    flow = torch.full((300, 2, 2, 32, 32), 0.01)
    made = pseudo.affine_flow(flow, rng())
    speed = made.norm(dim=2)
    assert (speed[:, 1].flatten(1).amax(1) > 1.2).all() and speed[:, 1].max() < 4.5
    still = (speed - flow.norm(dim=2)).abs() < 0.05
    assert still.flatten(1).any(1).float().mean() > 0.9
    # The given flow shines through where there is no shape, and only there.
    shown = pseudo.affine_flow(torch.ones_like(flow), rng()) - pseudo.affine_flow(torch.zeros_like(flow), rng())
    torch.testing.assert_close(shown[:, 0, 0], shown[:, 1, 1])
    assert shown.min() < 0.02 and shown.max() > 0.98
    # The past is the future's mirror up to a change of pace.
    past, future = (made - flow)[:, 0].flatten(1), (made - flow)[:, 1].flatten(1)
    assert (torch.cosine_similarity(past, future) < -0.99).all()
    # An affine field has no second differences: look at the middle of the crops, which many shapes cover.
    second = made[..., 2:, :] - 2 * made[..., 1:-1, :] + made[..., :-2, :]
    assert (second[:, 1, :, 15, 16].norm(dim=1) < 0.02).float().mean() > 0.3
    assert torch.equal(made, pseudo.affine_flow(flow, rng()))
