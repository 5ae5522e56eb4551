import copy

import pytest
import torch

from vadistill.errors import InputError
from vadistill.settings import DistillationConfig, StudentConfig
from vadistill.student.distillation import Distiller
from vadistill.student.network import AutoEncoder

NETWORK = StudentConfig(height=48, width=64, base_width=4, downsamplings=3, depth=1, heads=2, head_width=8)
GRIDS = (1, 4)


def batch(count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(count, 9, 48, 64, generator=generator) * 2 - 1
    maps = {g: torch.rand(count, 1, g, g, generator=generator) for g in GRIDS}
    return frames, {"one": maps, "two": {g: 1 - grid for g, grid in maps.items()}}


def distiller(**changes):
    torch.manual_seed(0)
    settings = DistillationConfig(**{"teachers": ("one", "two"), "learning_rate": 1e-3, "weight_decay": 0.0, **changes})
    return Distiller(NETWORK, settings, GRIDS, torch.device("cpu"))


def weights(module):
    return copy.deepcopy(module.state_dict())


def changed(before, module):
    return any(not torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_one_step_moves_the_student_and_every_discriminator_once():
    made, (frames, targets) = distiller(), batch()
    before = [weights(made.student), *(weights(net) for net in made.discriminators.values())]
    made.step(frames, targets, torch.Generator().manual_seed(0), "here")
    assert set(made.discriminators) == {"one", "two"}
    assert all(changed(b, m) for b, m in zip(before, [made.student, *made.discriminators.values()], strict=True))
    steps = [o.state[o.param_groups[0]["params"][0]]["step"] for o in made.discriminator_optimisers.values()]
    assert [int(step) for step in steps] == [1, 1]


def test_a_step_trains_the_student_whatever_mode_it_was_in():
    made, (frames, targets) = distiller(), batch()
    made.student.eval()
    before = weights(made.student.backbone.encoder.stem.norm)
    made.step(frames, targets, torch.Generator().manual_seed(0), "here")
    after = made.student.backbone.encoder.stem.norm
    assert after.num_batches_tracked == before["num_batches_tracked"] + 1
    assert not torch.equal(after.running_mean, before["running_mean"])


def test_each_discriminator_judges_the_maps_of_its_own_teacher():
    frames, targets = batch()
    other = {**targets, "two": {g: 5 + grid for g, grid in targets["two"].items()}}
    logs = [distiller().step(frames, maps, torch.Generator().manual_seed(0), "here") for maps in (targets, other)]
    real = [[log[f"discriminator_real_{name}"] for log in logs] for name in ("one", "two")]
    assert real[0][0] == real[0][1] and real[1][0] != real[1][1]


def test_weight_decay_draws_all_weights_to_zero():
    """One step of Adam is the learning rate long: with a huge decay it leads every weight towards zero."""
    made, (frames, targets) = distiller(weight_decay=1e6), batch()
    networks = [made.student, *made.discriminators.values()]
    before = [copy.deepcopy(network) for network in networks]
    made.step(frames, targets, torch.Generator().manual_seed(0), "here")
    for old, new in zip(before, networks, strict=True):
        for was, now in zip(old.parameters(), new.parameters(), strict=True):
            moved, far = (was - now) * was.sign(), was.abs() > 2e-3
            torch.testing.assert_close(moved[far], torch.full_like(moved[far], 1e-3), rtol=0.01, atol=0)


def test_without_adversarial_weight_there_is_no_discriminator():
    made, (frames, targets) = distiller(adversarial_weight=0.0), batch()
    log = made.step(frames, targets, torch.Generator(), "here")
    assert not made.discriminators and "adversarial_loss" not in log
    assert torch.allclose(log["train_loss"], log["distillation_loss"])


def test_total_loss_is_distillation_and_lambda_times_adversarial():
    made, (frames, targets) = distiller(adversarial_weight=0.3, precision="float32"), batch()
    student, judges = (copy.deepcopy(part) for part in (made.student, made.discriminators))
    log = made.step(frames, targets, torch.Generator().manual_seed(0), "here")
    with torch.no_grad():
        maps = student.train()(frames)
        errors = sum(((maps[g] - grids[g]) ** 2).mean() for grids in targets.values() for g in GRIDS)
        fooling = sum(-judge(maps).sigmoid().log().mean() for judge in judges.values())
    assert log["distillation_loss"].item() == pytest.approx(errors.item(), rel=1e-4)
    assert log["train_loss"].item() == pytest.approx((errors + 0.3 * fooling).item(), rel=1e-4)


def test_the_adversarial_term_reaches_the_student():
    plain, adversarial = distiller(adversarial_weight=0.0), distiller(adversarial_weight=5.0)
    adversarial.student.load_state_dict(plain.student.state_dict())
    frames, targets = batch()
    for made in (plain, adversarial):
        made.step(frames, targets, torch.Generator().manual_seed(0), "here")
    assert changed(weights(plain.student), adversarial.student)


@pytest.mark.slow
def test_the_student_learns_and_discriminators_tell_separable_maps_apart():
    made, (frames, targets) = distiller(), batch(8)
    logs = [made.step(frames, targets, torch.Generator().manual_seed(i), "here") for i in range(60)]
    assert logs[-1]["distillation_loss"] < 0.7 * logs[0]["distillation_loss"]
    assert logs[-1]["discriminator_real_one"] > logs[-1]["discriminator_fake_one"]


def test_a_loss_that_is_not_finite_names_the_batch():
    made, (frames, targets) = distiller(), batch()
    frames[0] = float("nan")
    with pytest.raises(InputError, match="epoch 1, batch 2"):
        made.step(frames, targets, torch.Generator(), "epoch 1, batch 2")


def test_a_restored_distiller_continues_bit_equal():
    def steps(made, first, last):
        for i in range(first, last):
            made.step(*batch(seed=i), torch.Generator().manual_seed(i), "here")

    whole, half, rest = (distiller(average=0.9) for _ in range(3))
    steps(whole, 0, 4)
    steps(half, 0, 2)
    for name, part in rest.parts().items():
        part.load_state_dict(copy.deepcopy(half.parts()[name].state_dict()))
    steps(rest, 2, 4)
    assert not changed(weights(whole.student), rest.student) and not changed(weights(whole.result), rest.result)
    assert changed(weights(whole.student), whole.result)
    assert all(not changed(weights(whole.discriminators[n]), rest.discriminators[n]) for n in ("one", "two"))


def test_the_average_follows_the_weights_and_is_what_is_kept():
    made, (frames, targets) = distiller(average=0.2), batch()
    history = [weights(made.student)]
    for step in range(3):
        made.step(frames, targets, torch.Generator().manual_seed(step), "here")
        history.append(weights(made.student))
    for name, value in made.result.state_dict().items():
        expected = history[0][name].double()
        for step, state in enumerate(history[1:], start=1):
            decay = min(0.2, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * state[name].double()
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-7)
        else:
            assert value == history[-1][name]
    plain = distiller(average=0.0)
    assert plain.result is plain.student and "average" not in plain.parts()


def test_the_average_begins_with_the_pre_trained_weights():
    made, autoencoder = distiller(average=0.9), AutoEncoder(NETWORK)
    made.load_backbone(autoencoder.state_dict())
    for network in (made.student, made.result):
        assert not changed(weights(autoencoder.backbone), network.backbone)
    assert made.result is not made.student and not changed(weights(made.student), made.result)


def test_learning_rates_of_the_schedules():
    rates = {}
    for schedule in ("step", "cosine"):
        made = distiller(schedule=schedule, epochs=20, decay_every=8)
        rates[schedule] = []
        for epoch in range(20):
            for part in range(2):
                made.set_progress(epoch, part / 2)
                rates[schedule].append(made.optimiser.param_groups[0]["lr"])
    assert rates["step"] == pytest.approx([1e-3] * 16 + [5e-4] * 16 + [2.5e-4] * 8)
    cosine = rates["cosine"]
    assert cosine[0] == 0 and cosine[4] == max(cosine) == pytest.approx(1e-3) and cosine[2] == pytest.approx(5e-4)
    assert cosine[22] == pytest.approx(5e-4) and cosine[-1] < 2e-5
    assert all(o.param_groups[0]["lr"] == 1e-3 for o in made.discriminator_optimisers.values())
