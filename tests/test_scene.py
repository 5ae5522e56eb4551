import numpy as np
import pytest
import torch
from teacher_objects import HEIGHT, bare, usual_speed

from vadistill.errors import InputError
from vadistill.teachers.scene import FLOW_NOISE, BoxUnit, SceneUnit, object_speed


def drawn(count=4000, seed=0):
    rng = torch.Generator().manual_seed(seed)
    objects = bare(count, rng)
    speed = usual_speed(objects) * torch.rand(count, generator=rng)
    return speed, objects["box"], objects["size"]


def at_rows(rows, height=HEIGHT):
    rows = torch.as_tensor(rows, dtype=torch.float32)
    box = torch.stack([torch.zeros_like(rows), rows * height - 20, torch.full_like(rows, 10), rows * height], dim=1)
    return box, torch.tensor([[height, 2.0 * height]]).repeat(len(rows), 1)


def test_object_speed_is_the_percentile_of_both_flows():
    flow = torch.randn(7, 2, 2, 20, 30).half()
    length = np.hypot(*flow.float().numpy().transpose(2, 0, 1, 3, 4)).reshape(7, 2, -1)
    expected = np.percentile(length, 90, axis=2).mean(axis=1)
    np.testing.assert_allclose(object_speed(flow).numpy(), expected, rtol=0.01)


def test_scene_unit_follows_the_usual_speed_of_the_row():
    unit = SceneUnit()
    unit.fit(*drawn())
    rows = torch.tensor([0.35, 0.5, 0.65, 0.8, 0.95])
    expected = 0.95 * (0.5 + 6 * rows**2)  # the 95th percentile of a uniform share of the row's top speed
    torch.testing.assert_close(unit(*at_rows(rows)), expected, rtol=0.12, atol=0)


def test_scene_unit_equals_a_table_made_by_hand():
    speed, box, size = drawn()
    unit = SceneUnit()
    unit.fit(speed, box, size)
    row = (box[:, 3] / HEIGHT).numpy()
    edges = np.linspace(row.min(), row.max(), 9)
    inside = [(row >= low) & (row < high) for low, high in zip(edges[:-1], [*edges[1:-1], 2], strict=True)]
    centres = [row[of].mean() for of in inside]
    speeds = [np.percentile(np.maximum(speed.numpy()[of], FLOW_NOISE), 95, method="nearest") for of in inside]
    asked = np.linspace(0, 1.2, 50)
    made = unit(*at_rows(asked)).numpy()
    np.testing.assert_allclose(made, np.interp(asked, centres, speeds), rtol=0.02)
    assert (made[asked < centres[0]] == made[0]).all() and (made[asked > centres[-1]] == made[-1]).all()


def test_bands_with_few_boxes_are_merged():
    unit = SceneUnit(least=50)
    assert unit._merged([60, 10, 10, 40, 70, 0, 5, 5]) == [(0, 1), (1, 4), (4, 8)]
    assert unit._merged([0, 0, 0, 9, 9, 0, 0, 0]) == [(0, 8)]
    assert unit._merged([50] * 8) == [(index, index + 1) for index in range(8)]


def test_one_far_outlier_does_not_make_a_band():
    speed, box, size = drawn(500)
    box[0, 3], speed[0] = 20 * HEIGHT, 1e4
    unit = SceneUnit()
    unit.fit(speed, box, size)
    assert unit(*at_rows([0.5, 0.9, 20.0])).max() < 10


@pytest.mark.parametrize("count", [1, 3])
def test_few_objects_give_one_speed(count):
    speed, box, size = drawn(count)
    unit = SceneUnit()
    unit.fit(speed, box, size)
    torch.testing.assert_close(unit(*at_rows([0.1, 0.5, 0.9])), speed.max().expand(3))


def test_scene_unit_scales_with_the_frame():
    unit = SceneUnit()
    unit.fit(*drawn())
    rows = [0.2, 0.6, 1.0]
    torch.testing.assert_close(unit(*at_rows(rows, 2 * HEIGHT)), 2 * unit(*at_rows(rows)))


@pytest.mark.parametrize("kind", [SceneUnit, BoxUnit])
def test_units_of_still_objects_are_positive(kind):
    _, box, size = drawn(200)
    unit = kind()
    unit.fit(torch.zeros(200), box, size)
    assert (unit(box, size) > 0).all()


@pytest.mark.parametrize("kind", [SceneUnit, BoxUnit])
def test_no_objects_are_refused(kind):
    with pytest.raises(InputError, match="no training objects"):
        kind().fit(torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, 2))


def test_box_unit_is_proportional_to_the_diagonal():
    box = torch.tensor([[0.0, 0, 3, 4], [10, 10, 40, 50]])
    speed = torch.tensor([1.0, 10.0])
    unit = BoxUnit()
    unit.fit(speed, box, torch.full((2, 2), 100.0))
    torch.testing.assert_close(unit(box, torch.full((2, 2), 7.0)), torch.tensor([1.0, 10.0]))


def test_state_carries_the_table():
    unit, other = SceneUnit(), SceneUnit()
    unit.fit(*drawn())
    other.load_state_dict(unit.state_dict())
    asked = at_rows(torch.linspace(0, 1, 9))
    assert torch.equal(unit(*asked), other(*asked))
