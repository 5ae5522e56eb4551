import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from vadistill.errors import InputError
from vadistill.settings import StudentConfig
from vadistill.student.losses import distillation_loss, map_statistics
from vadistill.student.network import (
    AutoEncoder,
    Backbone,
    Block,
    Encoder,
    FrameHead,
    MapHead,
    Student,
    attended,
    frame_scores,
    scale_frames,
    with_positions,
)

SMALL = StudentConfig(base_width=2, depth=1, heads=2, head_width=4)
SIDES = (1, 4, 16)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def draw_norms(network):
    """Untrained norms are nearly the identity in eval mode; give them values that show."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.LayerNorm)):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.uniform_(module.bias)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_official_layout_has_the_published_parameters_and_operations():
    with torch.device("meta"):
        student, autoencoder = Student(StudentConfig(), SIDES).eval(), AutoEncoder(StudentConfig())
        with FlopCounterMode(display=False) as counter:
            student(torch.empty(1, 9, 360, 640))
    assert parameters(student) == 4_997_747
    assert parameters(autoencoder) == 5_088_147
    assert parameters(student.backbone.encoder) == 399_728
    for block in student.backbone.blocks:
        assert parameters(block) == 860_160
        assert (parameters(block.attention), parameters(block.feed_forward)) == (334_080, 526_080)
    assert [parameters(head) for head in student.heads.values()] == [1_025, 148_097, 148_097]
    assert round(counter.get_total_flops() / 2e9, 2) == 7.05


def test_encoder_sizes_halve_rounding_up():
    features, skips = Encoder(SMALL)(torch.randn(2, 9, 97, 131))
    assert [tuple(skip.shape) for skip in skips] == [(2, 4, 49, 66), (2, 8, 25, 33), (2, 16, 13, 17), (2, 32, 7, 9)]
    assert features.shape == skips[-1].shape


@pytest.mark.parametrize("size", [(33, 32), (97, 131), (158, 238)])
@pytest.mark.parametrize("model", ["student", "autoencoder"])
def test_every_parameter_learns_at_any_size(model, size):
    frames = torch.randn(2, 9, *size)
    if model == "student":
        network = Student(SMALL, SIDES)
        maps = network(frames)
        assert list(maps) == list(SIDES)
        assert all(maps[side].shape == (2, 1, side, side) for side in SIDES)
        loss = sum(grid.square().sum() for grid in maps.values())
    else:
        network = AutoEncoder(SMALL)
        output = network(frames)
        assert output.shape == (2, 3, -(-size[0] // 2), -(-size[1] // 2))
        loss = output.square().sum()
    loss.backward()
    for name, parameter in network.named_parameters():
        # A K/V grid of one position has no spread for the batch norm, nor a choice for the query.
        if size != (33, 32) or "attention" not in name:
            assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


@pytest.mark.parametrize("size", [(240, 360), (360, 640), (480, 856)])
def test_common_sizes(size):
    frames = torch.randn(1, 9, *size)
    with torch.inference_mode():
        maps = Student(SMALL, (2, 8, 16)).eval()(frames)
        output = AutoEncoder(SMALL).eval()(frames)
    assert [tuple(grid.shape[1:]) for grid in maps.values()] == [(1, 2, 2), (1, 8, 8), (1, 16, 16)]
    assert output.shape == (1, 3, size[0] // 2, size[1] // 2)


@pytest.mark.parametrize("downsamplings", [1, 2, 5])
def test_other_depths_of_the_encoder(downsamplings):
    settings = StudentConfig(base_width=2, downsamplings=downsamplings, depth=1, heads=1, head_width=4, feed_forward=2)
    frames = torch.randn(2, 9, 65, 70)
    assert AutoEncoder(settings)(frames).shape == (2, 3, 33, 35)
    assert Student(settings, (3,))(frames)[3].shape == (2, 1, 3, 3)


def test_rows_stay_rows():
    """A change in the upper right corner of the frame stays in that corner of the map."""
    student = Student(StudentConfig(base_width=4, depth=1, heads=1, head_width=4), (4,)).eval()
    student.backbone.blocks = torch.nn.Sequential()  # attention looks everywhere
    frames = torch.zeros(1, 9, 160, 320)
    changed = frames.clone()
    changed[:, :, :16, -16:] = 10 * torch.randn(1, 9, 16, 16)
    difference = (student(frames)[4] - student(changed)[4]).abs()[0, 0]
    assert difference[0, 3] > 0
    assert difference[2:].max() == 0 and difference[:, :2].max() == 0


def test_attention_learned_in_bfloat16_is_that_of_float32_within_rounding(monkeypatch):
    fused = []

    def kernel(*given):
        fused.append(given)
        return exact(*given)

    exact = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", kernel)
    given = [torch.randn(2, 3, tokens, 16, requires_grad=True) for tokens in (24, 6, 6)]
    rounded = [part.detach().bfloat16().requires_grad_() for part in given]
    made, expected = attended(*rounded), exact(*given)
    assert not fused and made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), expected, atol=0.03, rtol=0.03)
    towards = torch.randn_like(expected)
    made.backward(towards.bfloat16())
    expected.backward(towards)
    for part, reference in zip(rounded, given, strict=True):
        torch.testing.assert_close(part.grad.float(), reference.grad, atol=0.06, rtol=0.06)
    with torch.no_grad():  # scores are those of the fused kernel
        attended(*(part.detach() for part in rounded))
    monkeypatch.setattr("vadistill.student.network.CACHED", 3 * 24 * 6 - 1)
    attended(*rounded)
    assert len(fused) == 2


def test_block_equals_the_written_out_formula():
    block = Block(width=6, heads=2, head_width=5, feed_forward=3).eval()
    draw_norms(block)
    features = torch.randn(2, 6, 5, 8)

    def channel_norm(x, norm):
        mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
        return (x - mean) / (variance + norm.eps).sqrt() * scale + shift

    norm, attention = block.attention
    x = channel_norm(features, norm)
    depthwise, batch, pointwise = attention.query
    query = functional.conv2d(batch(functional.conv2d(x, depthwise.weight, padding=1, groups=6)), pointwise.weight)
    depthwise, batch, pointwise = attention.key_value
    kv = batch(functional.conv2d(x, depthwise.weight, padding=1, stride=2, groups=6))
    kv = torch.einsum("ncyx,oc->noyx", kv, pointwise.weight[:, :, 0, 0])
    assert kv.shape == (2, 20, 3, 4)
    heads = []
    for head in range(2):
        q, k, v = (
            query[:, 5 * head : 5 * head + 5].flatten(2),
            kv[:, 5 * head : 5 * head + 5].flatten(2),
            kv[:, 10 + 5 * head : 15 + 5 * head].flatten(2),
        )
        weights = torch.softmax(torch.einsum("ndq,ndk->nqk", q, k) / math.sqrt(5), dim=2)
        heads.append(torch.einsum("nqk,ndk->ndq", weights, v).unflatten(2, (5, 8)))
    expected = features + attention.output(torch.cat(heads, 1))
    norm, widen, _, narrow = block.feed_forward
    expected = expected + narrow(functional.gelu(widen(channel_norm(expected, norm))))
    torch.testing.assert_close(block(features), expected)


@pytest.mark.parametrize(("stem", "stride"), [("full", 1), ("half", 2), ("quarter", 4)])
def test_the_stem_mirrors_the_frame_at_its_border(stem, stride):
    encoder, frames = Encoder(StudentConfig(base_width=4, stem=stem)), torch.randn(2, 9, 21, 30)
    _, raw = encoder.stem(frames)
    mirrored = torch.cat([frames[..., 1:4].flip(-1), frames, frames[..., -4:-1].flip(-1)], -1)
    mirrored = torch.cat([mirrored[..., 1:4, :].flip(-2), mirrored, mirrored[..., -4:-1, :].flip(-2)], -2)
    torch.testing.assert_close(raw, functional.conv2d(mirrored, encoder.stem.conv.weight, stride=stride))


def test_decoder_adds_the_outputs_of_the_convolutions():
    network = AutoEncoder(SMALL).eval()
    draw_norms(network)
    frames = torch.randn(1, 9, 50, 70)
    raw = []
    for stage in network.backbone.encoder.stages:
        stage.conv.register_forward_hook(lambda module, given, made: raw.append(made))
    features, _ = network.backbone(frames)
    first, second, third, fourth = raw[:4]
    x = features + fourth
    for stage, skip in zip(network.decoder, (third, second, first), strict=True):
        conv, norm = stage.conv, stage.norm
        odd = [size - (2 * given - 1) for size, given in zip(skip.shape[2:], x.shape[2:], strict=True)]
        x = functional.conv_transpose2d(x, conv.weight, stride=2, padding=1, output_padding=odd)
        x = torch.relu(norm(x)) + skip
    torch.testing.assert_close(network(frames), network.output(x))


@pytest.mark.parametrize(("activation", "function"), [("softplus", functional.softplus), ("relu", torch.relu)])
def test_map_head_pools_the_activated_features(activation, function):
    head = MapHead(8, 16, activation)
    features = torch.randn(2, 8, 9, 20)  # lower and wider than the grid
    dense = function(head.output(torch.relu(head.hidden(features))))
    got = head(features)
    for row in range(16):
        for column in range(16):
            cell = dense[..., row * 9 // 16 : -(-(row + 1) * 9 // 16), column * 20 // 16 : -(-(column + 1) * 20 // 16)]
            assert torch.equal(got[..., row, column], cell.amax((2, 3)))


@pytest.mark.parametrize("activation", ["softplus", "relu"])
def test_map_head_starts_near_zero_and_alive(activation):
    head = MapHead(8, 4, activation)
    torch.nn.init.zeros_(head.output.weight)
    torch.testing.assert_close(head(torch.randn(1, 8, 9, 20)), torch.full((1, 1, 4, 4), 0.05))


def test_frame_head_is_a_sigmoid_of_quarters():
    head = FrameHead(3)
    features = torch.randn(2, 3, 5, 8) - 1.5
    quarters = torch.stack([features[:, :, y, x].amax((2, 3)) for y, x in _quarters(5, 8)], dim=2).flatten(1)
    assert (quarters < 0).any() and (quarters > 0).any()
    expected = torch.sigmoid(quarters.clamp(min=0) @ head.output.weight[0] + head.output.bias)
    torch.testing.assert_close(head(features).flatten(), expected)


def _quarters(height, width):
    rows = (slice(0, -(-height // 2)), slice(height // 2, height))
    columns = (slice(0, -(-width // 2)), slice(width // 2, width))
    return [(row, column) for row in rows for column in columns]


def _train(student, frames, value, steps, rate=3e-3):
    optimiser = torch.optim.Adam(student.parameters(), lr=rate)
    for _ in range(steps):
        maps = student(frames)
        target = {side: torch.full_like(grid, value) for side, grid in maps.items()}
        loss, _ = distillation_loss(maps, {"teacher": target})
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return student(frames)


@pytest.mark.slow
def test_softplus_heads_recover_from_empty_targets():
    student, frames = Student(SMALL, (4, 16)), torch.randn(2, 9, 40, 40)
    empty = _train(student, frames, 0.0, 200)
    assert max(grid.max() for grid in empty.values()) < 0.03
    sum(grid.sum() for grid in empty.values()).backward()
    assert all(head.output.bias.grad.abs() > 0 for head in student.heads.values())
    recovered = _train(student, frames, 0.5, 200)
    assert all((grid - 0.5).abs().mean() < 0.1 for grid in recovered.values())


def test_dead_heads_are_reported():
    student = Student(StudentConfig(base_width=2, depth=1, heads=1, head_width=4, last_activation="relu"), (4, 16))
    frames = torch.randn(2, 9, 40, 40)
    torch.nn.init.constant_(student.heads["16"].output.bias, -20.0)
    maps = student(frames)
    objects = {side: torch.arange(2 * side * side).reshape(2, 1, side, side) % 2 for side in (4, 16)}
    statistics = map_statistics({4: maps[4] + 0.05, 16: maps[16]}, {"a": objects})
    assert statistics["dead_cells_4x4"] == 0 and statistics["dead_cells_16x16"] == statistics["object_cells_16x16"] > 0


def test_scaling_of_frames():
    frames = torch.tensor([0, 127, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    assert scale_frames(frames).flatten().tolist() == [-127 / 128, 0, 1]
    assert scale_frames(frames).dtype == torch.float32
    with pytest.raises(TypeError):
        scale_frames(frames.float())


def test_frame_score_is_the_mean_of_the_maxima():
    coarse = torch.tensor([0.2, 0.6]).reshape(2, 1, 1, 1)
    fine = torch.tensor([[0.0, 0.1, 0.8, 0.3], [0.0, 0.0, 0.2, 0.1]]).reshape(2, 1, 2, 2)
    torch.testing.assert_close(frame_scores({1: coarse, 2: fine}), torch.tensor([0.5, 0.4]))


def test_backbone_is_taken_over_from_the_autoencoder():
    autoencoder, student = AutoEncoder(SMALL), Student(SMALL, SIDES)
    autoencoder(torch.randn(2, 9, 64, 64))  # running statistics count too
    heads = {name: value.clone() for name, value in student.heads.state_dict().items()}
    student.load_backbone(autoencoder.state_dict())
    for name, value in autoencoder.backbone.state_dict().items():
        assert torch.equal(student.backbone.state_dict()[name], value)
    assert all(torch.equal(student.heads.state_dict()[name], value) for name, value in heads.items())


@pytest.mark.parametrize(
    "other", [StudentConfig(base_width=4, depth=1, heads=2, head_width=4), StudentConfig(base_width=2)]
)
def test_a_backbone_of_other_settings_is_refused(other):
    student = Student(SMALL, SIDES)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with pytest.raises(InputError, match=r"backbone\.\S+ is .*, expected .*; the student's settings"):
        student.load_backbone(AutoEncoder(other).state_dict())
    assert all(torch.equal(student.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize(("stem", "downsamplings", "decoded"), [("half", 2, (25, 33)), ("quarter", 1, (13, 17))])
def test_a_stem_that_shrinks_and_the_rest_follows(stem, downsamplings, decoded):
    full, small = (
        StudentConfig(base_width=4, downsamplings=3, depth=1),
        StudentConfig(base_width=4, downsamplings=downsamplings, stem=stem, depth=1),
    )
    frames = torch.randn(2, 9, 97, 131)
    sizes = [Encoder(settings)(frames)[0].shape for settings in (full, small)]
    assert [tuple(size[2:]) for size in sizes] == [(13, 17), (13, 17)]
    autoencoder = AutoEncoder(small)
    assert autoencoder(frames).shape == (2, 3, *decoded)
    assert Student(small, SIDES)(frames)[16].shape == (2, 1, 16, 16)


@pytest.mark.parametrize("count", [1, 5])
def test_other_numbers_of_frames(count):
    settings = StudentConfig(base_width=2, depth=1, heads=1, head_width=4, frames=count)
    assert Student(settings, (4,))(torch.randn(2, 3 * count, 40, 40))[4].shape == (2, 1, 4, 4)
    assert AutoEncoder(settings)(torch.randn(2, 3 * count, 40, 40)).shape == (2, 3, 20, 20)


def test_positions_are_rows_and_columns():
    seen = with_positions(torch.zeros(2, 9, 5, 3))
    assert seen.shape == (2, 11, 5, 3) and not seen[:, :9].any()
    assert torch.equal(seen[1, 9, :, 1], torch.tensor([-1, -0.5, 0, 0.5, 1]))
    assert torch.equal(seen[0, 10, 2], torch.tensor([-1.0, 0, 1]))
    settings = StudentConfig(base_width=2, depth=1, heads=1, head_width=4, positions=True)
    moved = torch.zeros(1, 9, 64, 64)
    grid = Student(settings, (4,)).eval()(moved)[4]
    assert grid.std() > 0, "the same picture everywhere, judged by its place"


@pytest.mark.parametrize(("size", "stem"), [((64, 96), "full"), ((50, 70), "half"), ((97, 131), "quarter")])
def test_the_flow_reaches_the_cells_it_lies_in(size, stem):
    settings = replace(SMALL, flow="medium", stem=stem, downsamplings=2)
    backbone = Backbone(settings).eval()
    windows = torch.zeros(1, 13, *size)
    windows[:, 9:, -1, -1] = torch.tensor([0.3, -0.4, 0.0, 0.5])
    given = []
    backbone.flow.hidden.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    features, _ = backbone(windows)
    cells, side = given[0], {"full": 4, "half": 8, "quarter": 16}[stem]
    assert cells.shape == (1, 6, *features.shape[-2:])
    corner = torch.tensor([0.3 / side**2, -0.4 / side**2, 0.0, 0.5 / side**2, 0.5, 0.5])
    torch.testing.assert_close(cells[0, :, -1, -1], corner)
    assert cells[0, :, :-1].abs().max() == 0 and cells[0, :, :, :-1].abs().max() == 0
    still, _ = backbone(torch.cat([windows[:, :9], 0 * windows[:, 9:]], 1))
    assert not torch.equal(features, still)


def test_without_flow_a_student_begins_as_it_did():
    made = []
    for flow in ("none", "fast"):
        torch.manual_seed(0)
        made.append(Backbone(replace(SMALL, flow=flow)).state_dict())
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())
    assert {name.split(".")[0] for name in made[1].keys() - made[0].keys()} == {"flow"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [SMALL, StudentConfig(base_width=2, depth=1, heads=2, head_width=4, stem="half", positions=True)]
)
def test_exported_and_compiled_forms_say_the_same(settings):
    student, frames = Student(settings, SIDES).eval(), torch.randn(2, 9, 96, 128)
    draw_norms(student)
    with torch.inference_mode():
        expected = student(frames)
    exported = torch.export.export(student, (frames,)).module()
    compiled = torch.compile(student, backend="aot_eager")
    for form in (exported, compiled):
        with torch.no_grad():
            made = form(frames)
        for side in SIDES:
            torch.testing.assert_close(made[side], expected[side], rtol=1e-5, atol=1e-6)
