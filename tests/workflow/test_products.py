"""Which stages a result comes from, as the settings say it, is what Snakemake plans."""

import pytest
from conftest import copy_project

from vadistill.settings.stages import PRODUCTS

pytestmark = pytest.mark.workflow
PLACES = {
    "frames": "frames/train/train_01.h5",
    "detections": "detections/train/{shard}.h5",
    "moving": "moving/train/{shard}.h5",
    "motion": "motion/train/{shard}.h5",
    "model": "teachers/multi_task/model.pt",
    "scores": "object_scores/multi_task/train/{shard}.h5",
    "calibration": "teachers/multi_task/calibration.json",
    "maps": "maps/multi_task/train/{shard}.h5",
    "trivial": "trivial/train/{shard}.h5",
    "pretrained": "student/pretrained.pt",
}
STAGES = {"generate_train_clip": "generate_demo"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("products") / "project")


def test_every_product_is_asked_for():
    assert PLACES.keys() == PRODUCTS.keys()


@pytest.mark.parametrize("product", PLACES)
def test_the_stages_of_a_product(product, project):
    shard = 0 if "{shard}" in PLACES[product] else ""
    target = f"results/tiny/{PLACES[product].format(shard=shard)}"
    rules = project.planned(target, config=[project.changed("datasets: {tiny: {shards: 1}}")])
    assert {STAGES.get(rule, rule) for rule in rules} == set(PRODUCTS[product])
