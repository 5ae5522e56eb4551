"""Frame scores of the test clips beside their labels, and what auc.json says of how they were compared."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vadistill.datasets.labels import describe_labels
from vadistill.evaluation.alarm_thresholds import Alarms
from vadistill.evaluation.auc_json import AlarmNumbers, ClipAuc, DetectorAuc
from vadistill.evaluation.events import judge
from vadistill.evaluation.metrics import FrameLabels, FrameScores, smooth
from vadistill.evaluation.protocols import DEFAULT, PROTOCOLS, frame_auc_of_protocols, in_short, record
from vadistill.evaluation.results import data_of
from vadistill.io.frame_scores import read_shards
from vadistill.io.json_records import ABSENT
from vadistill.io.maps import MapStore
from vadistill.io.provenance import provenance


def evaluated(scores: FrameScores, labels: FrameLabels | None, sigma: float) -> DetectorAuc:
    """Return the AUC of some frame scores under every protocol; without labels the smoothed scores themselves."""
    if labels is not None:
        return frame_auc_of_protocols(scores, labels, sigma)
    smoothed = {clip: smooth(values, sigma).round(5).tolist() for clip, values in scores.items()}
    per_clip = {clip: ClipAuc(frames=len(values), scores=values) for clip, values in smoothed.items()}
    return DetectorAuc(micro_auc=None, macro_auc=None, per_clip=per_clip)


def judged_alarms(
    scores: FrameScores, labels: FrameLabels | None, paths: Iterable[Path]
) -> dict[str, AlarmNumbers] | Any:
    """Return how alarms at the thresholds of ``alarms.json`` fit the events; ``ABSENT`` without labels or thresholds.

    Args:
        scores: Frame scores (T,) of each clip, not smoothed.
        labels: Of the test clips, if they have any.
        paths: The file, or none.
    """
    made: dict[str, AlarmNumbers] = {}
    for known in map(Alarms.read, paths):
        rate = known.frames_per_second
        if labels is None or rate is None:
            continue
        smoothed = {clip: smooth(values, known.smoothing_s * rate) for clip, values in scores.items()}
        for wanted, chosen in known.thresholds.items():
            if rule := known.rule(wanted, rate):
                report = judge(smoothed, labels, rule, rate)
                made[wanted] = AlarmNumbers(method=chosen.method, **report.record())
    return made or ABSENT


def circumstances(
    evaluation: Mapping[str, Any],
    scored: Path,
    trivial: list[Path],
    labels: FrameLabels | None,
    sigma: float,
    settings: dict[str, Any],
    detector: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the keys of ``auc_json.Evaluation`` but the warnings.

    Args:
        evaluation: Settings of the stage that compares.
        scored: Scores and maps of a frame-level detector.
        trivial: Scores that need no model.
        labels: Of the test clips, if they have any.
        sigma: Of the smoothing, in frames.
        settings: That made the scores, by section.
        detector: What is known of the object detector, where one was used.
    """
    maps = MapStore([scored])
    note = f"{evaluation['path']} has no labels for its test clips: scores only, no AUC"
    return {
        "trivial": {name: in_short(part, labels, sigma) for name, part in read_shards(trivial).items()},
        "frames": sum(maps.frames.values()),
        "clips": len(maps.frames),
        "repaired_frames": maps.repaired,
        "left_out_clips": evaluation.get("left_out_clips", {}),
        "labels": describe_labels(evaluation["layout"], evaluation["path"]),
        "protocol": record(DEFAULT, sigma),
        "protocols": {name: record(name, sigma) for name in PROTOCOLS},
        "settings": {**settings, "evaluation": evaluation["evaluation"]},
        "provenance": provenance(settings, detector or {}, data_of(scored, evaluation.get("labels", {}))),
        "note": note if labels is None else ABSENT,
    }
