"""Settings of the frame-level detectors, by name."""

from typing import ClassVar, Protocol

from vadistill.settings.sdmae import SdmaeConfig
from vadistill.settings.student import StudentConfig
from vadistill.settings.teachers import FlowCellsConfig

MODEL = "model.pt"  # what the rules train_detector and fit_score make


class DetectorSettings(Protocol):
    """The settings of a frame-level detector: a dataclass.

    Attributes:
        model: Name of the file of the trained detector, in the folder of its name.
    """

    model: ClassVar[str]


# By name, in the order of all tables. The class <Name>Detector in vadistill.frame_level.<name> belongs to <Name>Config.
# One whose ``model`` is MODEL is trained by the rule train_detector, of frames alone; any other has rules of its own.
DETECTORS: dict[str, type[DetectorSettings]] = {
    "student": StudentConfig,
    "flow_cells": FlowCellsConfig,
    "sdmae": SdmaeConfig,
}


def calibrated_maps(detector: str) -> bool:
    """Return whether a detector's maps are on the scale of the teachers' calibrated ones, 0 where nothing is.

    Its settings say so by ``calibrated_maps = True``; maps of other detectors are judged by their own usual values.
    """
    return getattr(DETECTORS[detector], "calibrated_maps", False)


def score_keys(detector: str) -> tuple[str, ...]:
    """Return the settings of a detector that its score alone reads: another value of them trains nothing anew."""
    return getattr(DETECTORS[detector], "score_keys", ())
