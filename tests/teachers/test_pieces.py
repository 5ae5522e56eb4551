"""What makes teachers faster on a processor leaves their terms as they are: pieces, pooling, what two views share."""

import pytest
import torch
from teacher_objects import CLASSES, walkers
from torch import nn

from vadistill.settings import section
from vadistill.teachers.base import PIXELS_AT_ONCE
from vadistill.teachers.multi_task import SharedNetwork
from vadistill.teachers.pooling import FramePool, HalvingPool
from vadistill.teachers.proxy_tasks import without_middle
from vadistill.teachers.registry import build
from vadistill.training.device import autocast, in_layout

SIDE = 32
PIECE = PIXELS_AT_ONCE // SIDE**2


@pytest.mark.parametrize("count", [1, PIECE, 2 * PIECE + 3])
@pytest.mark.parametrize("name", ["background_agnostic", "multi_task", "flow_neighbours"])
def test_objects_in_pieces_have_the_terms_of_one_batch(name, count, monkeypatch):
    torch.manual_seed(0)
    teacher, objects = build(name, section(name, {"crop": SIDE}), CLASSES), walkers(count, 0)
    objects["colour"] = torch.randint(0, 256, (count, 7, 3, SIDE, SIDE), dtype=torch.uint8)
    teacher.prepare(objects)
    teacher.eval()
    with torch.no_grad():
        whole = teacher.measure(objects)
    sizes, measure = [], teacher.measure
    monkeypatch.setattr(teacher, "measure", lambda batch: (sizes.append(len(batch["box"])), measure(batch))[1])
    found = teacher.score(objects)
    assert max(sizes) <= PIECE and sum(sizes) == count
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6)
    assert count == 1 or len(found.unique(dim=0)) == count  # a wrong order would show


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_by_frame_is_pooling_in_space_gradients_too(layout, dtype):
    rng = torch.Generator().manual_seed(0)
    values = torch.randint(-2, 3, (2, 4, 7, 8, 8), generator=rng).to(dtype)  # few values, so that squares have ties
    weights = torch.rand(2, 4, 7, 4, 4, generator=rng).to(dtype)
    found = []
    for pool in (FramePool(), nn.MaxPool3d((1, 2, 2))):
        sequences = values.clone(memory_format=layout).requires_grad_()
        pooled = pool(sequences)
        (pooled * weights).sum().backward()
        found.append((pooled, sequences.grad))
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 5, 8, 8), (2, 32, 4, 6)])
def test_halving_without_gradients_gives_the_values_of_max_pooling(shape, dtype, layout):
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype).to(memory_format=layout)
    with torch.no_grad():
        assert torch.equal(HalvingPool()(images), nn.MaxPool2d(2)(images))
        frames = images.unflatten(0, (1, -1)).transpose(1, 2)
        assert torch.equal(FramePool()(frames), nn.MaxPool3d((1, 2, 2))(frames))


@pytest.mark.parametrize("convolutions", [1, 2, 3])
@pytest.mark.parametrize("half", [False, True])
def test_what_sequences_share_with_and_without_their_middle_has_the_features_of_two_passes(convolutions, half):
    torch.manual_seed(0)
    network = in_layout(SharedNetwork((8, 16, 16), convolutions), torch.channels_last_3d).eval()
    for layer in network.layers:
        if isinstance(layer, nn.BatchNorm3d):
            for values in (layer.running_mean, layer.weight, layer.bias):  # weights of both signs
                nn.init.normal_(values)
    sequences = torch.rand(3, 3, 7, SIDE, SIDE)
    with torch.no_grad(), autocast(sequences.device, on_processors=half):
        found = network.forward_both(sequences)
        expected = network(sequences), network(without_middle(sequences))
        changed = network.forward_both(torch.cat([sequences[:, :, :6], sequences[:, :, 5:6]], dim=2))
    for part, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-5, atol=1e-6)
    assert not any(torch.allclose(part, other) for part, other in zip(found, changed, strict=True))
