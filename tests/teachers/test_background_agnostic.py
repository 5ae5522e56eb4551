from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from teacher_objects import CLASSES, HEIGHT, part, train, walkers

from vadistill.errors import InputError
from vadistill.settings import BackgroundAgnosticConfig
from vadistill.teachers import background_agnostic
from vadistill.teachers.autoencoder import (
    Stream,
    bounded_ascent,
    classify,
    convolve_enlarged,
    reconstruct_both,
    reverse_gradient,
)
from vadistill.teachers.registry import TEACHERS, build
from vadistill.training.parallel import Draws

FAST = BackgroundAgnosticConfig(
    crop=32, autoencoder_rate=3e-3, adversarial_rate=3e-4, classifier_rate=3e-3, normalise="scene"
)


@pytest.fixture(autouse=True)
def small_banks(monkeypatch):
    monkeypatch.setattr(background_agnostic, "BANK", 256)
    monkeypatch.setattr(background_agnostic, "HELD_OUT_BANK", 64)


def made(settings=FAST):
    return build("background_agnostic", settings, CLASSES)


def gradients(loss, module):
    return torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)


def test_encoder_receives_the_reversed_gradient_and_the_second_decoder_the_plain_one():
    torch.manual_seed(0)
    stream, normal, pseudo = Stream(2), torch.randn(3, 2, 32, 32), torch.randn(3, 2, 32, 32)
    real = F.mse_loss(stream.decoder(stream.encoder(normal)), normal)
    plain = F.mse_loss(stream.adversary(stream.encoder(pseudo)), pseudo)
    loss = reverse_gradient(0.2, stream, normal, pseudo)["loss"]
    torch.testing.assert_close(loss, real + plain)
    pairs = zip(gradients(real, stream.encoder), gradients(plain, stream.encoder), strict=True)
    expected = [descent - 0.2 * ascent for descent, ascent in pairs]
    torch.testing.assert_close(list(gradients(loss, stream.encoder)), expected)
    torch.testing.assert_close(gradients(loss, stream.adversary), gradients(plain, stream.adversary))
    torch.testing.assert_close(gradients(loss, stream.decoder), gradients(real, stream.decoder))


def test_first_step_reconstructs_both_and_classifier_labels_pseudo_as_one():
    torch.manual_seed(0)
    stream, normal, pseudo = Stream(1, bounded=True), torch.rand(3, 1, 32, 32), torch.rand(3, 1, 32, 32)
    errors = [F.mse_loss(stream.reconstruct(view), view) for view in (normal, pseudo)]
    torch.testing.assert_close(reconstruct_both(stream, normal, pseudo)["loss"], sum(errors))
    logits = torch.cat([stream.predict(normal)[0], stream.predict(pseudo)[0]]).log_softmax(1)
    expected = -(logits[:3, 0].sum() + logits[3:, 1].sum()) / 6
    torch.testing.assert_close(classify(stream, normal, pseudo)["loss"], expected)


@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
def test_a_convolution_of_enlarged_features_needs_no_enlarging(size):
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Upsample(scale_factor=2), torch.nn.Conv2d(3, 2, 3, padding=1)).double()
    features = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    made, expected = convolve_enlarged(features, plain[1]), plain(features)
    torch.testing.assert_close(made, expected)
    wanted, parameters = torch.randn_like(expected), (features, *plain.parameters())
    gradients_of = [torch.autograd.grad((values * wanted).sum(), parameters) for values in (made, expected)]
    torch.testing.assert_close(*gradients_of)


def test_a_decoder_is_its_layers_in_a_row():
    torch.manual_seed(0)
    decoder, latent = Stream(2).decoder, torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(decoder(latent), torch.nn.Sequential(*decoder)(latent))


@pytest.mark.parametrize("side", [32, 64])
def test_shapes(side):
    stream = Stream(2)
    view = torch.randn(2, 2, side, side)
    assert stream.encoder(view).shape == (2, 16, side // 8, side // 8)
    assert stream.reconstruct(view).shape == view.shape
    logits, errors = stream.predict(view)
    assert logits.shape == (2, 2)
    expected = torch.stack([F.mse_loss(stream.reconstruct(view[i : i + 1]), view[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(errors, expected)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_each_phase_changes_its_parameters_and_no_others(index):
    teacher, objects = made(), walkers(16, 0)
    teacher.prepare(objects)
    phase = teacher.phases()[index]
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    phase.loss(objects, Draws(torch.Generator()))["loss"].backward()
    phase.optimiser.step()
    assert index < 2 or all(stream.encoder[0].weight.grad is None for stream in teacher.streams.values())
    parts = (("encoder", "decoder"), ("encoder", "decoder", "adversary"), ("classifier",))[index]
    for name, value in teacher.state_dict().items():
        expected = name.startswith("streams.") and name.split(".")[2] in parts
        assert torch.equal(value, before[name]) != expected, name
    expected = {getattr(stream, part) for stream in teacher.streams.values() for part in parts}
    assert set(phase.train) == expected


def test_losses_follow_the_generator_and_held_out_ones_use_other_images():
    teacher, objects = made(), walkers(16, 0)
    teacher.prepare(objects)
    for phase in teacher.phases():
        first, again, other = (
            phase.loss(objects, Draws(torch.Generator().manual_seed(seed)))["loss"].item() for seed in (1, 1, 2)
        )
        assert first == again != other
    phase = teacher.phases()[-1]
    held_out = phase.held_out_loss(objects, Draws(torch.Generator().manual_seed(1)))
    training = phase.loss(objects, Draws(torch.Generator().manual_seed(1)))
    assert held_out["appearance_accuracy"].isfinite() and held_out["loss"] != training["loss"]
    images = torch.cat([teacher.bank, teacher.held_out_bank]).flatten(1)
    assert len(images) == 320 and len(images.unique(dim=0)) == 320


def test_prepared_twice_is_prepared_alike_and_banks_stay_out_of_the_state():
    one, two = made(), made()
    one.prepare(walkers(64, 0))
    two.prepare(walkers(64, 0))
    assert torch.equal(one.bank, two.bank)
    assert not any("bank" in name for name in one.state_dict())
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.score(walkers(8, 1)), two.score(walkers(8, 1)))


def test_adversarial_phase_starts_from_the_decoders_and_can_be_left_out():
    assert [phase.name for phase in made(replace(FAST, adversarial_epochs=0)).phases()] == [
        "autoencoders",
        "classifiers",
    ]
    teacher = made()
    _, adversarial, _ = teacher.phases()
    adversarial.start()
    for stream in teacher.streams.values():
        pairs = zip(stream.decoder.parameters(), stream.adversary.parameters(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)
    assert not adversarial.early_stop


def test_pseudo_anomalies_of_motion_are_fast_even_where_the_object_stands_still():
    teacher, still = made(), walkers(64, 1, speed=0.0)
    teacher.prepare(walkers(200, 0))
    normal = teacher._normal(still)
    _, flow = teacher._pseudo(*normal, False, Draws(torch.Generator()))
    peak = flow.norm(dim=2).flatten(1).amax(1)
    assert (peak > 1).all() and normal[1].abs().max() < 1
    views = teacher._views(normal[0], 100 * flow)
    assert views["past"].abs().max() == views["future"].abs().max() == 3


@pytest.mark.slow
@pytest.mark.parametrize("normalise", ["box", "scene", "pixels"])
def test_learns_and_scores_fast_objects_higher(normalise):
    teacher = made(replace(FAST, normalise=normalise))
    losses = train(teacher, walkers(200, 0), steps=25, batch=16)
    for name in ("autoencoders", "classifiers"):
        assert sum(losses[name][-6:]) < 0.8 * sum(losses[name][:6]), name
    assert torch.tensor(list(losses.values())).isfinite().all()
    usual = teacher.score(walkers(50, 1))[:, :3].mean(1)
    fast = teacher.score(walkers(50, 2, speed=3.0))[:, :3].mean(1)
    assert usual.shape == (50,) and usual.min() >= 0 and fast.max() <= 1
    better = (fast[:, None] > usual).float().mean()
    assert better > (0.85 if normalise == "scene" else 0.6)


def test_in_scene_units_the_same_flow_is_faster_where_objects_are_usually_slow():
    teacher = made()
    teacher.prepare(walkers(1000, 0))
    objects = part(walkers(1, 1), slice(0, 1))
    near, far = dict(objects), dict(objects)
    near["box"] = torch.tensor([[50.0, HEIGHT - 26, 62, HEIGHT - 2]])
    far["box"] = torch.tensor([[50.0, 16, 62, 40]])
    ratio = teacher._normal(far)[1] / teacher._normal(near)[1]
    assert ratio.min() > 3 and ratio.max() - ratio.min() < 1e-3
    boxed = made(replace(FAST, normalise="box"))
    boxed.prepare(walkers(1000, 0))
    torch.testing.assert_close(boxed._normal(far)[1], boxed._normal(near)[1])


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    one = made().state_dict()
    state = torch.get_rng_state()
    two = made().state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(state, torch.get_rng_state())
    other = made(replace(FAST, seed=1)).state_dict()
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_unknown_teacher_is_refused():
    with pytest.raises(InputError, match=r"'x'.*background_agnostic"):
        build("x", FAST, CLASSES)
    assert "background_agnostic" in TEACHERS


def test_crops_asked_for():
    request = made(replace(FAST, step=4)).training_crops()
    assert (request.side, request.gray, request.flow, request.reach) == (32, (0,), (-4, 4), 4)


def test_terms_are_probabilities_and_errors():
    teacher, objects = made(), walkers(8, 0)
    teacher.prepare(objects)
    terms = teacher.score(objects)
    assert terms.shape == (8, len(teacher.terms))
    assert teacher.terms[3:] == tuple(f"{name}_error" for name in teacher.probabilities)
    assert teacher.probabilities == teacher.terms[:3]
    assert teacher.score_terms == (*teacher.probabilities, "past_error", "future_error")
    views = teacher._views(*teacher._normal(objects))
    for column, name in enumerate(teacher.probabilities):
        stream, view = teacher.streams[name], views[name]
        with torch.no_grad():
            error = (stream.reconstruct(view) - view).pow(2).flatten(1).mean(1)
        torch.testing.assert_close(terms[:, 3 + column], error)
        torch.testing.assert_close(terms[:, column], stream.predict(view)[0].softmax(1)[:, 1])


def errors(stream, *views):
    return [F.mse_loss(stream.decoder(stream.encoder(view)), view) for view in views]


def test_ascent_raises_the_pseudo_error_up_to_its_bound():
    torch.manual_seed(0)
    stream = Stream(2, adversary=False)
    assert stream.adversary is None
    normal, pseudo = torch.randn(3, 2, 32, 32), torch.randn(3, 2, 32, 32)
    real, made_up = errors(stream, normal, pseudo)
    loss = bounded_ascent(0.2, stream, normal, pseudo)["loss"]
    torch.testing.assert_close(loss, real + 0.2 * (4 * real.item() - made_up))
    for module in (stream.encoder, stream.decoder):
        pairs = zip(gradients(real, module), gradients(made_up, module), strict=True)
        torch.testing.assert_close(list(gradients(loss, module)), [down - 0.2 * up for down, up in pairs])
    # Beyond four times the normal error a pseudo-anomaly no longer counts.
    far = bounded_ascent(0.2, stream, normal, 10 * pseudo)["loss"]
    torch.testing.assert_close(far, real)
    torch.testing.assert_close(gradients(far, stream.encoder), gradients(real, stream.encoder))


def test_ascent_trains_without_second_decoders():
    teacher, objects = made(replace(FAST, adversarial="ascent")), walkers(32, 0)
    assert not any("adversary" in name for name in teacher.state_dict())
    losses = train(teacher, objects, steps=3, batch=16)
    assert list(losses) == ["autoencoders", "adversarial", "classifiers"]
    assert set(teacher.phases()[1].train) == {
        part for stream in teacher.streams.values() for part in (stream.encoder, stream.decoder)
    }
    assert min(losses["adversarial"]) > 0


def test_pixels_are_cut_at_twenty_and_pseudo_anomalies_stay_near_what_is_usual():
    teacher, objects = made(replace(FAST, normalise="pixels")), walkers(200, 0)
    teacher.prepare(objects)
    flow = teacher._normal(objects)[1]
    torch.testing.assert_close(flow, objects["flow"].float() / 20)
    views = teacher._views(torch.zeros(200, 1, 32, 32), 100 * flow)
    assert views["past"].max() == views["future"].max() == 1
    speed = objects["flow"].float().norm(dim=2).flatten(2).quantile(0.9, dim=2).mean(1) / 20
    assert teacher.usual_speed == pytest.approx(speed.quantile(0.95).item(), rel=0.05)
    pseudo = teacher._pseudo(*teacher._normal(objects), False, Draws(torch.Generator()))[1]
    peak = pseudo.norm(dim=2).flatten(1).amax(1) / teacher.usual_speed
    assert peak.min() > 1 and peak.max() < 6


def with_colour(objects, channels=(0.5, 1.0, 0.2)):
    gray = objects["gray"][:, :1].float()
    return {**objects, "colour": torch.stack([gray * share for share in channels], dim=2).byte()}


def test_colour_crops_and_pseudo_anomalies():
    teacher, objects = made(replace(FAST, appearance="colour")), with_colour(walkers(32, 0))
    request = teacher.training_crops()
    assert (request.colour, request.gray, request.flow) == ((0,), (), (-3, 3))
    del objects["gray"]
    teacher.prepare(objects)
    crops, flow = teacher._normal(objects)
    torch.testing.assert_close(crops, objects["colour"][:, 0] / 255)
    assert teacher._pseudo(crops, flow, False, Draws(torch.Generator()))[0].shape == (32, 3, 32, 32)
    assert teacher.bank.shape == (256, 3, 32, 32) and teacher.bank.min() >= 0 and teacher.bank.max() <= 1
    assert ((teacher.bank[:, 0] - teacher.bank[:, 1]).abs().flatten(1).amax(1) > 0.05).float().mean() > 0.7
    losses = train(teacher, objects, steps=4, batch=16)
    assert losses["autoencoders"][-1] < losses["autoencoders"][0]
    assert teacher.score(objects).shape == (32, 6)


@pytest.mark.parametrize("appearance", ["gray", "colour"])
def test_motion_is_seen_as_gradients_of_the_past_and_future_crop(appearance):
    teacher = made(replace(FAST, motion="gradient", appearance=appearance))
    request = teacher.training_crops()
    assert request.flow == () and request.gray == ((0, -3, 3) if appearance == "gray" else (-3, 3))
    objects = with_colour(walkers(16, 0))
    x, y = torch.arange(32).expand(32, 32), torch.arange(32)[:, None].expand(32, 32)
    ramps = [3 * x, 5 * y + 2 * x] if appearance == "colour" else [x, 3 * x, 5 * y + 2 * x]
    objects["gray"] = torch.stack(ramps).expand(16, -1, -1, -1).byte()
    del objects["flow"]
    teacher.prepare(objects)
    assert teacher.unit is None
    normal = teacher._normal(objects)
    views = teacher._views(*normal)
    for name, slopes in (("past", (3, 0)), ("future", (2, 5))):
        inner = views[name][:, :, 1:-1, 1:-1] * 255
        torch.testing.assert_close(inner, torch.tensor(slopes).float()[None, :, None, None].expand_as(inner) * 2)
        torch.testing.assert_close(views[name][:, 0, :, 0] * 255, torch.full((16, 32), float(slopes[0])))
    pseudo = teacher._pseudo(*normal, True, Draws(torch.Generator()))
    assert all(view.abs().max() <= 1 for view in teacher._views(*pseudo).values())
    # Both motion streams show the same pseudo-anomaly, an image of the bank for half of the objects.
    past, future = teacher._pseudo(*normal, False, Draws(torch.Generator().manual_seed(3)))[1].unbind(1)
    bank = teacher.bank if appearance == "gray" else background_agnostic._gray(teacher.bank)
    images = torch.cat([bank, bank.flip(3)])[:, 0]
    same = (past == future).flatten(1).all(1)
    assert 3 <= same.sum() <= 13
    assert all((image == images).flatten(1).all(1).any() for image in past[same])
    train(teacher, objects, steps=1, batch=16)
    assert teacher.score(objects).isfinite().all()


def pool(count, side=48):
    """Images of one colour each: blue 5 p, green 100, red 200."""
    images = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    images[:, 0] = 5 * torch.arange(count)[:, None, None]
    images[:, 1], images[:, 2] = 100, 200
    return images


@pytest.mark.parametrize("appearance", ["gray", "colour"])
def test_banks_come_from_disjoint_images_of_the_pool(appearance):
    teacher = made(replace(FAST, appearance=appearance, image_pool="somewhere"))
    with pytest.raises(ValueError, match="pool"):
        teacher.prepare(walkers(8, 0))
    teacher.pool = pool(40)
    teacher.prepare(walkers(8, 0))
    assert not any("pool" in name for name in teacher.state_dict())
    assert len(teacher.bank) == 256 and len(teacher.held_out_bank) == 64
    if appearance == "gray":
        numbers = [
            (bank * 255 - 0.587 * 100 - 0.299 * 200) / 0.114 / 5 for bank in (teacher.bank, teacher.held_out_bank)
        ]
    else:
        assert all(
            torch.allclose(bank[:, 1:] * 255, torch.tensor([100.0, 200])[:, None, None])
            for bank in (teacher.bank, teacher.held_out_bank)
        )
        numbers = [bank[:, :1] * 255 / 5 for bank in (teacher.bank, teacher.held_out_bank)]
    assert all((number - number.round()).abs().max() < 0.01 for number in numbers)
    training, held_out = ({int(n) for n in number.round().flatten().tolist()} for number in numbers)
    assert training | held_out == set(range(40)) and not training & held_out and len(held_out) == 8


def test_options_of_the_crops_are_passed_on():
    settings = replace(FAST, context=0.25, aspect="keep", border="repeat", motion="farneback")
    for request in (made(settings).training_crops(), made(settings).scoring_crops()):
        assert (request.context, request.aspect, request.border) == (0.25, "keep", "repeat")
        assert request.flow_method == "farneback"
    assert made(replace(FAST, motion="gradient")).training_crops().flow_method == "dis"
