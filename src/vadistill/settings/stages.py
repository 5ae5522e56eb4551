"""The settings of a data set and of a stage, and which results data sets share.

A stage gets one canonical JSON string of just the settings that it uses (``stage_settings``): this string is the only
param of its rule, so that a changed setting reruns exactly the stages that read it.
"""

from typing import Any

from vadistill.errors import InputError
from vadistill.settings import DETECTORS, SECTIONS, TEACHERS, canonical, score_keys, section, teachers_of, told

# What each stage reads; {of} is the name of the teacher, or frame-level detector, that it is run for, {of}.score its
# ``score_keys`` and {of}.training all others. A version is raised by an intended change of the stage's algorithm, which
# then reruns it.
STAGES: dict[str, tuple[int, tuple[str, ...]]] = {
    "generate_demo": (2, ("demo",)),
    "measure_depth": (1, ()),
    "extract_frames": (1, ("frames",)),
    "detect_objects": (1, ("detection",)),
    "find_moving": (1, ("moving",)),
    "compute_motion": (1, ("motion",)),
    "cut_flow": (1, ("objects", "object_flow")),
    "make_validation_clip": (2, ("frames", "held_out", "validation")),
    "make_synthetic_clip": (1, ("frames", "held_out", "synthetic")),
    "train_teacher": (2, ("objects", "held_out", "{of}")),
    "score_objects": (3, ("objects",)),
    "train_cells": (1, ("held_out", "{of}")),
    "score_cells": (1, ()),
    "fit_flow_by_row": (1, ()),
    "score_trivially": (2, ("objects",)),
    "calibrate_teacher": (3, ("calibration",)),
    "build_maps": (2, ("maps",)),
    "evaluate_teachers": (2, ("evaluation",)),
    "draw_teachers": (1, ("evaluation",)),
    "pretrain_student": (3, ("student", "pretraining")),
    "distill_student": (4, ("held_out", "student", "distillation", "maps")),
    "measure_usual": (2, ("surprise",)),
    "train_detector": (2, ("frames", "held_out", "{of}.training")),
    "fit_score": (1, ("maps", "{of}.score")),
    "pack_cells": (1, ("frames", "held_out", "motion", "maps")),
    "score_frames": (1, ()),
    "evaluate_student": (2, ("evaluation",)),
    "evaluate_regions": (3, ("localisation",)),
    "evaluate_detector_regions": (4, ("localisation",)),
    "fit_alarms": (1, ("alarms",)),
    "evaluate": (3, ("evaluation",)),
    "evaluate_detector": (1, ("evaluation",)),
    "compare_detectors": (2, ("evaluation",)),
    "write_report": (1, ("evaluation",)),
    "draw_pictures": (1, ("evaluation",)),
    "draw_overlay": (1, ("evaluation",)),
    "measure_speed": (1, ()),
    "compare_backends": (1, ("evaluation",)),
    "compare_variants": (2, ()),
    "compare_ablation": (3, ()),
    "compare_detector_ablation": (1, ()),
    "judge_student": (1, ("evaluation",)),
}
# The stages that a result comes from, besides the ones that make clips with synthetic anomalies.
_DETECTED = ("generate_demo", "extract_frames", "detect_objects", "find_moving")
_SCORED = (*_DETECTED, "train_teacher", "score_objects")
_CELLS_SCORED = ("generate_demo", "extract_frames", "compute_motion", "train_cells", "score_cells")
# The sections that only the student depends on.
STUDENT = ("synthetic", "student", "pretraining", "distillation", "surprise")
# Those of frame-level detectors that are neither the student nor a teacher.
OTHERS = tuple(name for name in DETECTORS if name not in (*STUDENT, *TEACHERS))
PRODUCTS: dict[str, tuple[str, ...]] = {
    "frames": ("generate_demo", "extract_frames"),
    "detections": _DETECTED[:3],
    "moving": ("generate_demo", "extract_frames", "find_moving"),
    "motion": ("generate_demo", "extract_frames", "compute_motion"),
    "object_flow": (*_DETECTED, "cut_flow"),
    "model": (*_DETECTED, "train_teacher"),
    "scores": _SCORED,
    "calibration": (*_SCORED, "calibrate_teacher"),
    "maps": (*_SCORED, "calibrate_teacher", "build_maps"),
    "flow_by_row": ("generate_demo", "extract_frames", "compute_motion", "fit_flow_by_row"),
    "trivial": (*_DETECTED, "compute_motion", "fit_flow_by_row", "score_trivially"),
    "pretrained": ("generate_demo", "extract_frames", "pretrain_student"),
    "trained": ("generate_demo", "extract_frames", "train_detector"),
}
OF_SCENES = ("flow_by_row", "trained")  # products for which it counts which scene a clip shows
# The products of a teacher of cells, where they come from other stages.
CELL_PRODUCTS: dict[str, tuple[str, ...]] = {
    "model": _CELLS_SCORED[:-1],
    "scores": _CELLS_SCORED,
    "calibration": (*_CELLS_SCORED, "calibrate_teacher"),
    "maps": (*_CELLS_SCORED, "calibrate_teacher", "build_maps"),
}


def dataset_config(config: dict[str, Any], dataset: str) -> dict[str, Any]:
    """Return the config of one data set; a variant's sections go over those of the data set that it varies.

    Raises:
        InputError: There is no such data set.
    """
    known = config["datasets"]
    if dataset not in known:
        written = sorted(name for name, entry in known.items() if "shares" not in entry)
        raise InputError(f"config.yaml: no data set '{dataset}' under datasets; it has {', '.join(written)}")
    own = known[dataset]
    if "variant_of" not in own:
        return known[dataset]
    varied = known[own["variant_of"]]
    sections = {
        name: {**varied.get(name, {}), **own.get(name, {})} for name in SECTIONS if name in varied or name in own
    }
    return {**varied, **own, **sections}


def dataset_section(config: dict[str, Any], dataset: str, name: str) -> Any:
    """Return section ``name`` as it holds for ``dataset``: its own overrides first, then the general section."""
    return section(name, {**config.get(name, {}), **dataset_config(config, dataset).get(name, {})})


def stage_settings(config: dict[str, Any], dataset: str, stage: str, of: str = "", **extra: Any) -> str:
    """Return the canonical JSON of the settings that ``stage`` reads, with its version and ``extra`` values.

    ``of`` is the name of the teacher, or frame-level detector, that it is run for.
    """
    version, places = STAGES[stage]
    content = dict(_read(config, dataset, *place.format(of=of).split(".")) for place in places)
    return canonical({"version": version, **content, **extra})


def _read(config: dict[str, Any], dataset: str, name: str, part: str = "") -> tuple[str, dict[str, Any]]:
    """Return the name of a section and its values: all, or those that only a detector's score or training reads."""
    values = told(dataset_section(config, dataset, name))
    if part:
        values = {key: value for key, value in values.items() if (key in score_keys(name)) == (part == "score")}
    return name, values


def all_settings(config: dict[str, Any], dataset: str, student: bool, seeds: bool = True) -> str:
    """Return all settings of a data set, equal for variants with the same results.

    Args:
        config: The whole config.
        dataset: Name of the data set.
        student: With what makes the student; else what makes the teachers alone.
        seeds: With the seeds of trainings; without them, runs that differ in nothing else are equal.
    """
    left_out = OTHERS if student else (*STUDENT, *OTHERS)
    sections = {name: told(dataset_section(config, dataset, name)) for name in SECTIONS if name not in left_out}
    for name in () if seeds else {*TEACHERS, *STUDENT} & sections.keys():
        sections[name].pop("seed", None)
    return canonical(sections)


def shared_from(config: dict[str, Any], dataset: str, product: str, split: str = "", teacher: str = "") -> str:
    """Return the data set whose folder holds a result: a variant shares what none of its settings changes.

    It shares it with the data set that it varies, or with other variants of it that its entry names (``shares``).

    Args:
        config: The whole config.
        dataset: Data set that the result is for.
        product: Key of ``PRODUCTS``.
        split: Split of the result, where it has one.
        teacher: Teacher, or frame-level detector, of the result, where it has one.
    """
    own = config["datasets"].get(dataset, {})
    if "variant_of" not in own:
        return dataset
    cells = product in CELL_PRODUCTS and teacher in teachers_of("cells")
    stages = (CELL_PRODUCTS if cells else PRODUCTS)[product]
    if product != "moving" and not dataset_section(config, dataset, "objects").moving:
        stages = tuple(stage for stage in stages if stage != "find_moving")
    made = split in ("validation", "synthetic")
    if made:
        stages = (*stages, "detect_objects", f"make_{split}_clip")

    def made_by(name: str) -> list[str]:
        # Which clips are held out, where an object is misplaced, and what is usual for a cell follows from the scenes.
        scene = dataset_section(config, name, "objects").scene if made or cells or product in OF_SCENES else ""
        return [scene, *(stage_settings(config, name, stage, teacher) for stage in stages)]

    mine = made_by(dataset)
    others = (own["variant_of"], *own.get("shares", ()))
    return next((other for other in others if made_by(other) == mine), dataset)
