import copy
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import yaml

from vadistill.errors import InputError
from vadistill.report.ablation import ablation_plot
from vadistill.settings import SdmaeConfig
from vadistill.settings.ablation import (
    SDMAE_VARIANTS,
    ablation_runs,
    configured_variant,
    judge_runs,
    sdmae_ablation_runs,
)
from vadistill.settings.check import check
from vadistill.settings.stages import dataset_section, shared_from

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
PAIR = ["background_agnostic", "multi_task"]


def expanded(dataset="demo", **sections):
    config = copy.deepcopy(CONFIG)
    for name, values in sections.items():
        config["datasets"][dataset].setdefault(name, {}).update(values)
    check(config)
    runs = ablation_runs(config, dataset)
    config["datasets"] |= {name: entry for name, (_, entry) in runs.items()}
    return config, runs


def test_every_variant_has_every_seed_and_changes_one_thing():
    config, runs = expanded(ablation={"seeds": [4, 5], "epochs": 2}, distillation={"adversarial_weight": 0.05})
    variants = [variant for variant, _ in runs.values()]
    assert set(variants) == {
        *("standard", "standard_pretrained", "adversarial", "adversarial_pretrained"),
        *("both_teachers", "only_background_agnostic", "only_multi_task", "only_flow_neighbours"),
        *("maps_1", "maps_1_4", "maps_16", "frames_1", "frames_5"),
    }
    assert all(variants.count(variant) == 2 for variant in variants)
    made = {
        name: [dataset_section(config, name, part) for part in ("student", "pretraining", "distillation", "maps")]
        for name in ("demo", *runs)
    }
    student, pretraining, distillation, maps = made["demo.ablation.standard_pretrained.5"]
    assert (distillation.adversarial_weight, distillation.pretrained, distillation.seed) == (0.0, True, 5)
    assert distillation.epochs == pretraining.epochs == 2 and (student, maps) == (made["demo"][0], made["demo"][3])
    assert configured_variant(config, "demo") == "adversarial"
    assert made["demo.ablation.adversarial.4"][2].adversarial_weight == 0.05
    assert made["demo.ablation.both_teachers.4"][2].teachers == tuple(PAIR)
    assert made["demo.ablation.only_multi_task.4"][2].teachers == ("multi_task",)
    assert made["demo.ablation.maps_1_4.4"][3].resolutions == (1, 4)
    flowing, _ = expanded(student={"flow": "fast"})
    kept = {count: dataset_section(flowing, f"demo.ablation.frames_{count}.0", "student").flow for count in (1, 5)}
    assert kept == {1: "none", 5: "fast"}, "one frame alone has no flow"
    assert made["demo.ablation.frames_5.4"][0].frames == 5 and made["demo.ablation.frames_5.4"][3] == made["demo"][3]


@pytest.mark.parametrize("weight", [0.0, 0.1])
@pytest.mark.parametrize("pretrained", [True, False])
def test_the_configured_variant_changes_nothing_but_epochs_and_seeds(weight, pretrained):
    config, runs = expanded(distillation={"adversarial_weight": weight, "pretrained": pretrained})
    name = f"demo.ablation.{configured_variant(config, 'demo')}.0"
    own, made = (dataset_section(config, dataset, "distillation") for dataset in ("demo", name))
    assert runs[name][0] == configured_variant(config, "demo")
    assert (made.adversarial_weight, made.pretrained) == (own.adversarial_weight, own.pretrained)


def test_what_is_the_same_twice_is_run_once():
    _, runs = expanded("avenue", distillation={"teachers": PAIR})
    variants = [variant for variant, _ in runs.values()]
    assert "both_teachers" not in variants and "only_flow_neighbours" not in variants
    _, runs = expanded(maps={"resolutions": [16]}, distillation={"adversarial_weight": 0.0})
    variants = [variant for variant, _ in runs.values()]
    assert not any(variant.startswith("maps") for variant in variants) and "adversarial" in variants


def test_all_runs_share_what_lies_before_the_student():
    config, runs = expanded(ablation={"epochs": 2})
    for name, (variant, _) in runs.items():
        for product in ("frames", "detections", "scores", "calibration"):
            assert shared_from(config, name, product, "train", "multi_task") == "demo"
        maps = shared_from(config, name, "maps", "train", "multi_task")
        assert maps == (f"demo.ablation.{variant}.0" if variant.startswith("maps") else "demo")
        # One pre-training for all students of one network, however many seeds and variants there are.
        network = f"demo.ablation.{variant}.0" if variant.startswith("frames") else "demo.ablation.standard.0"
        assert shared_from(config, name, "pretrained") == network


def test_sdmae_has_every_variant_with_every_seed_and_nothing_else_changes():
    config, _ = expanded(ablation={"seeds": [4, 5], "epochs": 2})
    runs = sdmae_ablation_runs(config, "demo")
    config["datasets"] |= {name: entry for name, (_, entry) in runs.items()}
    assert [variant for variant, _ in runs.values()] == [variant for variant in SDMAE_VARIANTS for _ in range(2)]
    own = asdict(dataset_section(config, "demo", "sdmae")) | {"epochs": 2, "second_epochs": 2, "seed": 5}
    for variant, changes in SDMAE_VARIANTS.items():
        made = asdict(dataset_section(config, f"demo.ablation.sdmae_{variant}.5", "sdmae"))
        assert made == own | changes
        assert shared_from(config, f"demo.ablation.sdmae_{variant}.5", "trivial", "test") == "demo"


def test_the_ablation_of_sdmae_begins_with_the_papers_form_whatever_is_configured():
    paper, default = SDMAE_VARIANTS["paper"], asdict(SdmaeConfig())
    assert paper == {name: default[name] for name in paper}
    assert all(changes.keys() == paper.keys() for changes in SDMAE_VARIANTS.values())


def test_the_judge_leaves_out_each_kind_once_and_shares_all_targets():
    config = copy.deepcopy(CONFIG)
    demo = config["datasets"]["demo"]
    demo["ablation"] = {"seeds": [4, 5], "epochs": 2, "judged": ["flowing", "frames_1"]}
    demo |= {"synthetic": {"kinds": ["fast", "hurried", "pasted"]}, "validation": {"kinds": ["pasted", "fast"]}}
    changed = {"student": {"flow": "fast"}, "distillation": {"epochs": 7}, "validation": {"seed": 9}}
    config["datasets"]["flowing"] = {"variant_of": "demo", **changed}
    check(config)
    runs = judge_runs(config, "demo")
    config["datasets"] |= {name: entry for name, (_, entry) in runs.items()}
    names = [f"{v}.{k}" for v in ("adversarial", "flowing", "frames_1") for k in ("fast", "pasted") for _ in range(2)]
    assert [group for group, _ in runs.values()] == names
    for name, (group, _) in runs.items():
        variant, kind = group.split(".")
        own = dataset_section(config, name, "distillation")
        assert (own.unseen_kinds, own.epochs, own.seed) == ((kind,), 2, int(name[-1]))
        assert (dataset_section(config, name, "student").flow == "fast") == (variant == "flowing")
        for product, split in (("frames", "synthetic"), ("frames", "validation"), ("maps", "synthetic")):
            assert shared_from(config, name, product, split, "multi_task") == "demo"
    assert shared_from(config, "demo.judge.frames_1.pasted.5", "pretrained") == "demo.judge.frames_1.fast.4"


def test_students_that_judge_by_other_kinds_see_none_of_these():
    """Neither by what a variant learns from nor by what it is selected by."""
    config = copy.deepcopy(CONFIG)
    config["datasets"]["demo"] |= {
        "ablation": {"seeds": [0], "judged": ["vehicles"]},
        "validation": {"kinds": ["pasted", "cycling", "driving"]},
    }
    config["datasets"]["vehicles"] = {"variant_of": "demo", "synthetic": {"kinds": ["pasted", "cycling"]}}
    check(config)
    runs = judge_runs(config, "demo")
    config["datasets"] |= {name: entry for name, (_, entry) in runs.items()}
    unseen = {name.split(".", 2)[2]: dataset_section(config, name, "distillation").unseen_kinds for name in runs}
    assert unseen == {
        f"{variant}.{name}.0": kinds
        for variant in ("adversarial", "vehicles")
        for name, kinds in (("pasted", ("pasted",)), ("others", ("cycling", "driving")))
    }


def test_what_is_judged_is_a_known_variant():
    with pytest.raises(InputError, match=r"datasets\.demo\.ablation\.judged has 'gray'; expected .*frames_1"):
        expanded(ablation={"judged": ["gray"]})


def test_plot(tmp_path):
    rows = [(v, s, 0.8, 0.02, 0.7, 0.01) for v in ("standard", "adversarial") for s in ("validation", "test")]
    columns = ["variant", "split", "micro_auc", "micro_auc_std", "macro_auc", "macro_auc_std"]
    table = pd.DataFrame(rows, columns=columns).assign(configured=False)
    ablation_plot(tmp_path / "two.png", table)
    ablation_plot(tmp_path / "one.png", table.assign(micro_auc_std=float("nan")).query("split == 'test'"))
    assert (tmp_path / "two.png").stat().st_size > (tmp_path / "one.png").stat().st_size > 5000


@pytest.mark.parametrize("seeds", [[], [1, 1], ["a"]])
def test_bad_seeds(seeds):
    with pytest.raises(InputError, match="ablation"):
        expanded(ablation={"seeds": seeds})
