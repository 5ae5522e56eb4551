"""What a config says: its check, the settings of a data set and of a stage, and which results data sets share.

A stage gets one canonical JSON string of just the settings that it uses (``stage_settings``): this string is the only
param of its rule, so that a changed setting reruns exactly the stages that read it.
"""

import math
import os
import re
from typing import Any

import jsonschema

from vadistill.errors import InputError
from vadistill.schema import schema
from vadistill.settings import SECTIONS, TEACHERS, TERMS, Calibration, Validation, canonical, section, told

# What each stage reads; {teacher} is the name of the teacher it is run for. A version is raised by an intended
# change of the stage's algorithm, which then reruns it.
STAGES: dict[str, tuple[int, tuple[str, ...]]] = {
    "generate_demo": (1, ("demo",)),
    "measure_depth": (1, ()),
    "extract_frames": (1, ("frames",)),
    "detect_objects": (1, ("detection",)),
    "find_moving": (1, ("moving",)),
    "make_validation_clip": (2, ("frames", "held_out", "validation")),
    "make_synthetic_clip": (1, ("frames", "held_out", "synthetic")),
    "train_teacher": (2, ("objects", "held_out", "{teacher}")),
    "score_objects": (3, ("objects",)),
    "score_trivially": (1, ("objects",)),
    "calibrate_teacher": (3, ("calibration",)),
    "build_maps": (2, ("maps",)),
    "evaluate_teachers": (2, ("evaluation",)),
    "draw_teachers": (1, ("evaluation",)),
    "pretrain_student": (2, ("student", "pretraining")),
    "distill_student": (3, ("held_out", "student", "distillation", "maps")),
    "score_frames": (1, ()),
    "evaluate_student": (2, ("evaluation",)),
    "evaluate_regions": (2, ("localisation",)),
    "evaluate": (3, ("evaluation",)),
    "write_report": (1, ("evaluation",)),
    "draw_pictures": (1, ("evaluation",)),
    "draw_overlay": (1, ("evaluation",)),
    "measure_speed": (1, ()),
    "compare_backends": (1, ("evaluation",)),
}
# The stages that a result comes from, besides the ones that make clips with synthetic anomalies.
_DETECTED = ("generate_demo", "extract_frames", "detect_objects", "find_moving")
_SCORED = (*_DETECTED, "train_teacher", "score_objects")
# The sections that only the student depends on.
STUDENT = ("synthetic", "student", "pretraining", "distillation")
PRODUCTS: dict[str, tuple[str, ...]] = {
    "frames": ("generate_demo", "extract_frames"),
    "detections": _DETECTED[:3],
    "moving": ("generate_demo", "extract_frames", "find_moving"),
    "model": (*_DETECTED, "train_teacher"),
    "scores": _SCORED,
    "calibration": (*_SCORED, "calibrate_teacher"),
    "maps": (*_SCORED, "calibrate_teacher", "build_maps"),
    "trivial": (*_DETECTED, "score_trivially"),
    "pretrained": ("generate_demo", "extract_frames", "pretrain_student"),
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


def stage_settings(config: dict[str, Any], dataset: str, stage: str, teacher: str = "", **extra: Any) -> str:
    """Return the canonical JSON of the settings that ``stage`` reads, with its version and ``extra`` values."""
    version, names = STAGES[stage]
    names = tuple(name.format(teacher=teacher) for name in names)
    content = {name: told(dataset_section(config, dataset, name)) for name in names}
    return canonical({"version": version, **content, **extra})


def all_settings(config: dict[str, Any], dataset: str, student: bool, seeds: bool = True) -> str:
    """Return all settings of a data set, equal for variants with the same results.

    Args:
        config: The whole config.
        dataset: Name of the data set.
        student: With what makes the student; else what makes the teachers alone.
        seeds: With the seeds of trainings; without them, runs that differ in nothing else are equal.
    """
    left_out = () if student else STUDENT
    sections = {name: told(dataset_section(config, dataset, name)) for name in SECTIONS if name not in left_out}
    for name in () if seeds else {*TEACHERS, *STUDENT} & sections.keys():
        sections[name].pop("seed", None)
    return canonical(sections)


def owner(config: dict[str, Any], dataset: str, product: str, split: str = "", teacher: str = "") -> str:
    """Return the data set whose folder holds a result: a variant shares what none of its settings changes.

    It shares it with the data set that it varies, or with other variants of it that its entry names (``shares``).

    Args:
        config: The whole config.
        dataset: Data set that the result is for.
        product: Key of ``PRODUCTS``.
        split: Split of the result, where it has one.
        teacher: Teacher of the result, where it has one.
    """
    own = config["datasets"].get(dataset, {})
    if "variant_of" not in own:
        return dataset
    stages = PRODUCTS[product]
    if product != "moving" and not dataset_section(config, dataset, "objects").moving:
        stages = tuple(stage for stage in stages if stage != "find_moving")
    made = split in ("validation", "synthetic")
    if made:
        stages = (*stages, "detect_objects", f"make_{split}_clip")

    def made_by(name: str) -> list[str]:
        # Which clips are held out, and where an object is misplaced, follows from the scenes.
        scene = dataset_section(config, name, "objects").scene if made else ""
        return [scene, *(stage_settings(config, name, stage, teacher) for stage in stages)]

    mine = made_by(dataset)
    others = (own["variant_of"], *own.get("shares", ()))
    return next((other for other in others if made_by(other) == mine), dataset)


# Where paths stand in a config, as (section, key); a data set has its own besides.
PATHS = (("detection", "weights"), ("background_agnostic", "image_pool"), ("localisation", "tracks"))
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def _expand_paths(config: dict[str, Any]) -> None:
    """Replace ``~`` and environment variables in the paths of a config, in place; other paths stay as they are."""
    for place, values in (("", config), *((f"datasets.{name}.", one) for name, one in config["datasets"].items())):
        for name, key in PATHS:
            if key in values.get(name, {}):
                values[name][key] = _expanded(values[name][key], f"{place}{name}.{key}")
        if place and "path" in values:
            values["path"] = _expanded(values["path"], f"{place}path")


def _expanded(path: str, place: str) -> str:
    for found in VARIABLE.finditer(path):
        if (found[1] or found[2]) not in os.environ:
            raise _undefined(path, place, found[0])
    expanded = os.path.expanduser(VARIABLE.sub(lambda found: os.environ[found[1] or found[2]], path))
    if path.startswith("~") and expanded == path:
        raise _undefined(path, place, path.partition("/")[0])
    return expanded


def _undefined(path: str, place: str, name: str) -> InputError:
    return InputError(f"config: {place} is '{path}'; {name} is not defined; define it, or write the path in full")


def check(config: dict[str, Any]) -> None:
    """Check a whole config, and replace ``~`` and environment variables in its paths.

    Raises:
        InputError: A key is unknown or missing, a value has the wrong type or lies outside its range, settings
            contradict each other, or a variable is not defined.
    """
    _check_numbers(config, "")
    errors = jsonschema.Draft202012Validator(schema()).iter_errors(config)
    # The deepest error of the first bad key says most.
    for error in sorted(errors, key=lambda found: ([str(part) for part in found.absolute_path], len(found.path))):
        raise InputError(f"config: {_sentence(error)}")
    _expand_paths(config)
    for name, dataset in config["datasets"].items():
        _check_source(name, dataset, config["datasets"])
        for place, values in ((name, dataset), (None, config)):
            _check_teachers(place, values)
        _check_paths(config, name)
        _check_calibration(name, dataset_section(config, name, "calibration"))
        _check_scene(name, dataset_section(config, name, "objects").scene)
        for made in ("validation", "synthetic"):
            _check_intervals(f"datasets.{name}.{made}", dataset_section(config, name, made))
    _check_calibration(None, section("calibration", config.get("calibration", {})))


def _check_numbers(value: Any, place: str) -> None:
    """Refuse what YAML knows and JSON does not: numbers that are not finite, keys that are no text."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"config: {place} is {value}; expected a finite number")
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise InputError(f"config: the key {key!r} in {place or 'the top level'} is no text; put it in quotes")
            _check_numbers(part, f"{place}.{key}" if place else key)


def _sentence(error: jsonschema.ValidationError) -> str:
    place = ".".join(str(part) for part in error.absolute_path) or "the top level"
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))
        return f"unknown key '{unknown[0]}' in {place}; known are {', '.join(known)}"
    if error.validator == "type" and error.validator_value in ("number", "integer") and isinstance(error.instance, str):
        return (
            f"{place} is the text '{error.instance}', expected a {error.validator_value} (YAML needs 1.0e-4, not 1e-4)"
        )
    if error.validator == "pattern":
        return f"{place}: {error.instance!r} does not fit; expected {error.schema['description']}"
    return f"{place}: {error.message}"


def _check_teachers(dataset: str | None, values: dict[str, Any]) -> None:
    place = f"datasets.{dataset}.distillation.teachers" if dataset else "distillation.teachers"
    for teacher in values.get("distillation", {}).get("teachers", ()):
        if teacher not in TEACHERS:
            raise InputError(f"config: {place}: unknown teacher '{teacher}'; known are {', '.join(TEACHERS)}")


def _check_source(name: str, dataset: dict[str, Any], known: dict[str, Any]) -> None:
    """A data set lies in a folder, is generated, or is a variant of one of these."""
    if varied := dataset.get("variant_of"):
        if extra := sorted({"layout", "path", "shards"} & dataset.keys()):
            raise InputError(f"config: datasets.{name} is a variant of {varied} and takes its {extra[0]} from it")
        if varied not in known or "variant_of" in known[varied]:
            raise InputError(
                f"config: datasets.{name}.variant_of is '{varied}'; expected a data set that is no variant"
            )
    elif "layout" not in dataset:
        raise InputError(f"config: datasets.{name} has no layout; expected one, or variant_of")
    elif dataset["layout"] != "demo" and "path" not in dataset:
        raise InputError(f"config: datasets.{name} has no path; expected the folder of the data set")


def _check_paths(config: dict[str, Any], name: str) -> None:
    """Refuse paths that a command line takes for an option, and that Snakemake takes for a pattern."""
    paths = {
        "path": config["datasets"][name].get("path", ""),
        "detection.weights": dataset_section(config, name, "detection").weights,
        "background_agnostic.image_pool": dataset_section(config, name, "background_agnostic").image_pool,
        "localisation.tracks": dataset_section(config, name, "localisation").tracks,
    }
    for key, path in paths.items():
        if not path.isprintable() or set(path) & set("{}") or path.startswith("-"):
            raise InputError(
                f"config: datasets.{name}.{key} is {path!a}; expected printable characters, no brace and no "
                "leading '-' (a link of another name may lead there)"
            )


def _check_scene(dataset: str, pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise InputError(
            f"config: datasets.{dataset}.objects.scene: '{pattern}' is no regular expression ({error})"
        ) from None
    if pattern and not groups:
        raise InputError(f"config: datasets.{dataset}.objects.scene: '{pattern}' has no group around the scene's name")


def _check_intervals(place: str, made: Validation) -> None:
    for key in ("pace", "haste"):
        low, high = getattr(made, key)
        if low > high:
            raise InputError(f"config: {place}.{key} is [{low:g}, {high:g}]; expected the smaller number first")


def _check_calibration(dataset: str | None, calibration: Calibration) -> None:
    place = f"datasets.{dataset}.calibration" if dataset else "calibration"
    if calibration.low_percentile >= calibration.high_percentile or calibration.low_value >= calibration.high_value:
        raise InputError(f"config: {place}: the low percentile and value must lie below the high ones")
    for term in calibration.terms:
        teacher, _, name = term.partition(".")
        if name not in TERMS.get(teacher, ()):
            known = ", ".join(f"{teacher}.{name}" for teacher in TERMS for name in TERMS[teacher])
            raise InputError(f"config: {place}.terms has '{term}'; known are {known}")
