"""The edge: config.yaml is checked here, and every error names its key."""

import math
from typing import Any

import jsonschema

from vadistill.errors import InputError
from vadistill.settings import TEACHERS, schema, section


def check(config: dict[str, Any]) -> None:
    """Check a whole config.

    Raises:
        InputError: A key is unknown or missing, a value has the wrong type or lies outside its range, or settings
            contradict each other.
    """
    _check_numbers(config, "")
    errors = jsonschema.Draft202012Validator(schema()).iter_errors(config)
    # The deepest error of the first bad key says most.
    for error in sorted(errors, key=lambda found: ([str(part) for part in found.absolute_path], len(found.path))):
        raise InputError(f"config: {_sentence(error)}")
    for name, dataset in config["datasets"].items():
        if dataset["layout"] != "demo" and "path" not in dataset:
            raise InputError(f"config: datasets.{name} has no path; expected the folder of the data set")
        for place, values in ((name, dataset), (None, config)):
            _check_teachers(place, values)
            _check_percentiles(place, {**config.get("calibration", {}), **values.get("calibration", {})})


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
    return f"{place}: {error.message}"


def _check_teachers(dataset: str | None, values: dict[str, Any]) -> None:
    place = f"datasets.{dataset}.distillation.teachers" if dataset else "distillation.teachers"
    for teacher in values.get("distillation", {}).get("teachers", ()):
        if teacher not in TEACHERS:
            raise InputError(f"config: {place}: unknown teacher '{teacher}'; known are {', '.join(TEACHERS)}")


def _check_percentiles(dataset: str | None, values: dict[str, Any]) -> None:
    place = f"datasets.{dataset}.calibration" if dataset else "calibration"
    calibration = section("calibration", values)
    if calibration.low_percentile >= calibration.high_percentile or calibration.low_value >= calibration.high_value:
        raise InputError(f"config: {place}: the low percentile and value must lie below the high ones")
