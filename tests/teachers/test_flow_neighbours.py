from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from teacher_objects import CLASSES, HEIGHT, part, walkers

from vadistill.errors import InputError
from vadistill.settings import FlowNeighboursConfig
from vadistill.teachers.flow_neighbours import LEAST_DEVIATION, direction_histogram
from vadistill.teachers.registry import build

SMALL = FlowNeighboursConfig(max_objects=600)


def objects_of(count, seed, scenes=1, **options):
    """Walkers whose boxes differ in size, the higher ones further down."""
    objects = walkers(count, seed, **options)
    rng = torch.Generator().manual_seed(1000 + seed)  # other draws than those of the places
    box = objects["box"]
    box[:, 1] = box[:, 3] - (8 + 0.2 * box[:, 3]) * (0.8 + 0.4 * torch.rand(count, generator=rng))
    box[:, 2] = box[:, 0] + 6 + 6 * torch.rand(count, generator=rng)
    return {**objects, "scene": torch.arange(count) % scenes}


def prepared(objects, settings=SMALL, scenes=1):
    teacher = build("flow_neighbours", settings, CLASSES, scenes)
    teacher.prepare(objects)
    return teacher


def test_histogram_is_that_made_by_hand():
    flow = torch.tensor([[3.0, 0], [0, 2], [-1, 0], [0, -4], [1, 1], [2, -0.1], [0, 0], [-1, -1]]).T.reshape(
        1, 1, 2, 2, 4
    )
    root = 2**0.5
    expected = torch.tensor([3 + np.hypot(2, 0.1), root, 2, 0, 1, root, 4, 0]) / 8
    torch.testing.assert_close(direction_histogram(flow, 8)[0, 0], expected.float())


@pytest.mark.parametrize("bins", [2, 5, 8])
def test_histogram_against_numpy(bins):
    flow = torch.randn(4, 2, 2, 9, 7)
    x, y = flow.numpy().transpose(2, 0, 1, 3, 4).reshape(2, 8, 63)
    turn = (np.arctan2(y, x) / (2 * np.pi) + 0.5 / bins) % 1
    expected = [np.histogram(t, bins, (0, 1), weights=w)[0] / 63 for t, w in zip(turn, np.hypot(x, y), strict=True)]
    np.testing.assert_allclose(direction_histogram(flow, bins).reshape(8, bins), expected, rtol=1e-4, atol=1e-6)


def test_features_are_flow_in_usual_speeds_and_standardised_sizes():
    objects = objects_of(500, 0)
    teacher = prepared(objects)
    features = teacher.features(objects)
    unit = teacher.unit(objects)[:, None, None, None, None]
    expected = direction_histogram(objects["flow"].float() / unit, 8).flatten(1)
    torch.testing.assert_close(features[:, :16], expected)
    size = features[:, 16:]
    torch.testing.assert_close(size.mean(0), torch.zeros(2), atol=0.1, rtol=0)
    torch.testing.assert_close(size.std(0), torch.ones(2), atol=0.1, rtol=0)
    box = objects["box"]
    sides = torch.stack([box[:, 3] - box[:, 1], box[:, 2] - box[:, 0]], dim=1).log()
    near = (objects["box"][:, 3] / HEIGHT - 0.7).abs() < 0.03
    for column in (0, 1):
        assert np.corrcoef(size[near, column], sides[near, column])[0, 1] > 0.95
    assert abs(np.corrcoef(size[:, 0], box[:, 3])[0, 1]) < 0.2 < np.corrcoef(sides[:, 0], box[:, 3])[0, 1]


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_sizes_have_their_weight_against_motion(weight):
    objects = objects_of(200, 0)
    plain, weighted = (prepared(objects, replace(SMALL, size_weight=w)).features(objects) for w in (1.0, weight))
    torch.testing.assert_close(weighted, torch.cat([plain[:, :16], weight * plain[:, 16:]], 1))


def test_features_do_not_depend_on_the_frame_size():
    objects = objects_of(200, 0)
    double = {**objects, "box": 2 * objects["box"], "size": 2 * objects["size"], "flow": 2 * objects["flow"]}
    teacher = prepared(objects)
    torch.testing.assert_close(teacher.features(double), teacher.features(objects), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("neighbours", [1, 5])
def test_distance_is_the_mean_to_the_nearest_neighbours(neighbours):
    normal, asked = objects_of(400, 0), objects_of(1100, 1)
    teacher = prepared(normal, replace(SMALL, neighbours=neighbours))
    search = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(teacher.features(normal).double())
    expected = search.kneighbors(teacher.features(asked).double())[0].mean(1, keepdims=True)
    scores = teacher.score(asked)
    assert scores.shape == (1100, 1)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_fewer_normal_objects_than_neighbours():
    normal = objects_of(3, 0)
    teacher = prepared(normal)
    asked = objects_of(20, 1)
    expected = (teacher.features(asked)[:, None] - teacher.features(normal)).norm(dim=2).mean(1)
    torch.testing.assert_close(teacher.score(asked)[:, 0], expected)


def test_an_object_is_not_its_own_neighbour():
    normal = objects_of(60, 0)
    teacher = prepared(normal, replace(SMALL, neighbours=5))
    features = teacher.features(normal).double()
    search = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(features)
    expected = search.kneighbors(features)[0][:, 1:].mean(1, keepdims=True)
    np.testing.assert_allclose(teacher.score(normal), expected, rtol=1e-4, atol=1e-5)
    assert prepared(objects_of(1, 0)).score(objects_of(1, 0)).item() == 0


def test_twins_of_an_object_are_its_neighbours():
    normal = objects_of(60, 0)
    twins = {name: values[:1].repeat(7, *[1] * (values.ndim - 1)) for name, values in normal.items()}
    many = {name: torch.cat([values, twins[name]]) for name, values in normal.items()}
    assert prepared(many, replace(SMALL, neighbours=5)).score(twins).max() < 1e-4


def test_abnormal_motion_and_size_are_further_away():
    teacher = prepared(objects_of(500, 0))
    usual, fast = objects_of(200, 1), objects_of(200, 2, speed=3.0)
    upward = {**usual, "flow": usual["flow"].flip(2)}
    large = {**usual, "box": usual["box"].clone()}
    large["box"][:, 1] -= 25
    for abnormal in (fast, upward, large):
        assert (teacher.score(abnormal)[:, None] > teacher.score(usual)).float().mean() > 0.9


def test_all_objects_are_kept_in_their_order():
    objects = objects_of(1100, 0)
    teacher = prepared(objects, replace(SMALL, max_objects=1200))
    assert teacher.count == 1100
    torch.testing.assert_close(teacher.normal[:1100], teacher.features(objects))


def test_too_many_objects_are_thinned_out_evenly():
    objects = objects_of(500, 0)
    teacher = prepared(objects, replace(SMALL, max_objects=200))
    assert teacher.count == 167
    torch.testing.assert_close(teacher.normal[:167], teacher.features(part(objects, slice(None, None, 3))))


def test_scenes_have_units_of_their_own():
    objects = objects_of(600, 0, scenes=2)
    second = objects["scene"] == 1
    objects["flow"][second] *= 4
    teacher = prepared(objects, scenes=2)
    asked = objects_of(100, 1)
    fast = {**asked, "flow": 4 * asked["flow"]}
    there = {**fast, "scene": torch.ones(100).long()}
    unknown = {**fast, "scene": torch.full((100,), 2)}
    assert teacher.score(there).median() < 0.5 * teacher.score(fast).median()
    assert teacher.score(unknown).isfinite().all()
    assert not torch.equal(teacher.score(unknown), teacher.score(there))
    assert teacher.unseen_place(unknown).all() and not teacher.unseen_place(there).any()


def test_equal_boxes_leave_finite_features():
    objects = objects_of(100, 0)
    objects["box"][:] = torch.tensor([10.0, 20, 20, 60])
    larger = {**objects, "box": torch.tensor([10.0, 18, 20, 60]).repeat(100, 1)}
    features = prepared(objects).features(larger)
    torch.testing.assert_close(
        features[:, 16], torch.full((100,), np.log(42 / 40) / LEAST_DEVIATION), rtol=1e-3, atol=0
    )


def test_state_loads_into_a_new_teacher():
    teacher = prepared(objects_of(50, 0, scenes=3), scenes=3)
    other = build("flow_neighbours", SMALL, CLASSES, 3)
    other.load_state_dict(teacher.state_dict())
    asked = objects_of(20, 1, scenes=4)
    assert torch.equal(other.score(asked), teacher.score(asked))


def test_there_is_nothing_to_train_and_one_term():
    teacher = build("flow_neighbours", replace(SMALL, step=2, border="repeat"), CLASSES)
    assert teacher.phases() == [] and not list(teacher.parameters())
    assert teacher.terms == teacher.score_terms == ("distance",) and teacher.probabilities == ()
    request = teacher.training_crops()
    assert request == teacher.scoring_crops() and request.flow == (-2, 2) and request.border == "repeat"


def test_no_objects_are_refused():
    with pytest.raises(InputError, match="no training objects"):
        prepared(part(objects_of(3, 0), slice(0, 0)))
