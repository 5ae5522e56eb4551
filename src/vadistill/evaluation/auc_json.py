"""What ``auc.json`` holds: AUC of a frame-level detector and trivial scores, and where these numbers come from."""

from dataclasses import dataclass
from typing import Any

from vadistill.evaluation.bootstrap import Interval
from vadistill.io.json_records import ABSENT, JsonRecord, key, later, optional

MICRO, MACRO = "AUC of all frames in a row", "mean of the clips' own AUC"
INTERVAL = "95 % interval over clips, or null below five clips"


@dataclass(frozen=True, kw_only=True)
class Auc(JsonRecord):
    """Two AUC as fractions; None without labels, or with one class only."""

    micro_auc: float | None = key(MICRO)
    macro_auc: float | None = key(MACRO)


@dataclass(frozen=True, kw_only=True)
class AucWithIntervals(Auc):
    """Two AUC, or differences of AUC, with their intervals."""

    micro_interval: Interval | None = key(INTERVAL)
    macro_interval: Interval | None = key(INTERVAL)


@dataclass(frozen=True, kw_only=True)
class ClipAuc(JsonRecord):
    """One clip under one detector."""

    frames: int = key("how many it has")
    abnormal_frames: int = optional("how many of them are labelled abnormal")
    auc: float | None = optional("its own AUC, or null with one class only")
    scores: list[float] = optional("only without labels: the smoothed score of each frame")


@dataclass(frozen=True, kw_only=True)
class DetectorAuc(Auc):
    """One detector on the test clips; without labels only its scores."""

    per_clip: dict[str, ClipAuc] = key("what is known of each clip, by its name, see below")
    skipped_clips: list[str] = optional("clips of one class, which the macro mean leaves out")
    micro_interval: Interval | None = optional(f"of `micro_auc`: {INTERVAL}")
    macro_interval: Interval | None = optional(f"of `macro_auc`: {INTERVAL}")
    average_precision: float | None = optional("of all frames, abnormal ones being the positives")
    equal_error_rate: float | None = optional("of all frames: where false alarms and misses are equally frequent")
    protocols: dict[str, AucWithIntervals] = optional("AUC and intervals under the other protocols, by name")
    maps: Auc = optional("only of a teacher: AUC of its maps, read as the student's are")
    by_resolution: dict[str, Auc] = optional("only of frame-level detectors: AUC of each map alone, such as `4x4`")


@dataclass(frozen=True, kw_only=True)
class StudentNumbers(JsonRecord):
    """AUC of the student and its teachers."""

    dataset: str = key("its name")
    student: DetectorAuc = key("the numbers of the student, see below")
    teachers: dict[str, DetectorAuc] = key("the same of every teacher that the student learned from")
    teachers_mean: DetectorAuc = key("the same of the mean of these teachers' frame scores")
    student_minus_teachers_mean: AucWithIntervals = optional(
        "only with labels: difference of AUC, with intervals that draw the same clips for both"
    )


@dataclass(frozen=True, kw_only=True)
class DetectorNumbers(JsonRecord):
    """AUC of a frame-level detector alone."""

    dataset: str = key("its name")
    detector: str = key("name of the frame-level detector")
    scores: DetectorAuc = key("its numbers")


@dataclass(frozen=True, kw_only=True)
class AlarmNumbers(JsonRecord):
    """How the alarms at one threshold fit the events of the test clips."""

    threshold: float = key("smoothed score from which on there is an alarm, found in normal video without labels")
    method: str = key("how it was found, as in `alarms.json`")
    events: int = key("runs of abnormal frames")
    found_events: int = key("how many of them meet an alarm")
    event_recall: float | None = key("their share, or null without events")
    alarms: int = key("how many there are")
    false_alarms: int = key("how many of them meet no event")
    alarm_precision: float | None = key("share of the alarms that meet an event, or null without alarms")
    false_alarms_per_hour: float | None = key("false alarms in an hour of normal test frames")
    alarmed_share_of_normal_frames: float | None = key("share of the normal frames that lie in an alarm")
    delay_s: dict[str, float] | None = key(
        "`median` and `highest` seconds from the first frame of a found event to its first one in an alarm"
    )
    hours: float = key("length of the test clips")
    normal_hours: float = key("of their normal frames")


@dataclass(frozen=True, kw_only=True)
class Evaluation(JsonRecord):
    """What is said beside the numbers."""

    trivial: dict[str, Auc] = key(
        "AUC of each score that needs no model: `boxes`, `not_person`, `box_height`, `speed`, `frame_difference`, "
        "`local_difference`, `flow_by_row`"
    )
    frames: int = key("how many test frames were scored")
    clips: int = key("how many test clips were scored")
    repaired_frames: dict[str, list[int]] = later(
        "by clip, frames whose image could not be decoded and was replaced by its neighbour", dict
    )
    left_out_clips: dict[str, int] = later("training clips that were too short, with their number of frames", dict)
    labels: str = key("in words, where the frame labels come from")
    protocol: dict[str, Any] = key(
        "how the numbers were made (`name`, `text`, `smoothing` with `kind`, `sigma_frames`, `taps` and `borders`, "
        "`single_class_clips`, `normalisation`)"
    )
    protocols: dict[str, dict[str, Any]] = key("the same of all [protocols](evaluation.md#protocols)")
    settings: dict[str, Any] = key(
        "the settings behind the numbers, by section, from `frames` to `evaluation`; also `held_out_clips` and "
        "`training_clips`: which clips were held out, and how training clips were filmed"
    )
    provenance: dict[str, Any] = key(
        "`seeds`; `packages` with their versions; `git_revision`; `detector` with its `weights` and their `sha256` "
        "(empty where none was used); "
        "`data`: fingerprints of the clips for `training`, of those `scored`, and of the files of `labels`"
    )
    alarms: dict[str, AlarmNumbers] = optional(
        "only with labels: alarms at the thresholds of `alarms.json`, by the wanted false alarms a day, see below"
    )
    warnings: list[str] = later(
        "what went wrong although nothing failed: dead maps, collapsed discriminators, test clips unlike the training "
        "clips",
        list,
    )
    note: str = optional("only without labels: says so")

    def complaints(self) -> list[str]:
        """Return what a user must be told, a line each."""
        return [*self.warnings, *([] if self.note is ABSENT else [self.note])]


@dataclass(frozen=True, kw_only=True)
class Result(Evaluation, StudentNumbers):
    """All of ``auc.json``, where the numbers come first."""


@dataclass(frozen=True, kw_only=True)
class DetectorResult(Evaluation, DetectorNumbers):
    """All of the ``auc.json`` in the folder of a frame-level detector."""
