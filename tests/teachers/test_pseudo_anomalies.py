import pytest
import torch

from vadistill.teachers import pseudo_anomalies as pseudo
from vadistill.training.parallel import Draws


def rng(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


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


@pytest.mark.parametrize(("step", "lowest", "highest"), [(3, 6, 10), (10, 20, 33), (8, 16, 26), (1, 2, 3)])
def test_longer_gap_scales_each_object_by_2_to_10_thirds_of_the_step(step, lowest, highest):
    flow = torch.randn(500, 2, 2, 4, 4, generator=rng(1).generator)
    factor = (pseudo.longer_gap(flow, step, rng()) / flow * step).flatten(1)
    assert (factor - factor[:, :1]).abs().max() < 1e-3 * step
    assert set(factor[:, 0].round().int().tolist()) == set(range(lowest, highest + 1))


def test_longer_gap_is_too_fast_at_a_step_of_10():
    usual = torch.full((200, 2, 2, 4, 4), 0.7)  # a speed of almost 1
    assert (pseudo.longer_gap(usual, 10, rng()).norm(dim=2) > 1.9).all()


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


def test_colours_run_from_one_end_to_another_and_reach_from_gray_to_vivid():
    gray = pseudo.appearance(200, 16, rng())
    made = pseudo.coloured(gray, rng(1))
    assert made.shape == (200, 3, 16, 16) and made.min() >= 0 and made.max() <= 1
    # One line in colour space: every channel is an affine function of the gray value.
    flat = made.flatten(2) - made.flatten(2).mean(2, keepdim=True)
    shade = gray.flatten(2) - gray.flatten(2).mean(2, keepdim=True)
    slope = (flat * shade).sum(2, keepdim=True) / shade.square().sum(2, keepdim=True).clamp_min(1e-12)
    torch.testing.assert_close(flat, slope * shade, atol=1e-4, rtol=0)
    spread = (made.amax(1) - made.amin(1)).flatten(1).amax(1)
    assert spread.min() < 0.05 and spread.max() > 0.6
    assert torch.equal(made, pseudo.coloured(gray, rng(1)))


def test_parts_of_the_pool_lie_in_their_image_and_show_half_to_all_of_it():
    y, x = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    images = torch.stack([torch.stack([torch.full_like(x, n), x, y]) for n in range(3)]).byte()
    made = pseudo.from_pool(images, 300, 20, rng()) * 255
    assert made.shape == (300, 3, 20, 20)
    torch.testing.assert_close(made[:, 0, 3, 3], (torch.arange(300) % 3).float())
    across, down = made[:, 1, 10, 18] - made[:, 1, 10, 1], made[:, 2, 18, 10] - made[:, 2, 1, 10]
    torch.testing.assert_close(across, down, atol=0.01, rtol=0)
    sides = across * 20 / 17
    assert 19 < sides.min() < 23 and 37 < sides.max() < 41
    assert made[:, 1].amin((1, 2)).std() > 2 and made[:, 2].amin((1, 2)).std() > 2


@pytest.mark.parametrize(("count", "held"), [(2, 1), (3, 1), (10, 2), (100, 20)])
def test_pool_is_split_into_disjoint_parts(count, held):
    one, two = pseudo.split_pool(torch.arange(count), 0.2, rng())
    assert len(two) == held and sorted([*one.tolist(), *two.tolist()]) == list(range(count))


def test_turned_flow_of_a_constant_field_is_the_turned_vector():
    flow = torch.zeros(3, 2, 2, 8, 8)
    flow[:, 0, 0], flow[:, 1, 1] = 1.0, 2.0
    angle = torch.tensor([0.5, 2.0, -1.0])
    made = pseudo.turned(flow, angle, torch.zeros(3, 2))
    for one, a in zip(made, angle, strict=True):
        expected = torch.stack([torch.stack([a.cos(), a.sin()]), torch.stack([-2 * a.sin(), 2 * a.cos()])])
        torch.testing.assert_close(one, expected[:, :, None, None].expand_as(one))


def test_turned_flow_moves_the_field_as_it_turns_the_vectors():
    flow = torch.randn(1, 2, 2, 8, 8, generator=rng().generator)
    quarter = pseudo.turned(flow, torch.tensor([torch.pi / 2]), torch.zeros(1, 2))
    # From x (right) to y (down) is clockwise: rot90 backwards; (u, v) becomes (-v, u).
    field = torch.rot90(flow, -1, dims=(3, 4))
    torch.testing.assert_close(quarter, torch.stack([-field[:, :, 1], field[:, :, 0]], dim=2), atol=1e-5, rtol=1e-4)
    shifted = pseudo.turned(flow, torch.zeros(1), torch.tensor([[0.5, -0.25]]))
    torch.testing.assert_close(shifted[..., :7, 2:], flow[..., 1:, :6], atol=1e-5, rtol=1e-4)


def test_rotated_flow_turns_half_of_the_objects_and_shifts_the_others():
    flow = torch.zeros(400, 2, 2, 16, 16)
    flow[:, :, 0] = 1.0
    made = pseudo.rotated_flow(flow, rng())
    torch.testing.assert_close(made.norm(dim=2), torch.ones(400, 2, 16, 16))
    angle = torch.atan2(made[:, :, 1], made[:, :, 0]).flatten(1)
    assert (angle - angle[:, :1]).abs().max() < 1e-4  # both ways alike
    unturned = angle[:, 0].abs() < 1e-3
    assert abs(unturned.float().mean() - 0.5) < 0.1
    assert angle[~unturned, 0].abs().min() > torch.pi / 4 - 1e-3 and angle[:, 0].abs().max() > 2.5
    spot = torch.zeros(400, 2, 2, 16, 16)
    spot[:, :, 0, 7:9, 7:9] = 1.0
    left = pseudo.rotated_flow(spot, rng())[unturned, 0, 0].flatten(1).argmax(1)
    away = torch.hypot(left // 16 - 7.5, left % 16 - 7.5)
    assert away.min() > 2.5 and away.max() < 9.5


def test_shuffled_pairs_are_swapped_or_of_two_objects():
    flow = torch.arange(200.0)[:, None, None, None, None] + torch.tensor([0, 0.5])[:, None, None, None]
    made = pseudo.shuffled_flow(flow.expand(200, 2, 2, 4, 4), rng())
    past, future = made[:, 0, 0, 0, 0], made[:, 1, 0, 0, 0]
    number = torch.arange(200.0)
    swapped = (past == number + 0.5) & (future == number)
    mixed = (past == number) & (future == (number - 1) % 200 + 0.5)
    assert (swapped ^ mixed).all() and abs(swapped.float().mean() - 0.5) < 0.1


def test_kinds_of_motion_are_equally_frequent_and_slow_objects_move_anyway():
    flow = torch.full((900, 2, 2, 8, 8), 0.6)
    made = pseudo.motion(flow, ("longer_gap", "shuffled"), 3, rng())
    same = (made == flow).flatten(1).all(1)  # all objects are alike, so shuffling changes nothing
    assert abs(same.float().mean() - 0.5) < 0.06
    assert (made[~same] / flow[~same] > 1.9).all()
    assert (pseudo.motion(flow, ("shuffled",), 3, rng()) == flow).all()
    still = torch.zeros(200, 2, 2, 32, 32)
    peak = pseudo.motion(still, ("longer_gap", "affine"), 3, rng()).norm(dim=2).flatten(1).amax(1)
    assert (peak > 1).all()
    assert torch.equal(
        pseudo.motion(flow, ("affine", "rotated"), 3, rng(5)), pseudo.motion(flow, ("affine", "rotated"), 3, rng(5))
    )


def test_unlike_shows_one_image_of_a_gray_bank_in_every_channel():
    crops, bank = rng().rand(400, 2, 8, 8), rng(1).rand(5, 1, 8, 8)
    made = pseudo.unlike(crops, bank, rng(2))
    same = (made[:, 0] == made[:, 1]).flatten(1).all(1)
    assert made.shape == crops.shape and abs(same.float().mean() - 0.5) < 0.08
