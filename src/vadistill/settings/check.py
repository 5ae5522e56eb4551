"""The check of a whole config: by the JSON schema, and of what no schema can say."""

import math
import re
from typing import Any

import jsonschema

from vadistill.errors import InputError
from vadistill.settings import (
    TEACHERS,
    CalibrationConfig,
    SdmaeConfig,
    StudentConfig,
    ValidationConfig,
    section,
)
from vadistill.settings.ablation import judgeable
from vadistill.settings.paths import expand_paths
from vadistill.settings.schema import schema
from vadistill.settings.sections import PATHS
from vadistill.settings.stages import dataset_section


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
    expand_paths(config)
    for name, dataset in config["datasets"].items():
        _check_source(name, dataset, config["datasets"])
        for place, values in ((name, dataset), (None, config)):
            _check_teachers(place, values)
        _check_paths(config, name)
        _check_flow(name, dataset_section(config, name, "student"))
        _check_tokens(name, dataset_section(config, name, "sdmae"))
        _check_calibration(name, dataset_section(config, name, "calibration"))
        _check_scene(name, dataset_section(config, name, "objects").scene)
        for made in ("validation", "synthetic"):
            _check_intervals(f"datasets.{name}.{made}", dataset_section(config, name, made))
        if "variant_of" not in dataset:
            _check_judged(config, name)
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


def _check_flow(dataset: str, student: StudentConfig) -> None:
    if student.flow != "none" and student.frames == 1:
        raise InputError(
            f"config: datasets.{dataset}.student.flow is '{student.flow}' and student.frames is 1; expected three "
            "frames or more, between which there is flow"
        )


def _check_tokens(dataset: str, sdmae: SdmaeConfig) -> None:
    place, (rows, columns) = f"config: datasets.{dataset}.sdmae", sdmae.tokens
    if (rows * sdmae.patch, columns * sdmae.patch) != sdmae.size or not rows or not columns:
        raise InputError(f"{place}: {sdmae.height} x {sdmae.width} pixels; expected multiples of patch, {sdmae.patch}")
    if rows % 2 and columns % 2:
        raise InputError(f"{place}: {rows} x {columns} tokens; expected an even number of them, of which half is seen")
    if sdmae.encoder_width % sdmae.heads or sdmae.decoder_width % sdmae.heads:
        raise InputError(
            f"{place}: widths {sdmae.encoder_width} and {sdmae.decoder_width}; expected multiples of heads, "
            f"{sdmae.heads}"
        )
    if sdmae.filter_tokens % 2 == 0:
        raise InputError(f"{place}.filter_tokens is {sdmae.filter_tokens}; expected an odd number")


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
    paths = {f"{part}.{key}": getattr(dataset_section(config, name, part), key) for part, key in PATHS}
    for key, path in {"path": config["datasets"][name].get("path", ""), **paths}.items():
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


def _check_judged(config: dict[str, Any], dataset: str) -> None:
    known = judgeable(config, dataset)
    if unknown := sorted(set(dataset_section(config, dataset, "ablation").judged) - known.keys()):
        raise InputError(
            f"config: datasets.{dataset}.ablation.judged has '{unknown[0]}'; expected a variant of the data set or of "
            f"its ablation: {', '.join(known)}"
        )


def _check_intervals(place: str, made: ValidationConfig) -> None:
    for key in ("pace", "haste"):
        low, high = getattr(made, key)
        if low > high:
            raise InputError(f"config: {place}.{key} is [{low:g}, {high:g}]; expected the smaller number first")


def _check_calibration(dataset: str | None, calibration: CalibrationConfig) -> None:
    place = f"datasets.{dataset}.calibration" if dataset else "calibration"
    if calibration.low_percentile >= calibration.high_percentile or calibration.low_value >= calibration.high_value:
        raise InputError(f"config: {place}: the low percentile and value must lie below the high ones")
    for term in calibration.terms:
        teacher, _, name = term.partition(".")
        if name not in (TEACHERS[teacher].terms if teacher in TEACHERS else ()):
            known = ", ".join(f"{teacher}.{name}" for teacher, kind in TEACHERS.items() for name in kind.terms)
            raise InputError(f"config: {place}.terms has '{term}'; known are {known}")
