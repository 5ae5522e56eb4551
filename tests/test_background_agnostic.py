from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from teacher_objects import CLASSES, HEIGHT, part, train, walkers

from vadistill.errors import InputError
from vadistill.settings import BackgroundAgnostic as Settings
from vadistill.teachers import TEACHERS, background_agnostic, build
from vadistill.teachers.background_agnostic import Stream, _both, _classified, _reversed, _views

FAST = Settings(crop=32, autoencoder_rate=3e-3, adversarial_rate=3e-4, classifier_rate=3e-3, normalise="scene")


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
    loss = _reversed(0.2, stream, normal, pseudo)["loss"]
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
    torch.testing.assert_close(_both(stream, normal, pseudo)["loss"], sum(errors))
    logits = torch.cat([stream.logits(normal), stream.logits(pseudo)]).log_softmax(1)
    expected = -(logits[:3, 0].sum() + logits[3:, 1].sum()) / 6
    torch.testing.assert_close(_classified(stream, normal, pseudo)["loss"], expected)


@pytest.mark.parametrize("side", [32, 64])
def test_shapes(side):
    stream = Stream(2)
    view = torch.randn(2, 2, side, side)
    assert stream.encoder(view).shape == (2, 16, side // 8, side // 8)
    assert stream.reconstruct(view).shape == view.shape
    assert stream.logits(view).shape == (2, 2)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_each_phase_changes_its_parameters_and_no_others(index):
    teacher, objects = made(), walkers(16, 0)
    teacher.prepare(objects)
    phase = teacher.phases()[index]
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    phase.loss(objects, torch.Generator())["loss"].backward()
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
            phase.loss(objects, torch.Generator().manual_seed(seed))["loss"].item() for seed in (1, 1, 2)
        )
        assert first == again != other
    phase = teacher.phases()[-1]
    held_out = phase.held_out_loss(objects, torch.Generator().manual_seed(1))
    training = phase.loss(objects, torch.Generator().manual_seed(1))
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
    _, flow = teacher._pseudo(*normal, False, torch.Generator())
    peak = flow.norm(dim=2).flatten(1).amax(1)
    assert (peak > 1).all() and normal[1].abs().max() < 1
    views = _views(normal[0], 100 * flow)
    assert views["past"].abs().max() == views["future"].abs().max() == 3


@pytest.mark.parametrize("normalise", ["box", "scene"])
def test_learns_and_scores_fast_objects_higher(normalise):
    teacher = made(replace(FAST, normalise=normalise))
    losses = train(teacher, walkers(200, 0), steps=25, batch=16)
    for name in ("autoencoders", "classifiers"):
        assert sum(losses[name][-6:]) < 0.8 * sum(losses[name][:6]), name
    assert torch.tensor(list(losses.values())).isfinite().all()
    usual = teacher.combine(teacher.score(walkers(50, 1)))
    fast = teacher.combine(teacher.score(walkers(50, 2, speed=3.0)))
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
    with pytest.raises(InputError, match=r"'x'.*background_agnostic, multi_task"):
        build("x", FAST, CLASSES)
    assert list(TEACHERS) == ["background_agnostic", "multi_task"]


def test_crops_asked_for():
    request = made(replace(FAST, step=4)).training_crops()
    assert (request.side, request.gray, request.flow, request.reach) == (32, (0,), (-4, 4), 4)
