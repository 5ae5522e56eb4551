from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from teacher_objects import CLASSES, bare, train

from vadistill.errors import InputError
from vadistill.settings import TASKS, MultiTaskConfig
from vadistill.teachers import multi_task, training
from vadistill.teachers.crops import random_gaps
from vadistill.teachers.pretrained.resnet50 import load_resnet50
from vadistill.teachers.pretrained.weights import cached_weights
from vadistill.teachers.registry import build
from vadistill.training.parallel import Draws
from vadistill.training.run import TrainingRun

FAST = MultiTaskConfig(crop=32, width="narrow", depth="shallow", flip=False)


def made(settings=FAST):
    return build("multi_task", settings, CLASSES)


def numbered(count, side=32):
    """Crops whose value is 10 * object + position (irregular: 5 more), the left half of each crop one higher."""
    value = 10 * torch.arange(count)[:, None] + torch.arange(7)
    crops = value[:, :, None, None, None].repeat(1, 1, 3, side, side)
    crops[..., : side // 2] += 1
    objects = bare(count, torch.Generator())
    return {**objects, "colour": crops.byte(), "irregular": (crops + 5).byte()}


def walkers(count, seed, side=32, backward=False):
    """A bright bar that crosses the crop to the right, and its intermittent sequence."""
    rng = torch.Generator().manual_seed(seed)
    gaps = torch.from_numpy(random_gaps(np.random.default_rng(seed), 4, count))
    times = torch.stack([torch.arange(-3, 4).expand(count, 7), gaps])
    place = side / 2 + (times if not backward else -times) * 1.5
    bar = (torch.arange(side) - place[..., None]).abs() < 3
    crops = 60 + 120 * bar[..., None, None, :].expand(2, count, 7, 3, side, side)
    crops = crops + 5 * torch.randn(crops.shape, generator=rng)
    regular, irregular = crops.clamp(0, 255).byte()
    return {**bare(count, rng), "colour": regular, "irregular": irregular}


def inputs(teacher, objects, loss=None):
    """Return the sequences (N, 3, L, S, S) that the shared network saw, in grey levels, one entry a pass."""
    seen = []
    handle = teacher.shared.register_forward_hook(lambda _, arguments, __: seen.append(arguments[0] * 255))
    (loss or teacher.phases()[0].loss)(objects, Draws(torch.Generator().manual_seed(0)))
    handle.remove()
    return seen


def distinct(objects):
    """Make the objects differ in brightness and in what the detector sees."""
    count = len(objects["box"])
    shade = torch.linspace(0.3, 1, count)[:, None, None, None, None]
    dimmed = {name: (objects[name] * shade).byte() for name in ("colour", "irregular")}
    return {**objects, **dimmed, "probabilities": torch.linspace(0, 1, count)[:, None].repeat(1, CLASSES)}


def telling(teacher):
    """Make the distillation head answer differently to different objects from the start."""
    with torch.no_grad():
        teacher.distillation[-1].weight *= 30
    return teacher


@pytest.mark.parametrize("skip", [1, 4])
def test_gaps_keep_frame_t_and_skip_up_to_the_limit(skip):
    offsets = random_gaps(np.random.default_rng(0), skip, 3000)
    steps = np.diff(offsets, axis=1)
    assert offsets.shape == (3000, 7) and (offsets[:, 3] == 0).all()
    assert set(np.unique(steps)) == set(range(2, skip + 2))
    assert np.abs(offsets).max() == 3 * (skip + 1) == made(replace(FAST, max_skip=skip)).training_crops().reach
    if skip > 1:
        sides = np.corrcoef(steps.T)
        assert np.abs(sides[~np.eye(6, dtype=bool)]).max() < 0.1
    again = random_gaps(np.random.default_rng(0), skip, 3000)
    assert (offsets == again).all()


@pytest.mark.parametrize("count", [1, 5, 8])
def test_classes_are_one_to_one_and_backward_is_the_exact_mirror(count):
    objects = numbered(count)
    half = (count + 1) // 2
    seven, six = inputs(made(), objects)
    forward, backward, intermittent = seven.round().long().chunk(3)
    colour, irregular = (objects[name].long().transpose(1, 2) for name in ("colour", "irregular"))
    assert seven.shape[2] == 7 and len(forward) == len(backward) == len(intermittent) == half
    assert torch.equal(forward, colour[:half])
    assert torch.equal(backward.flip(2), colour[-half:])
    assert torch.equal(intermittent, irregular[-half:])
    assert len(six) == count


def test_middle_crop_is_never_in_the_input_of_the_middle_box():
    objects = numbered(6)
    seen = inputs(made(), objects)[1].round().long()
    assert seen.shape[2] == 6
    assert torch.equal(seen[:, :, 2], objects["colour"][:, 2].long())
    assert torch.equal(seen[:, :, 3], objects["colour"][:, 4].long())


def test_middle_box_prediction_does_not_depend_on_the_middle_crop():
    teacher, objects, predicted = made(), walkers(4, 0), []
    teacher.middle_box.register_forward_hook(lambda _, __, output: predicted.append(output))
    withheld = {**objects, "colour": objects["colour"].clone()}
    withheld["colour"][:, 3] = 0
    teacher.score(objects)
    terms = teacher.score(withheld)
    assert torch.equal(*predicted)
    torch.testing.assert_close(terms[:, 2], predicted[1].abs().mean((1, 2, 3)))  # how far it is from black


def test_flip_mirrors_whole_sequences_of_half_the_objects_in_training_only():
    objects, teacher = numbered(24), made(replace(FAST, flip=True))
    plain = objects["colour"].transpose(1, 2).long()
    six = inputs(teacher, objects)[1].round().long()
    others = plain[:, :, [0, 1, 2, 4, 5, 6]]
    mirrored = (six == others.flip(4)).flatten(1).all(1)
    kept = (six == others).flatten(1).all(1)
    assert (mirrored ^ kept).all() and 6 <= mirrored.sum() <= 18
    seven = inputs(teacher, objects)[0].round().long()
    intermittent = objects["irregular"].transpose(1, 2).long()[12:]
    chosen = mirrored[12:, None, None, None, None]
    assert torch.equal(seven[24:], torch.where(chosen, intermittent.flip(4), intermittent))
    held_out = inputs(teacher, objects, teacher.phases()[0].held_out_loss)[1].round().long()
    assert torch.equal(held_out, others)


def test_colours_are_red_green_blue_in_0_1():
    objects = numbered(2)
    objects["colour"][:] = torch.tensor([0, 51, 255], dtype=torch.uint8)[None, None, :, None, None]
    seven, _ = inputs(made(), objects)
    torch.testing.assert_close(seven[0, :, 0, 0, 0] / 255, torch.tensor([1.0, 0.2, 0.0]))


@pytest.mark.slow
@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("width", ["narrow", "wide"])
@pytest.mark.parametrize("depth", ["shallow", "deep", "deeper"])
def test_sizes_and_gradients(side, width, depth):
    teacher = made(replace(FAST, crop=side, width=width, depth=depth))
    objects = numbered(2, side)
    loss = teacher.phases()[0].loss(objects, Draws(torch.Generator()))
    loss["loss"].backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in teacher.parameters())
    convolutions = [layer for layer in teacher.shared.layers if isinstance(layer, torch.nn.Conv3d)]
    assert len(convolutions) == 3 * {"shallow": 1, "deep": 2, "deeper": 3}[depth]
    features = teacher.shared(torch.zeros(1, 3, 7, side, side))
    assert features.shape == (1, 64 if width == "wide" else 32, side // 8, side // 8)
    assert teacher.middle_box(features).shape == (1, 3, side, side)
    assert teacher.score(objects).shape == (2, 4)


def test_joint_loss_is_the_weighted_sum_of_hand_made_losses():
    objects, teacher = distinct(walkers(6, 0)), telling(made()).eval()
    loss = teacher.phases()[0].held_out_loss(objects, Draws(torch.Generator()))
    sequences = objects["colour"].flip(2).transpose(1, 2).float() / 255
    intermittent = objects["irregular"].flip(2).transpose(1, 2).float() / 255
    ahead, back = teacher.shared(sequences[:3]), teacher.shared(sequences[3:].flip(2))
    skipped = teacher.shared(intermittent[3:])
    arrow = -(teacher.arrow(ahead).log_softmax(1)[:, 0].mean() + teacher.arrow(back).log_softmax(1)[:, 1].mean()) / 2
    gaps = teacher.irregularity
    irregularity = -(gaps(ahead).log_softmax(1)[:, 0].mean() + gaps(skipped).log_softmax(1)[:, 1].mean()) / 2
    middle = teacher.middle_box(teacher.shared(sequences[:, :, [0, 1, 2, 4, 5, 6]]))
    middle_box = (middle - sequences[:, :, 3]).abs().mean()
    classes = teacher.distillation(torch.cat([ahead, back]))[:, :CLASSES]
    distillation = (classes - objects["probabilities"]).abs().mean()
    expected = arrow + irregularity + middle_box + 0.2 * distillation
    torch.testing.assert_close(loss["loss"], expected)


def test_losses_follow_the_generator():
    teacher, objects = made(replace(FAST, flip=True)), walkers(8, 0)
    phase = teacher.phases()[0]
    first, again, other = (
        phase.loss(objects, Draws(torch.Generator().manual_seed(seed)))["loss"].item() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_score_needs_neither_irregular_sequences_nor_batch_mates():
    teacher, objects = made(), walkers(6, 0)
    train(teacher, objects, steps=2, batch=6)
    del objects["irregular"]
    terms = teacher.score(objects)
    assert not teacher.training
    one = {name: value[2:3] for name, value in objects.items()}
    torch.testing.assert_close(teacher.score(one)[0], terms[2], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_learns_and_scores_abnormal_sequences_higher():
    teacher = made()
    losses = train(teacher, walkers(200, 0), steps=45, batch=16)["tasks"]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    objects = walkers(40, 1)
    usual = teacher.score(objects)
    backward = teacher.score(walkers(40, 2, backward=True))
    jumping = teacher.score({**objects, "colour": objects["irregular"]})
    strange = teacher.score({**objects, "probabilities": objects["probabilities"].flip(1)})
    assert backward[:, 0].mean() > usual[:, 0].mean() + 0.3
    assert jumping[:, 1].mean() > usual[:, 1].mean() + 0.3
    assert jumping[:, 2].mean() > usual[:, 2].mean()
    assert strange[:, 3].min() > usual[:, 3].max()
    for abnormal in (backward, jumping):
        better = abnormal.mean(1)[:, None] > usual.mean(1)
        assert better.float().mean() > 0.9


def crop_means(crops):
    """A network in ResNet-50's place: 1000 multiples of a crop's mean."""
    return crops.mean((1, 2, 3))[:, None] * torch.arange(1.0, 1001)


@pytest.mark.parametrize("tasks", [(task,) for task in TASKS] + [("middle_box", "arrow"), TASKS])
def test_chosen_tasks_alone_are_learned_and_scored(tasks):
    teacher = made(replace(FAST, tasks=tasks))
    assert teacher.terms == teacher.score_terms == tuple(task for task in TASKS if task in tasks)
    assert teacher.probabilities == tuple(task for task in ("arrow", "irregularity") if task in tasks)
    assert (teacher.training_crops().irregular > 0) == ("irregularity" in tasks)
    assert not any(hasattr(teacher, task) for task in set(TASKS) - set(tasks))
    objects = walkers(5, 0)
    if "irregularity" not in tasks:
        del objects["irregular"]
    losses = teacher.phases()[0].loss(objects, Draws(torch.Generator()))
    losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in teacher.parameters())
    weights = {"distillation": 0.2}
    expected = sum(weights.get(task, 1) * losses[task].item() for task in tasks)
    assert losses["loss"].item() == pytest.approx(expected)
    assert teacher.score(objects).shape == (5, len(tasks))


def test_terms_are_what_the_heads_say_of_the_sequences_in_red_green_blue(monkeypatch):
    monkeypatch.setattr(multi_task, "autocast", lambda *_, **__: nullcontext())  # bfloat16 hides a change of colours
    teacher, objects = made(), walkers(4, 0)
    objects["colour"][:, :, 0] //= 8  # hardly any blue
    terms = teacher.score(objects)
    sequences = objects["colour"].flip(2).transpose(1, 2).float() / 255
    with torch.no_grad():
        whole, others = teacher.shared(sequences), teacher.shared(sequences[:, :, [0, 1, 2, 4, 5, 6]])
        expected = [
            teacher.arrow(whole).softmax(1)[:, 1],
            teacher.irregularity(whole).softmax(1)[:, 1],
            (teacher.middle_box(others) - sequences[:, :, 3]).abs().mean((1, 2, 3)),
            (teacher.distillation(whole)[:, :CLASSES] - objects["probabilities"]).abs().mean(1),
        ]
    torch.testing.assert_close(terms, torch.stack(expected, 1), rtol=1e-5, atol=1e-6)


def test_a_task_alone_is_measured_as_among_all():
    teacher, objects = made(), walkers(4, 0)
    together = teacher.score(objects)
    for column, task in enumerate(TASKS):
        alone = made(replace(FAST, tasks=(task,)))
        alone.load_state_dict({key: teacher.state_dict()[key] for key in alone.state_dict()})
        torch.testing.assert_close(alone.score(objects)[:, 0], together[:, column])


def test_requests_carry_the_shape_of_the_windows():
    teacher = made(replace(FAST, context=0.25, aspect="keep", border="repeat"))
    for request in (teacher.training_crops(), teacher.scoring_crops()):
        assert (request.context, request.aspect, request.border) == (0.25, "keep", "repeat")


def test_jitter_changes_all_sequences_of_an_object_alike_in_training_only():
    objects, teacher = numbered(12), made(replace(FAST, jitter=0.2))
    objects["colour"] = 90 + objects["colour"] // 3  # nothing is cut at black and white
    objects["irregular"] = objects["colour"]
    plain = objects["colour"].transpose(1, 2).float()
    seven, six = inputs(teacher, objects)
    changes = []
    for index in range(12):
        before, after = plain[index][:, [0, 1, 2, 4, 5, 6]].flatten(), six[index].flatten()
        slope, intercept = np.polyfit(before.double(), after.double(), 1)
        np.testing.assert_allclose(after, slope * before + intercept, atol=0.01)
        changes.append((slope, intercept))
    slopes, intercepts = np.array(changes).T
    contrast, brightness = slopes - 1, (intercepts + 127.5 * (slopes - 1)) / 255
    assert (np.abs(contrast) <= 0.2).all() and len(set(contrast.round(4))) == 12
    assert (np.abs(brightness) <= 0.2).all() and abs(np.corrcoef(contrast, brightness)[0, 1]) < 0.9
    ahead, back, skipped = seven.chunk(3)
    assert torch.equal(ahead[:, :, [0, 1, 2, 4, 5, 6]], six[:6])
    assert torch.equal(skipped, back.flip(2)) and torch.equal(skipped[:, :, [0, 1, 2, 4, 5, 6]], six[6:])
    held_out = inputs(teacher, objects, teacher.phases()[0].held_out_loss)[1]
    torch.testing.assert_close(held_out, plain[:, :, [0, 1, 2, 4, 5, 6]])


def test_imagenet_targets_are_standardised_and_weigh_as_the_class_scores():
    objects, teacher = distinct(walkers(6, 0)), telling(made()).eval()
    phase = teacher.phases()[0]
    without = phase.held_out_loss(objects, Draws(torch.Generator()))
    terms = teacher.score(objects)
    teacher.imagenet = crop_means
    teacher.prepare(objects)
    middle = objects["colour"][:, 3].float() / 255
    outputs = crop_means(middle).numpy()
    targets = torch.from_numpy((outputs - outputs.mean(0)) / outputs.std(0))
    losses = phase.held_out_loss(objects, Draws(torch.Generator()))
    sequences = objects["colour"].flip(2).transpose(1, 2).float() / 255
    made_outputs = teacher.distillation(teacher.shared(torch.cat([sequences[:3], sequences[3:].flip(2)])))
    error = (made_outputs[:, CLASSES:] - targets).abs().mean()
    torch.testing.assert_close(losses["imagenet"], error, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["loss"], without["loss"] + 0.2 * error, rtol=1e-4, atol=1e-5)
    assert torch.equal(teacher.score(objects), terms)


def test_imagenet_statistics_are_of_at_most_2000_objects_from_all_over():
    teacher, seen = made(), []
    teacher.imagenet = lambda crops: (seen.extend(crops[:, 0, 0, 0].tolist()), crop_means(crops))[1]
    values = torch.arange(4500) // 20
    objects = {"colour": values[:, None, None, None, None].expand(4500, 7, 3, 4, 4).byte()}
    teacher.prepare(objects)
    assert 1000 < len(seen) <= 2000
    assert min(seen) == 0 and max(seen) * 255 > 220


def test_without_imagenet_the_head_has_the_classes_only():
    teacher = made(replace(FAST, imagenet=False))
    teacher.imagenet = crop_means
    objects = walkers(4, 0)
    teacher.prepare(objects)
    assert teacher.distillation[-1].out_features == CLASSES
    assert "imagenet" not in teacher.phases()[0].loss(objects, Draws(torch.Generator()))


@pytest.mark.slow
def test_resnet50_from_a_file_gives_targets_and_stays_out_of_the_state(tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None)
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    teacher, objects = made(), walkers(3, 0)
    names = set(teacher.state_dict())
    teacher.load_network(tmp_path / "resnet50.pth")
    teacher.prepare(objects)
    teacher.train()
    crops = objects["colour"][:, 3].flip(1).float() / 255
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    resized = torch.nn.functional.interpolate(crops, (224, 224), mode="bilinear", align_corners=False)
    expected = network.eval()((resized - mean) / deviation)
    torch.testing.assert_close(teacher.imagenet(crops), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(teacher.imagenet_mean, expected.mean(0), rtol=1e-4, atol=1e-4)
    teacher.phases()[0].loss(objects, Draws(torch.Generator()))["loss"].backward()
    assert all(parameter.grad is None for parameter in teacher.imagenet.network.parameters())
    assert set(teacher.state_dict()) == names


@pytest.mark.parametrize(
    ("changed", "warned"), [({}, True), ({"imagenet": False}, False), ({"tasks": ("arrow",)}, False)]
)
def test_missing_resnet50_is_warned_of_where_it_is_wanted(caplog, changed, warned):
    teacher = made(replace(FAST, **changed))
    teacher.load_network(None)
    assert ("there is no resnet50*.pth" in caplog.text) == warned and teacher.imagenet is None


def test_weights_are_looked_for_in_the_cache_of_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert cached_weights("resnet50") is None
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "fasterrcnn_resnet50_fpn.pth").touch()
    assert cached_weights("resnet50") is None
    for name in ("resnet50-2.pth", "resnet50-1.pth"):
        (folder / name).touch()
    assert cached_weights("resnet50") == folder / "resnet50-2.pth"


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, b"", b"no weights", {"weight": torch.zeros(3)}, [1, 2], 5])
def test_files_without_resnet50_are_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=r"weights\.pth: not the weights of torchvision's ResNet-50") as raised:
        load_resnet50(path)
    assert "\n" not in str(raised.value)


def test_state_loads_into_a_new_teacher():
    teacher, objects = made(), walkers(4, 0)
    train(teacher, objects, steps=1, batch=4)
    other = made(replace(FAST, seed=1))
    other.load_state_dict(teacher.state_dict())
    assert torch.equal(other.score(objects), teacher.score(objects))


class Samples:
    """Objects in memory in place of those that are read from clips."""

    def __init__(self, objects):
        self.objects = objects

    def __len__(self):
        return len(self.objects["box"])

    def sample(self, epoch):
        return self.objects

    def read_ahead(self, epoch):
        pass


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_learning_rate_of_every_epoch_also_after_a_break(tmp_path, monkeypatch, schedule):
    chosen = replace(FAST, schedule=schedule, epochs=5, batch=8, learning_rate=0.01)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.Adam([weight], lr=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=5)
    expected, used = [], []
    for _ in range(5):
        expected.append(optimiser.param_groups[0]["lr"] if schedule == "cosine" else 0.01)
        optimiser.step()
        scheduler.step()

    def train_one_epoch(teacher, phase, objects, batch, generator, device, epoch):
        used.append(phase.optimiser.param_groups[0]["lr"])
        if len(used) == 3:
            raise KeyboardInterrupt
        return {"train_loss": 1.0}

    monkeypatch.setattr(training, "train_one_epoch", train_one_epoch)
    samples, start = Samples(walkers(8, 0)), partial(TrainingRun, tmp_path / "model.pt", "stamp", 0)
    with pytest.raises(KeyboardInterrupt):
        training.fit(made(chosen), chosen, samples, Samples({"box": []}), start, torch.device("cpu"))
    used.append(None)  # the epoch is done again
    training.fit(made(chosen), chosen, samples, Samples({"box": []}), start, torch.device("cpu"))
    assert used.pop(3) is None and used.pop(2) == pytest.approx(expected[2])
    assert used == pytest.approx(expected)


def test_the_weights_of_the_epoch_with_the_lowest_held_out_loss_are_kept(tmp_path, monkeypatch):
    chosen, held_out = replace(FAST, epochs=4, patience=4), iter([3.0, 1.0, 2.0, 2.0])

    def train_one_epoch(teacher, phase, objects, batch, generator, device, epoch):
        teacher.shared.layers[0].weight.data.fill_(epoch)
        return {"train_loss": 1 / (1 + epoch)}

    monkeypatch.setattr(training, "train_one_epoch", train_one_epoch)
    monkeypatch.setattr(training, "held_out_losses", lambda *_: {"held_out_loss": next(held_out)})
    samples, held = Samples(walkers(8, 0)), Samples(walkers(4, 1))
    start = partial(TrainingRun, tmp_path / "model.pt", "stamp", 0)
    _, weights = training.fit(made(chosen), chosen, samples, held, start, torch.device("cpu"))
    assert (weights["shared.layers.0.weight"] == 1).all()
