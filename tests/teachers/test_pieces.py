"""A processor measures objects in pieces that fit its cache: they have the terms that they have as one batch."""

import pytest
import torch
from teacher_objects import CLASSES, walkers

from vadistill.settings import section
from vadistill.teachers.base import PIXELS_AT_ONCE
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
