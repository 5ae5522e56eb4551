import json

import numpy as np
import pytest
import torch

from vadistill.evaluation.health import complaints_of_maps, complaints_of_training
from vadistill.io.provenance import data_fingerprint, provenance
from vadistill.student.losses import map_statistics
from vadistill.training.meters import Averages


def judged(accuracy, real, fake):
    values = {"accuracy": accuracy, "real": real, "fake": fake}
    return {f"discriminator_{name}_multi_task": value for name, value in values.items()}


def test_dead_maps_of_a_student_are_reported():
    target = {"multi_task": {4: torch.full((2, 1, 4, 4), 0.5)}}
    dead = {name: float(value) for name, value in map_statistics({4: torch.zeros(2, 1, 4, 4)}, target).items()}
    assert complaints_of_training(dead) == [
        "the student's 4x4 maps are dead: below 0.01 in 100% of the cells with an object"
    ]
    alive = map_statistics({4: torch.full((2, 1, 4, 4), 0.02)}, target)
    assert complaints_of_training({name: float(value) for name, value in alive.items()}) == []


def test_batches_without_objects_make_no_dead_map_alive():
    averages, target = Averages(), {"multi_task": {4: torch.full((2, 1, 4, 4), 0.5)}}
    averages.add(map_statistics({4: torch.zeros(2, 1, 4, 4)}, target), 2)
    for _ in range(9):
        averages.add(map_statistics({4: torch.ones(2, 1, 4, 4)}, {"multi_task": {4: torch.zeros(2, 1, 4, 4)}}), 2)
    assert len(complaints_of_training(averages.means())) == 1
    assert complaints_of_training({"object_cells_4x4": 0.0, "dead_cells_4x4": 0.0}) == []


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        (
            judged(0.5, 0.482, 0.481),
            ["the discriminator of multi_task has collapsed: it judges real and made maps alike"],
        ),
        (
            judged(1.0, 0.999, 0.001),
            ["the discriminator of multi_task is always right: the student learns nothing from it"],
        ),
        (judged(0.52, 0.9, 0.4), []),
        (judged(0.77, 0.59, 0.47), []),
    ],
)
def test_a_collapsed_discriminator_is_reported(metrics, told):
    assert complaints_of_training(metrics) == told


def test_dead_and_constant_maps_of_the_test_clips_are_reported():
    rng = np.random.default_rng(0)
    maxima = {1: {"a": np.zeros(5), "b": np.full(3, 0.009)}, 4: {"a": np.full(5, 0.3), "b": np.full(3, 0.3)},
              16: {"a": rng.random(5), "b": np.zeros(3)}}  # fmt: skip
    assert complaints_of_maps("student", maxima) == [
        "the 1x1 maps of student are dead: below 0.01 in all of 8 frames",
        "the 4x4 maps of student have the same maximum in all of 8 frames",
    ]


def test_the_fingerprint_of_data_knows_names_and_content_and_not_their_order():
    first = data_fingerprint({"a": "1", "b": "2"})
    assert first == data_fingerprint({"b": "2", "a": "1"})
    assert len({first, data_fingerprint({"a": "2", "b": "1"}), data_fingerprint({"a": "1"}), data_fingerprint({})}) == 4
    assert data_fingerprint({"a": "1", "b": None}) is None, "a file of before the fingerprint was kept"


def test_provenance_can_be_written():
    made = provenance(
        {"detection": {"weights": "w.pt"}, "distillation": {"seed": 3}}, {"weights_sha256": "0"}, {"a": "b"}
    )
    assert made["seeds"] == {"distillation": 3} and made["data"] == {"a": "b"} and made["packages"]["torch"]
    json.dumps(made)
