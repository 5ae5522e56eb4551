"""Typed settings: one frozen dataclass a section of config.yaml.

A data set may override any section. ``settings.schema`` makes a JSON schema of these classes, by which
``settings.check`` checks config.yaml; ``settings.stages`` says which stage reads which section.
"""

from vadistill.settings.data import (
    ANOMALY_KINDS,
    GPUS,
    LAYOUTS,
    LEAST_FRAMES,
    OFFICIAL_WEIGHTS,
    TRUSTED_WEIGHTS,
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
from vadistill.settings.detectors import DETECTORS, MODEL, calibrated_maps, score_keys
from vadistill.settings.evaluation import AblationConfig, AlarmsConfig, EvaluationConfig, LocalisationConfig
from vadistill.settings.sdmae import SdmaeConfig
from vadistill.settings.sections import SECTIONS, canonical, section, told
from vadistill.settings.student import DistillationConfig, PretrainingConfig, StudentConfig, SurpriseConfig
from vadistill.settings.teachers import (
    TASKS,
    TEACHERS,
    BackgroundAgnosticConfig,
    CalibrationConfig,
    FlowCellsConfig,
    FlowNeighboursConfig,
    MapsConfig,
    MultiTaskConfig,
    ObjectFlowConfig,
    teachers_of,
)

__all__ = [
    "ANOMALY_KINDS",
    "DETECTORS",
    "GPUS",
    "LAYOUTS",
    "LEAST_FRAMES",
    "MODEL",
    "OFFICIAL_WEIGHTS",
    "SECTIONS",
    "TASKS",
    "TEACHERS",
    "TRUSTED_WEIGHTS",
    "AblationConfig",
    "AlarmsConfig",
    "BackgroundAgnosticConfig",
    "CalibrationConfig",
    "DemoConfig",
    "DetectionConfig",
    "DistillationConfig",
    "EvaluationConfig",
    "FlowCellsConfig",
    "FlowNeighboursConfig",
    "FramesConfig",
    "HeldOutConfig",
    "LocalisationConfig",
    "MapsConfig",
    "MotionConfig",
    "MovingConfig",
    "MultiTaskConfig",
    "ObjectFlowConfig",
    "ObjectsConfig",
    "PretrainingConfig",
    "SdmaeConfig",
    "StudentConfig",
    "SurpriseConfig",
    "SyntheticConfig",
    "ValidationConfig",
    "calibrated_maps",
    "canonical",
    "score_keys",
    "section",
    "teachers_of",
    "told",
]
