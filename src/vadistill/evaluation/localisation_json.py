"""What ``localisation.json`` holds: whether anomalies are found in place, by a detector and its teachers."""

from dataclasses import dataclass
from typing import Any

from vadistill.io.json_records import JsonRecord, key, optional


@dataclass(frozen=True, kw_only=True)
class DetectorRegions(JsonRecord):
    """One detector; fractions, None where no test clip has what they are of."""

    rbdc: float | None = key("share of abnormal regions that are found, as the area under its curve")
    tbdc: float | None = key("the same of tracks")
    pixel_auc: float | None = optional("only with masks, and not of the mean: AUC of all pixels of all frames")


@dataclass(frozen=True, kw_only=True)
class LocalisationResult(JsonRecord):
    """All of ``localisation.json``."""

    truth: str = key("the folder of tracks, or how tracks were derived from masks")
    clips: int = key("how many test clips there are")
    frames: int = key("how many frames they have")
    tracks: int = key("how many abnormal objects there are")
    regions: int = key("how many regions these have, one a frame")
    frames_whose_label_and_mask_differ: dict[str, int] = key(
        "by clip, how many frames are abnormal by one of them only"
    )
    alpha: float = key("share of a track's regions that finds it")
    beta: float = key("overlap (IoU) that finds a region")
    map_threshold: float = key(
        "above which the maps of the frame-level detector make regions; of maps without a zero, what lies above the "
        "median of a cell in training frames"
    )
    settings: dict[str, Any] = key("of the section `localisation`")
    detectors: dict[str, DetectorRegions] = key(
        "the numbers of the detector, of its teachers and of their mean, see below"
    )
