"""Typed settings: one frozen dataclass a section of config.yaml.

A data set may override any section. ``settings.schema`` makes a JSON schema of these classes, by which
``settings.check`` checks config.yaml; ``settings.stages`` says which stage reads which section.
"""

from vadistill.settings.data import (
    ANOMALY_KINDS,
    LAYOUTS,
    LEAST_FRAMES,
    OFFICIAL_WEIGHTS,
    TRUSTED_WEIGHTS,
    Demo,
    Detection,
    Frames,
    HeldOut,
    Moving,
    Objects,
    Synthetic,
    Validation,
)
from vadistill.settings.evaluation import Ablation, Evaluation, Localisation
from vadistill.settings.sections import SECTIONS, canonical, section, told
from vadistill.settings.student import Distillation, Pretraining, Student
from vadistill.settings.teachers import (
    TASKS,
    TEACHERS,
    BackgroundAgnostic,
    Calibration,
    FlowNeighbours,
    Maps,
    MultiTask,
)

__all__ = [
    "ANOMALY_KINDS",
    "LAYOUTS",
    "LEAST_FRAMES",
    "OFFICIAL_WEIGHTS",
    "SECTIONS",
    "TASKS",
    "TEACHERS",
    "TRUSTED_WEIGHTS",
    "Ablation",
    "BackgroundAgnostic",
    "Calibration",
    "Demo",
    "Detection",
    "Distillation",
    "Evaluation",
    "FlowNeighbours",
    "Frames",
    "HeldOut",
    "Localisation",
    "Maps",
    "Moving",
    "MultiTask",
    "Objects",
    "Pretraining",
    "Student",
    "Synthetic",
    "Validation",
    "canonical",
    "section",
    "told",
]
