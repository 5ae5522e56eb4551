"""What makes teachers faster on a processor leaves their terms as they are: pieces of a batch, pooling by frame."""

import pytest
import torch
from teacher_objects import CLASSES, walkers
from torch import nn

from vadistill.settings import section
from vadistill.teachers.base import PIXELS_AT_ONCE
from vadistill.teachers.multi_task import FramePool
from vadistill.teachers.registry import build

SIDE = 32
PIECE = PIXELS_AT_ONCE // SIDE**2


@pytest.mark.parametrize("count", [1, PIECE, 2 * PIECE + 3])
@pytest.mark.parametrize("name", ["background_agnostic", "multi_task", "flow_neighbours"])
def test_objects_in_pieces_have_the_terms_and_features_of_one_batch(name, count, monkeypatch):
    torch.manual_seed(0)
    teacher, objects = build(name, section(name, {"crop": SIDE}), CLASSES), walkers(count, 0)
    objects["colour"] = torch.randint(0, 256, (count, 7, 3, SIDE, SIDE), dtype=torch.uint8)
    teacher.prepare(objects)
    teacher.eval()
    with torch.no_grad():
        whole = teacher.measure(objects)
    sizes, measure = [], teacher.measure
    monkeypatch.setattr(teacher, "measure", lambda batch: (sizes.append(len(batch["box"])), measure(batch))[1])
    found = teacher.predict(objects)
    assert max(sizes) <= PIECE and sum(sizes) == count
    for part, expected in zip(found, whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-6)
    if name == "multi_task":
        assert torch.equal(found[1], whole[1])
    assert count == 1 or len(found[0].unique(dim=0)) == count  # a wrong order would show


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
