import numpy as np
import pytest
import torch
from teacher_objects import HEIGHT, bare, usual_speed

from vadistill.errors import InputError
from vadistill.teachers.motion_units import (
    FLOW_NOISE,
    TOLERANCE,
    BoxUnit,
    PixelUnit,
    SceneTable,
    SceneUnit,
    make_unit,
    object_speed,
)


def drawn(count=4000, seed=0, scenes=1):
    """Speeds and objects; a scene's speeds are those of the first times its number."""
    rng = torch.Generator().manual_seed(seed)
    objects = bare(count, rng)
    objects["scene"] = torch.arange(count) % scenes
    return usual_speed(objects) * torch.rand(count, generator=rng) * (objects["scene"] + 1), objects


def at_rows(rows, height=HEIGHT, scene=0):
    rows = torch.as_tensor(rows, dtype=torch.float32)
    box = torch.stack([torch.zeros_like(rows), rows * height - 20, torch.full_like(rows, 10), rows * height], dim=1)
    size = torch.tensor([[height, 2.0 * height]]).repeat(len(rows), 1)
    return {"box": box, "size": size, "scene": torch.full((len(rows),), scene)}


def fitted(*given, scenes=1):
    unit = SceneUnit(scenes)
    unit.fit(*(given or drawn(scenes=scenes)))
    return unit


def test_object_speed_is_the_percentile_of_both_flows():
    flow = torch.randn(7, 2, 2, 20, 30).half()
    length = np.hypot(*flow.float().numpy().transpose(2, 0, 1, 3, 4)).reshape(7, 2, -1)
    expected = np.percentile(length, 90, axis=2).mean(axis=1)
    np.testing.assert_allclose(object_speed(flow).numpy(), expected, rtol=0.01)


def test_scene_unit_follows_the_usual_speed_of_the_row():
    rows = torch.tensor([0.35, 0.5, 0.65, 0.8, 0.95])
    expected = 0.95 * (0.5 + 6 * rows**2)  # the 95th percentile of a uniform share of the row's top speed
    torch.testing.assert_close(fitted()(at_rows(rows)), expected, rtol=0.12, atol=0)


def test_scene_unit_equals_a_table_made_by_hand():
    speed, objects = drawn()
    row = (objects["box"][:, 3] / HEIGHT).numpy()
    edges = np.linspace(row.min(), row.max(), 9)
    inside = [(row >= low) & (row < high) for low, high in zip(edges[:-1], [*edges[1:-1], 2], strict=True)]
    centres = [row[of].mean() for of in inside]
    speeds = [np.percentile(np.maximum(speed.numpy()[of], FLOW_NOISE), 95, method="nearest") for of in inside]
    asked = np.linspace(0, 1.2, 50)
    made = fitted(speed, objects)(at_rows(asked)).numpy()
    np.testing.assert_allclose(made, np.interp(asked, centres, speeds), rtol=0.02)
    assert (made[asked < centres[0]] == made[0]).all() and (made[asked > centres[-1]] == made[-1]).all()


def test_one_far_outlier_does_not_make_a_band():
    speed, objects = drawn(500)
    objects["box"][0, 3], speed[0] = 20 * HEIGHT, 1e4
    assert fitted(speed, objects)(at_rows([0.5, 0.9, 20.0])).max() < 10


@pytest.mark.parametrize("count", [1, 3])
def test_few_objects_give_one_speed(count):
    speed, objects = drawn(count)
    torch.testing.assert_close(fitted(speed, objects)(at_rows([0.1, 0.5, 0.9])), speed.max().expand(3))


def test_scene_unit_scales_with_the_frame():
    unit, rows = fitted(), [0.2, 0.6, 1.0]
    torch.testing.assert_close(unit(at_rows(rows, 2 * HEIGHT)), 2 * unit(at_rows(rows)))


def test_scenes_have_units_of_their_own_and_unknown_ones_that_of_all():
    speed, objects = drawn(scenes=2)
    unit, rows = fitted(speed, objects, scenes=2), [0.4, 0.6, 0.8, 1.0]
    for scene in (0, 1):
        of = objects["scene"] == scene
        alone = fitted(
            speed[of], {key: value[of] for key, value in objects.items()} | {"scene": torch.zeros(2000).long()}
        )
        torch.testing.assert_close(unit(at_rows(rows, scene=scene)), alone(at_rows(rows)))
    overall = fitted(speed, {**objects, "scene": torch.zeros(4000).long()})
    torch.testing.assert_close(unit(at_rows(rows, scene=2)), overall(at_rows(rows)))
    assert (unit(at_rows(rows, scene=0)) < unit(at_rows(rows, scene=2))).all()


def test_objects_where_none_stood_in_training_are_outside():
    speed, objects = drawn(scenes=2)
    row = objects["box"][:, 3] / HEIGHT
    kept = (objects["scene"] == 0) | (row > 0.6)
    unit = fitted(speed[kept], {key: value[kept] for key, value in objects.items()}, scenes=3)
    low = row[objects["scene"] == 0].min().item()
    asked = [low - 2 * TOLERANCE, low - 0.5 * TOLERANCE, 0.5, 1.0, 1.0 + 2 * TOLERANCE]
    assert unit.unseen_place(at_rows(asked)).tolist() == [True, False, False, False, True]
    assert unit.unseen_place(at_rows(asked, scene=1)).tolist() == [True, True, True, False, True]
    for scene in (2, 3):  # without training objects, unknown
        assert unit.unseen_place(at_rows(asked, scene=scene)).all()


def test_table_of_several_statistics():
    _, objects = drawn()
    value = torch.stack([objects["box"][:, 3], torch.ones(4000)], dim=1)
    table = SceneTable(1, 3)
    table.fit(value, objects, lambda part: np.array([part[:, 0].mean(), part[:, 0].max(), part[:, 1].sum()]))
    mean, highest, count = table(at_rows(table.rows[0])).unbind(1)
    torch.testing.assert_close(mean, table.rows[0] * HEIGHT)
    assert (highest > mean).all() and count.sum() == 4000


@pytest.mark.parametrize("normalise", ["box", "scene", "pixels"])
def test_units_of_still_objects_are_positive(normalise):
    _, objects = drawn(200)
    unit = make_unit(normalise, 1)
    unit.fit(torch.zeros(200), objects)
    assert unit(objects).shape == (200,) and (unit(objects) > 0).all()


def test_flow_of_still_objects_is_taken_for_noise():
    """Else what moves by a hair where all stand still would be infinitely fast."""
    _, objects = drawn(200)
    torch.testing.assert_close(fitted(torch.zeros(200), objects)(objects), torch.full((200,), FLOW_NOISE))


@pytest.mark.parametrize("normalise", ["box", "scene"])
def test_no_objects_are_refused(normalise):
    speed, objects = drawn(0)
    with pytest.raises(InputError, match="no training objects"):
        make_unit(normalise, 1).fit(speed, objects)


def test_box_unit_is_proportional_to_the_diagonal():
    unit = BoxUnit()
    unit.fit(torch.tensor([1.0, 10.0]), batch := {"box": torch.tensor([[0.0, 0, 3, 4], [10, 10, 40, 50]])})
    torch.testing.assert_close(unit(batch), torch.tensor([1.0, 10.0]))


def test_pixel_unit_is_the_same_everywhere():
    assert (PixelUnit()(at_rows([0.1, 0.9])) == 20).all()


def test_state_carries_tables_and_range():
    unit, other = fitted(scenes=2), SceneUnit(2)
    other.load_state_dict(unit.state_dict())
    for scene in range(3):
        asked = at_rows(torch.linspace(0, 1.5, 9), scene=scene)
        assert torch.equal(unit(asked), other(asked))
        assert torch.equal(unit.unseen_place(asked), other.unseen_place(asked))
