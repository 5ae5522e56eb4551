"""The sections of config.yaml by name, as typed settings and as canonical JSON."""

import json
import typing
from dataclasses import asdict, fields
from typing import Any

from vadistill.errors import InputError
from vadistill.settings.data import (
    DemoConfig,
    DetectionConfig,
    FramesConfig,
    HeldOutConfig,
    MotionConfig,
    MovingConfig,
    ObjectsConfig,
    SyntheticConfig,
    ValidationConfig,
)
from vadistill.settings.detectors import DETECTORS
from vadistill.settings.evaluation import AblationConfig, AlarmsConfig, EvaluationConfig, LocalisationConfig
from vadistill.settings.student import DistillationConfig, PretrainingConfig, StudentConfig, SurpriseConfig
from vadistill.settings.teachers import TEACHERS, CalibrationConfig, MapsConfig, ObjectFlowConfig

SECTIONS: dict[str, type] = {
    "demo": DemoConfig,
    "frames": FramesConfig,
    "detection": DetectionConfig,
    "objects": ObjectsConfig,
    "moving": MovingConfig,
    "motion": MotionConfig,
    "held_out": HeldOutConfig,
    "validation": ValidationConfig,
    "synthetic": SyntheticConfig,
    "object_flow": ObjectFlowConfig,
    **TEACHERS,
    "calibration": CalibrationConfig,
    "maps": MapsConfig,
    "student": StudentConfig,
    "pretraining": PretrainingConfig,
    "distillation": DistillationConfig,
    "surprise": SurpriseConfig,
    **DETECTORS,
    "evaluation": EvaluationConfig,
    "alarms": AlarmsConfig,
    "localisation": LocalisationConfig,
    "ablation": AblationConfig,
}

# Where paths stand in a config, as (section, key); a data set has its own besides.
PATHS = tuple(
    (name, entry.name) for name, kind in SECTIONS.items() for entry in fields(kind) if "path" in entry.metadata
)


def section(name: str, values: dict[str, Any]) -> Any:
    """Return the typed section ``name`` with ``values`` over its defaults.

    Raises:
        InputError: A value is of a setting that there is not, or not any more.
    """
    kind = SECTIONS[name]
    hints = typing.get_type_hints(kind)
    if unknown := sorted(values.keys() - {entry.name for entry in fields(kind)}):
        raise InputError(f"the setting {name}.{unknown[0]} is of another version of vadistill; train it again")
    return kind(**{key: _typed(hints[key], value) for key, value in values.items()})


def _typed(kind: Any, value: Any) -> Any:
    """Return the value in its field's type, so that 20 and 20.0 are one setting."""
    if isinstance(value, list | tuple):
        return tuple(_typed(typing.get_args(kind)[0], one) for one in value)
    if typing.get_origin(kind) is typing.Literal:
        return next((known for known in typing.get_args(kind) if known == value), value)
    return kind(value) if kind in (int, float) else value


def told(settings: Any) -> dict[str, Any]:
    """Return a section's values as passed to stages: fields added ``later`` only where they differ from the default."""
    entries = [entry for entry in fields(settings) if "later" not in entry.metadata]
    changed = [entry for entry in fields(settings) if getattr(settings, entry.name) != entry.default]
    names = {entry.name for entry in (*entries, *changed)}
    return {name: value for name, value in asdict(settings).items() if name in names}


def canonical(content: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal for equal settings, whatever their order."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
