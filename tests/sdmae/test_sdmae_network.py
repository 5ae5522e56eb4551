from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vadistill.sdmae.network import (
    Attention,
    Block,
    MaskedAutoEncoder,
    Projection,
    attended,
    halved,
    patches_of,
    scale_pixels,
)
from vadistill.settings import SdmaeConfig

SMALL = SdmaeConfig(
    height=32, width=48, patch=8, encoder_width=16, encoder_depth=2, decoder_width=8, decoder_depth=3, heads=2
)
TOKENS = 24


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def orders(count, tokens=TOKENS):
    return torch.rand(count, tokens).argsort(1)


@pytest.mark.parametrize(
    ("changes", "parameters"), [({}, 3_042_560), ({"height": 160, "width": 320, "patch": 8}, 2_402_048)]
)
def test_the_official_layouts_have_the_published_parameters(changes, parameters):
    """Besides those of the classifier, which the released code lacks."""
    with torch.device("meta"):
        network = MaskedAutoEncoder(SdmaeConfig(**changes))
    classifier = sum(parameter.numel() for parameter in network.classifier.parameters())
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters + classifier
    assert classifier == 257


@pytest.mark.parametrize(("changes", "products"), [({}, 2.67e9), ({"height": 160, "width": 320, "patch": 8}, 2.16e9)])
def test_the_official_layouts_cost_what_is_known(changes, products):
    settings = SdmaeConfig(**changes)
    with torch.device("meta"):
        network = MaskedAutoEncoder(settings).eval()
        frames = torch.empty(1, 9, *settings.size)
    order = torch.empty(1, 800, dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter:
        network(frames, order)
    assert counter.get_total_flops() / 2 == pytest.approx(products, rel=0.02)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (16, 72), (24, 32)])
def test_shapes_and_every_parameter_learns(height, width):
    settings = replace(SMALL, height=height, width=width)
    network, tokens = MaskedAutoEncoder(settings), height * width // 64
    made = network(torch.randn(3, 9, height, width), orders(3, tokens))
    assert made.first.shape == made.second.shape == (3, tokens, 256) and made.logit.shape == (3,)
    (made.first.square().mean() + made.second.square().mean() + made.logit.mean()).backward()
    assert all(p.grad is not None and p.grad.any() for name, p in network.named_parameters() if "bias" not in name)


def test_without_masks_every_pixel_counts_and_the_order_does_not():
    network = MaskedAutoEncoder(replace(SMALL, masked=False)).eval()
    frames = torch.randn(1, 9, 32, 48, requires_grad=True)
    made, again = (network(frames, orders(1)) for _ in range(2))
    for part, other in zip(made, again, strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=0)
    made.first.square().sum().backward()
    assert (frames.grad != 0).all()


def test_what_is_hidden_has_no_influence_and_what_is_seen_has():
    network, order = MaskedAutoEncoder(SMALL).eval(), orders(1)
    frames = torch.randn(1, 9, 32, 48)
    before = network(frames, order)
    for index, same in ((TOKENS // 2, True), (TOKENS - 1, True), (0, False), (TOKENS // 2 - 1, False)):
        row, column = divmod(int(order[0, index]), 6)
        changed = frames.clone()
        changed[..., row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] += 1
        made = network(changed, order)
        assert torch.equal(made.first, before.first) == torch.equal(made.logit, before.logit) == same


def test_seen_tokens_keep_their_order_and_come_back_to_their_places():
    network, order = MaskedAutoEncoder(SMALL).eval(), orders(2)
    given, shared = [], []
    network.blocks[0].register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    network.shared.register_forward_pre_hook(lambda _, inputs: shared.append(inputs))
    narrow = []
    network.narrow.register_forward_hook(lambda *calls: narrow.append(calls[2]))
    frames = torch.randn(2, 9, 32, 48)
    network(frames, order)
    tokens = network.embedding_norm(network.embedding(frames).flatten(2).transpose(1, 2))
    for sample in range(2):
        torch.testing.assert_close(given[0][0][sample, 1:], tokens[sample, order[sample, :12]])
        for place, index in enumerate(order[sample].tolist()):
            expected = narrow[0][sample, 1 + place] if place < 12 else network.mask_token[0, 0]
            assert torch.equal(shared[0][0][sample, 1 + index], expected)
    assert given[0][1] == (4, 3) and shared[0][1] == (4, 6)


def test_attention_in_bfloat16_is_that_of_float32_within_rounding():
    generator = torch.Generator().manual_seed(5)
    query, key, value = (torch.randn(2, 4, 33, 16, generator=generator) for _ in range(3))
    made = attended(query.bfloat16(), key.bfloat16(), value.bfloat16(), 0.5)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), attended(query, key, value, 0.5), atol=0.03, rtol=0.03)


def test_attention_by_hand():
    attention, grid = Attention(8, 2).eval(), (2, 3)
    x = torch.randn(1, 7, 8)

    def projected(part: Projection):
        picture = torch.zeros(8, 4, 5)
        picture[:, 1:3, 1:4] = x[0, 1:].T.reshape(8, 2, 3)
        made = torch.zeros(6, 8)
        for i in range(6):
            window = picture[:, i // 3 : i // 3 + 3, i % 3 : i % 3 + 3]
            made[i] = (window * part.conv.weight[:, 0]).sum((1, 2)) / (1 + part.norm.eps) ** 0.5
        return torch.cat([x[0, :1], made]) @ part.linear.weight.T + part.linear.bias

    q, k, v = (projected(part).reshape(7, 2, 4) for part in (attention.query, attention.key, attention.value))
    weights = torch.einsum("qhd,khd->hqk", q, k).mul(8**-0.5).softmax(2)
    expected = torch.einsum("hqk,khd->qhd", weights, v).reshape(7, 8) @ attention.output.weight.T
    torch.testing.assert_close(attention(x, grid)[0], expected + attention.output.bias)


def test_the_class_token_passes_by_the_feed_forward():
    block = Block(8, 2).eval()
    features = torch.randn(1, 7, 8)
    behind = features + block.attention(block.norm(features), (2, 3))
    made = block(features, (2, 3))
    torch.testing.assert_close(made[:, 0], behind[:, 0] + block.forward_norm(behind)[:, 0])
    torch.testing.assert_close(made[:, 1:], behind[:, 1:] + block.feed_forward(block.forward_norm(behind)[:, 1:]))


def test_patches_are_the_squares_in_rows():
    pixels = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6)
    made = patches_of(pixels, 2)
    assert made.shape == (1, 6, 8)
    for token in range(6):
        row, column = 2 * (token // 3), 2 * (token % 3)
        assert torch.equal(made[0, token], pixels[0, :, row : row + 2, column : column + 2].flatten())


def test_half_of_a_grid():
    assert [halved(grid) for grid in ((4, 6), (4, 5), (3, 2))] == [(4, 3), (2, 5), (3, 1)]
    with pytest.raises(ValueError, match="3 x 5 tokens"):
        halved((3, 5))


def test_pixels_lie_between_minus_one_and_one():
    made = scale_pixels(torch.tensor([0, 127, 128, 255], dtype=torch.uint8))
    np.testing.assert_allclose(made, [-1, -0.5 / 127.5, 0.5 / 127.5, 1], atol=1e-7)
