"""Which stages a result comes from, as the settings say it, is what Snakemake plans."""

import pytest
from conftest import copy_project

from vadistill.settings.stages import CELL_PRODUCTS, PRODUCTS

pytestmark = pytest.mark.workflow
PLACES = {
    "frames": "frames/train/train_01.h5",
    "detections": "detections/train/{shard}.h5",
    "moving": "moving/train/{shard}.h5",
    "motion": "motion/train/{shard}.h5",
    "object_flow": "object_flow/train/{shard}.h5",
    "model": "teachers/multi_task/model.pt",
    "scores": "object_scores/multi_task/train/{shard}.h5",
    "calibration": "teachers/multi_task/calibration.json",
    "maps": "maps/multi_task/train/{shard}.h5",
    "flow_by_row": "trivial/flow_by_row.json",
    "trivial": "trivial/train/{shard}.h5",
    "pretrained": "student/pretrained.pt",
    "trained": "sdmae/trained.pt",
}
STAGES = {"generate_train_clip": "generate_demo"}


@pytest.fixture(scope="module")
def project(tmp_path_factory, forks):
    return copy_project(tmp_path_factory.mktemp("products") / "project", forks)


def test_every_product_is_asked_for():
    assert PLACES.keys() == PRODUCTS.keys()


@pytest.mark.parametrize(
    ("place", "stages"),
    [(PLACES[product], stages) for product, stages in PRODUCTS.items()]
    + [(PLACES[product].replace("multi_task", "flow_cells"), stages) for product, stages in CELL_PRODUCTS.items()],
)
def test_the_stages_of_a_product(place, stages, project):
    target = f"results/tiny/{place.format(shard=0)}"
    rules = project.planned(target, config=[project.changed("datasets: {tiny: {shards: 1}}")])
    assert {STAGES.get(rule, rule) for rule in rules} == set(stages)
