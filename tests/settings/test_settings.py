import copy
import json
import shutil
from dataclasses import asdict, fields, replace
from pathlib import Path

import jsonschema
import pytest
import torch
import yaml
from students import detector_of

from vadistill.benchmark.costs import cost_of
from vadistill.errors import InputError
from vadistill.settings import SECTIONS, TEACHERS, StudentConfig, documents, score_keys, section, told
from vadistill.settings.check import check
from vadistill.settings.schema import schema
from vadistill.settings.stages import PRODUCTS, STAGES, all_settings, dataset_section, shared_from, stage_settings
from vadistill.student.network import Student
from vadistill.teachers.registry import build, build_of_cells, teacher_class

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


def test_what_is_written_from_the_settings_is_up_to_date(tmp_path):
    """After a change of a setting: make settings."""
    written = ("config.yaml", "workflow/schemas/config.schema.json", "docs/settings.md")
    for name in written:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    documents.main(tmp_path)
    for name in written:
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


def test_the_block_of_defaults_holds_every_default():
    block = yaml.safe_load(documents.defaults())
    assert block.pop("shards") == CONFIG["shards"] == 16 and block.pop("gpus") == CONFIG["gpus"] == 1
    expected = {name: json.loads(json.dumps(asdict(kind()))) for name, kind in SECTIONS.items() if name != "demo"}
    assert block == expected and block.items() <= CONFIG.items()


def test_schema_is_a_schema_and_accepts_the_config():
    jsonschema.Draft202012Validator.check_schema(schema())
    check(CONFIG)


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "demo"])
def test_config_lists_every_setting_with_its_default(name):
    assert section(name, CONFIG[name]) == SECTIONS[name]()
    assert list(CONFIG[name]) == [entry.name for entry in fields(SECTIONS[name])]


def test_presets_fit_the_schema():
    datasets = dict(CONFIG["datasets"])
    for name in ("two_cores", "gpu_day", "starter", "teacher_study", "student_study", "speed_study"):
        more = yaml.safe_load((ROOT / f"workflow/presets/{name}.yaml").read_text())["datasets"]
        assert not datasets.keys() & more.keys(), "two presets would make one variant of two"
        datasets |= more
        config = {**CONFIG, "datasets": datasets}
        check(config)
        known = {*more, *(entry["variant_of"] for entry in more.values() if "variant_of" in entry)}
        found = {variant: all_settings(config, variant, student=name != "teacher_study") for variant in known}
        assert len(set(found.values())) == len(found), f"{name}: variants that differ in nothing"
    presets = {path.stem for path in (ROOT / "workflow/presets").iterdir()}
    studies = {"teacher_study", "student_study", "speed_study"}
    assert presets == {"two_cores", "gpu_day", "paper", "fast", "flow", "starter", *studies}


def test_the_flow_preset_is_the_official_layout_with_flow_and_surprise_of_motion():
    preset = yaml.safe_load((ROOT / "workflow/presets/flow.yaml").read_text())["datasets"]
    for name, more in preset.items():
        entry = CONFIG["datasets"][name]
        merged = {**entry, **{part: {**entry.get(part, {}), **keys} for part, keys in more.items()}}
        config = {**CONFIG, "datasets": {**CONFIG["datasets"], name: merged}}
        check(config)
        network, official = (dataset_section(of, name, "student") for of in (config, CONFIG))
        assert network == replace(official, flow="medium")
        assert dataset_section(config, name, "surprise").weights(network)["motion"] == 1.0
        assert "motion" not in dataset_section(config, name, "surprise").weights(official)


def test_the_paper_preset_is_the_papers_student():
    config = {**CONFIG, **yaml.safe_load((ROOT / "workflow/presets/paper.yaml").read_text())}
    with torch.device("meta"):
        student = Student(dataset_section(config, "avenue", "student"), (1, 4, 16))
    assert sum(parameter.numel() for parameter in student.parameters()) == 4_997_747
    pretraining, distillation = (dataset_section(config, "avenue", name) for name in ("pretraining", "distillation"))
    for stage, rate in ((pretraining, 1e-3), (distillation, 1e-4)):
        assert (stage.epochs, stage.batch, stage.learning_rate, stage.weight_decay) == (35, 48, rate, 5e-6)
        assert (stage.decay_every, stage.decay, stage.frame_stride, stage.precision) == (10, 0.5, 1, "float32")
    assert distillation.teachers == ("background_agnostic", "multi_task") and distillation.adversarial_weight == 0.1
    assert (distillation.schedule, distillation.selection, distillation.pretrained) == ("step", "last", True)
    off = ("synthetic", "object_weight", "average")
    assert not any(getattr(distillation, name) for name in off)


def test_the_fast_preset_costs_less_than_half_and_is_the_one_that_was_studied():
    presets = [yaml.safe_load((ROOT / f"workflow/presets/{name}.yaml").read_text()) for name in ("fast", "speed_study")]
    config = {**CONFIG, **presets[0]}
    fast, official = (dataset_section(config, "avenue", "student"), StudentConfig())
    assert (fast.height, fast.width) == (official.height, official.width) == (360, 640)
    assert cost_of(detector_of(fast)).products < 0.5 * cost_of(detector_of(official)).products
    studied = {**CONFIG, "datasets": {**CONFIG["datasets"], **presets[1]["datasets"]}}
    for name, expected in (("demo_fast", fast), ("demo_official", official)):
        made = dataset_section(studied, name, "student")
        assert replace(made, height=360, width=640) == expected


def test_every_teacher_is_found_by_its_name():
    assert {name: teacher_class(name).name for name in TEACHERS} == {name: name for name in TEACHERS}
    assert TEACHERS.keys() <= SECTIONS.keys()


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("student", "hieght"), 360, "unknown key 'hieght' in student"),
        (("studnet",), {}, "unknown key 'studnet' in the top level"),
        (("datasets", "avenue", "student"), {"heads": 5, "hight": 3}, "unknown key 'hight' in datasets.avenue.student"),
        (("pretraining", "learning_rate"), "1e-4", "pretraining.learning_rate is the text '1e-4', expected a number"),
        (("student", "height"), 3.5, "student.height"),
        (("student", "height"), "360", "student.height is the text '360'"),
        (("frames", "quality"), 101, "frames.quality"),
        (("frames", "encoding"), "gif", "frames.encoding"),
        (("datasets", "avenue"), {"layout": "avenu", "path": "x"}, "datasets.avenue.layout"),
        (("datasets", "avenue"), {"layout": "avenue"}, "datasets.avenue has no path"),
        (("datasets", "avenue"), {"path": "x"}, "datasets.avenue has no layout; expected one, or variant_of"),
        (("datasets", "avenue"), {"variant_of": "nowhere"}, "datasets.avenue.variant_of is 'nowhere'"),
        (("datasets", "avenue"), {"variant_of": "demo", "path": "x"}, "takes its path from it"),
        (("calibration", "terms"), ["multi_task"], "calibration.terms"),
        (("calibration", "terms"), ["multitask.arrow"], "calibration.terms has 'multitask.arrow'"),
        (("multi_task", "tasks"), ["arow"], "multi_task.tasks"),
        (("distillation", "teachers"), ["teacher_x"], "unknown teacher 'teacher_x'"),
        (("distillation", "teachers"), [], "distillation.teachers"),
        (
            ("datasets", "avenue", "student"),
            {"frames": 1, "flow": "fast"},
            "datasets.avenue.student.flow is 'fast' and student.frames is 1",
        ),
        (
            ("datasets", "avenue", "sdmae"),
            {"height": 321},
            "datasets.avenue.sdmae: 321 x 640 pixels; expected multiples",
        ),
        (("datasets", "avenue", "sdmae"), {"height": 48, "width": 80}, "3 x 5 tokens; expected an even number"),
        (("datasets", "avenue", "sdmae"), {"heads": 3}, "widths 256 and 128; expected multiples of heads, 3"),
        (("datasets", "avenue", "sdmae"), {"filter_tokens": 2}, "sdmae.filter_tokens is 2; expected an odd number"),
        (("maps", "resolutions"), [1, 0], "maps.resolutions"),
        (("calibration", "low_percentile"), 99.9, "low percentile"),
        (("synthetic", "pace"), [4.0, 2.0], "synthetic.pace is [4, 2]; expected the smaller"),
        (("validation", "haste"), [2.0], "validation.haste"),
        (("seed",), True, "seed"),
        (("pretraining", "learning_rate"), float("nan"), "pretraining.learning_rate is nan"),
        (("datasets", 2024), {"layout": "demo"}, "the key 2024 in datasets is no text"),
        (("datasets", "a b"), {"layout": "demo"}, "a b"),
        (("datasets", "a\n"), {"layout": "demo"}, r"a\n"),
        (("datasets", "../a"), {"layout": "demo"}, "../a"),
        (("datasets", ".."), {"layout": "demo"}, ".."),
        (("datasets", "a;b"), {"layout": "demo"}, "a;b"),
        (("datasets", "a" * 101), {"layout": "demo"}, "too long"),
        (("datasets", "avenue", "path"), "-x", "datasets.avenue.path is '-x'"),
        (("datasets", "avenue", "path"), "a\nb", r"datasets.avenue.path is 'a\nb'"),
        (("datasets", "avenue", "path"), "a/{clip}", "datasets.avenue.path is 'a/{clip}'"),
        (("detection", "weights"), "{x}.pt", "detection.weights is '{x}.pt'"),
        (("background_agnostic", "image_pool"), "-x", "background_agnostic.image_pool is '-x'"),
        (("datasets", "avenue", "localisation"), {"tracks": "{x}"}, "datasets.avenue.localisation.tracks is '{x}'"),
        (("trusted_weights",), {"my.pt": "abc"}, "trusted_weights.my.pt"),
        (("trusted_weights",), {"my.pt": "0" * 64 + "\n"}, "trusted_weights.my.pt"),
    ],
)
def test_every_bad_config_is_one_line_that_names_the_key(place, value, told):
    config = copy.deepcopy(CONFIG)
    target = config
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    with pytest.raises(InputError) as error:
        check(config)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_dataset_overrides_single_settings():
    ped2 = dataset_section(CONFIG, "ucsd_ped2", "maps")
    assert ped2.resolutions == (4, 16, 32)
    assert dataset_section(CONFIG, "ucsd_ped2", "student").depth == CONFIG["student"]["depth"]
    with pytest.raises(InputError, match="no data set 'nowhere'"):
        dataset_section(CONFIG, "nowhere", "maps")


def test_stage_settings_know_names_but_no_order():
    one = stage_settings(
        {**CONFIG, "calibration": {"low_value": 0.1, "high_value": 0.2}}, "avenue", "calibrate_teacher"
    )
    same = stage_settings(
        {**CONFIG, "calibration": {"high_value": 0.2, "low_value": 0.1}}, "avenue", "calibrate_teacher"
    )
    swapped = stage_settings(
        {**CONFIG, "calibration": {"low_value": 0.2, "high_value": 0.1}}, "avenue", "calibrate_teacher"
    )
    assert one == same != swapped


def test_a_whole_float_is_the_same_setting_as_the_integer():
    one, other = ({"datasets": {"x": {"layout": "demo", "evaluation": {"smoothing_sigma": s}}}} for s in (21, 21.0))
    assert stage_settings(one, "x", "evaluate") == stage_settings(other, "x", "evaluate")
    assert section("pretraining", {"epochs": 20.0}).epochs.__class__ is int


def test_a_stage_sees_its_sections_only():
    for stage, (_, names) in STAGES.items():
        made = json.loads(stage_settings(CONFIG, "avenue", stage, of="sdmae"))
        assert set(made) == {"version", *(name.format(of="sdmae").split(".")[0] for name in names)}


def test_what_a_score_alone_reads_is_no_part_of_a_training():
    training, score = (
        json.loads(stage_settings(CONFIG, "avenue", stage, of="sdmae"))["sdmae"]
        for stage in ("train_detector", "fit_score")
    )
    assert set(score) == set(score_keys("sdmae")) and not training.keys() & score.keys()
    assert {**training, **score} == told(dataset_section(CONFIG, "avenue", "sdmae"))


VARIED = {**CONFIG, "datasets": {
    "base": {"layout": "demo", "multi_task": {"epochs": 3}},
    "seed": {"variant_of": "base", "multi_task": {"seed": 1}},
    "calibrated": {"variant_of": "base", "calibration": {"squash": not CONFIG["calibration"]["squash"]}},
    "detected": {"variant_of": "base", "detection": {"image_size": 320}},
    "checked": {"variant_of": "base", "validation": {"seed": 5}},
}}  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "own"),
    [
        ("base", {}),
        (
            "seed",
            {("model", "multi_task"), ("scores", "multi_task"), ("calibration", "multi_task"), ("maps", "multi_task")},
        ),
        ("calibrated", {(product, teacher) for product in ("calibration", "maps") for teacher in TEACHERS}),
        ("checked", set()),
    ],
)
def test_a_variant_shares_what_it_does_not_change(dataset, own):
    for product in PRODUCTS.keys() - {"trained"}:  # which is of a detector
        for teacher in TEACHERS:
            expected = dataset if (product, teacher) in own else "base"
            assert shared_from(VARIED, dataset, product, "train", teacher) == expected, (product, teacher)


def test_a_variant_with_another_detector_shares_frames_only():
    shared = {
        product
        for product in PRODUCTS.keys() - {"trained"}
        if shared_from(VARIED, "detected", product, "test", "multi_task") == "base"
    }
    assert shared == {"frames", "moving", "motion", "flow_by_row", "pretrained"}


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ({"detection": {"image_size": 320}, "objects": {"confidence": 0.1}}, True),
        ({"flow_neighbours": {"seed": 1}}, True),
        ({"flow_cells": {"neighbours": 3}}, False),
        ({"motion": {"step": 2}}, False),
        ({"held_out": {"share": 0.3}}, False),
        ({"objects": {"scene": "(a)"}}, False),
    ],
)
def test_a_teacher_of_cells_depends_on_motion_and_scenes_and_not_on_objects(changes, shared):
    config = {**VARIED, "datasets": {**VARIED["datasets"], "other": {"variant_of": "base", **changes}}}
    for product in ("model", "scores", "calibration", "maps"):
        assert (shared_from(config, "other", product, "train", "flow_cells") == "base") == shared


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ({"detection": {"image_size": 320}, "flow_cells": {"neighbours": 3}, "held_out": {"share": 0.3}}, True),
        ({"motion": {"step": 2}}, False),
        ({"objects": {"scene": "(a)"}}, False),
    ],
)
def test_what_is_usual_in_a_row_depends_on_motion_and_scenes_alone(changes, shared):
    config = {**VARIED, "datasets": {**VARIED["datasets"], "other": {"variant_of": "base", **changes}}}
    assert (shared_from(config, "other", "flow_by_row", "train") == "base") == shared


def test_other_synthetic_anomalies_change_the_validation_split_only():
    assert shared_from(VARIED, "checked", "scores", "test", "multi_task") == "base"
    for product in ("frames", "detections", "scores", "maps"):
        assert shared_from(VARIED, "checked", product, "validation", "multi_task") == "checked"


def test_the_split_synthetic_belongs_to_who_makes_it():
    config = copy.deepcopy(VARIED)
    config["datasets"]["made"] = {"variant_of": "base", "synthetic": {"seed": 5}}
    for product in ("frames", "detections", "scores", "maps"):
        assert shared_from(config, "made", product, "synthetic", "multi_task") == "made"
        assert shared_from(config, "made", product, "validation", "multi_task") == "base"
        assert shared_from(config, "made", product, "train", "multi_task") == "base"


def test_a_variant_has_the_settings_of_its_base_and_its_own():
    assert dataset_section(VARIED, "seed", "multi_task").epochs == 3
    assert dataset_section(VARIED, "seed", "multi_task").seed == 1
    for student in (False, True):
        seeded, base, calibrated = (
            [all_settings(VARIED, name, student, seeds) for seeds in (True, False)]
            for name in ("seed", "base", "calibrated")
        )
        assert seeded[1] == base[1] and seeded[0] != base[0] and calibrated[1] != base[1]
    varied = {**VARIED, "datasets": {**VARIED["datasets"], "other": {"variant_of": "base", "student": {"depth": 1}}}}
    assert all_settings(varied, "other", False) == all_settings(varied, "base", False)
    assert all_settings(varied, "other", True, seeds=False) != all_settings(varied, "base", True, seeds=False)


def test_the_terms_of_config_are_those_of_the_teachers():
    for name, settings in TEACHERS.items():
        made = build(name, settings(), classes=3) if settings.of == "boxes" else build_of_cells(name, settings())
        assert made.terms == settings.terms


@pytest.mark.parametrize(
    ("pattern", "told"), [("(", "no regular expression"), ("a+", "has no group around the scene's name")]
)
def test_a_bad_scene_pattern_is_refused_before_anything_runs(pattern, told):
    config = copy.deepcopy(CONFIG)
    config["datasets"]["avenue"]["objects"] = {"scene": pattern}
    with pytest.raises(InputError, match=r"datasets\.avenue\.objects\.scene") as error:
        check(config)
    assert told in str(error.value)


def test_a_variants_calibration_is_checked_with_its_bases():
    config = copy.deepcopy(VARIED)
    config["datasets"]["base"]["calibration"] = {"high_percentile": 80}
    config["datasets"]["seed"]["calibration"] = {"low_percentile": 90}
    with pytest.raises(InputError, match=r"datasets\.seed\.calibration: the low percentile"):
        check(config)


def test_a_variant_with_another_held_out_share_has_its_own_validation_split():
    config = {**VARIED, "datasets": {**VARIED["datasets"], "share": {"variant_of": "base", "held_out": {"share": 0.3}}}}
    assert (
        shared_from(config, "share", "frames", "validation")
        == shared_from(config, "share", "trivial", "validation")
        == "share"
    )
    assert shared_from(config, "share", "frames", "train") == shared_from(config, "share", "trivial", "test") == "base"


def test_moving_regions_count_only_where_they_are_objects():
    datasets = {"base": {"layout": "demo"}, "faster": {"variant_of": "base", "moving": {"speed": 3}}}
    assert shared_from({"datasets": datasets}, "faster", "model", teacher="multi_task") == "base"
    datasets["base"]["objects"] = {"moving": True}
    for product in ("moving", "model", "trivial"):
        assert shared_from({"datasets": datasets}, "faster", product, "test", "multi_task") == "faster"


def test_a_variant_with_other_scenes_has_its_own_validation_split():
    config = {
        **VARIED,
        "datasets": {**VARIED["datasets"], "scenes": {"variant_of": "base", "objects": {"scene": "(a)"}}},
    }
    assert shared_from(config, "scenes", "frames", "validation") == "scenes"
    assert (
        shared_from(config, "scenes", "frames", "train")
        == shared_from(config, "scenes", "detections", "train")
        == "base"
    )


def test_a_later_setting_is_told_only_where_it_is_not_the_default():
    known = {"encoding": "jpeg", "quality": 95}
    config = {
        **CONFIG,
        "datasets": {"own": {"layout": "folder", "path": "x"}, "deep": {"layout": "folder", "path": "x"}},
    }
    config["datasets"]["deep"]["frames"] = {"depth": "percentiles"}
    content = {"frames": known, "fingerprint": "abc", "version": 1}
    expected = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert stage_settings(config, "own", "extract_frames", fingerprint="abc") == expected
    assert json.loads(all_settings(config, "own", student=True))["frames"] == known
    for text in (stage_settings(config, "deep", "extract_frames"), all_settings(config, "deep", student=False)):
        assert json.loads(text)["frames"] == {**known, "depth": "percentiles"}
