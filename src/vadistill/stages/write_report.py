"""Rule write_report: everything that is known of a data set in, one self-contained page out."""

import logging

import cv2
import numpy as np

from vadistill.datasets.labels import labels_of_clips, read_labels
from vadistill.datasets.registry import read_clips
from vadistill.evaluation.auc_json import Result
from vadistill.evaluation.fusion import mean_scores
from vadistill.evaluation.localisation_json import LocalisationResult
from vadistill.evaluation.metrics import FrameLabels, FrameScores, equal_error_threshold, smooth
from vadistill.evaluation.results import ObjectsByClip, highest, objects_by_teacher
from vadistill.io.frames import frame_stores
from vadistill.io.maps import MapStore
from vadistill.report.contents import Material, page
from vadistill.report.mistakes import extreme
from vadistill.report.overlays import Overlay, findings_of
from vadistill.report.page import Picture, picture, write_page
from vadistill.report.run_files import read_timings, read_trainings
from vadistill.settings import section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run

log = logging.getLogger(__name__)
SHOWN = 6  # frames of each kind
# What is shown: of abnormal frames or of normal ones, the highest scores or the lowest.
MOMENTS = {"hit": (True, True), "miss": (True, False), "false alarm": (False, True)}


def moments(
    args, scores: FrameScores, labels: FrameLabels | None, student: MapStore, teachers: dict[str, ObjectsByClip]
) -> list[Picture]:
    """Return the student's most confident hits, misses and false alarms; without labels its highest frames."""
    stores, sigma = frame_stores(args.frames), section("evaluation", args.settings["evaluation"]).smoothing_sigma
    clips = {c.name: c for c in read_clips(args.settings["layout"], args.settings["path"]) if c.split == "test"}
    truth = labels or {clip: np.zeros(len(values)) for clip, values in scores.items()}
    threshold = equal_error_threshold(*(np.concatenate([part[clip] for clip in scores]) for part in (scores, truth)))
    made = []
    for kind, (abnormal, high) in (MOMENTS if labels else {"alarm": (False, True)}).items():
        for clip, t in extreme(scores, truth, abnormal, high, count=SHOWN):
            if threshold is not None and (scores[clip][t] >= threshold) != high:
                continue
            known = read_labels(clips[clip], len(stores[clip]), (stores[clip].height, stores[clip].width))
            overlay = Overlay(clip, findings_of(stores[clip], student, teachers, sigma, known))
            _, content = cv2.imencode(".jpg", overlay.lay_over(t, stores[clip].read(t)), [cv2.IMWRITE_JPEG_QUALITY, 88])
            caption = f"{kind}: {clip}, frame {t}, score {scores[clip][t]:.2f}{overlay.place_of_peak(t)}"
            made.append(picture(content.tobytes(), ".jpg", caption, caption))
    return made


def main(args) -> None:
    """Write the report of one data set."""
    sigma = section("evaluation", args.settings["evaluation"]).smoothing_sigma
    student, teachers = MapStore([args.student]), objects_by_teacher(args.scores, args.calibrations)
    labels = labels_of_clips(args.settings["layout"], args.settings["path"], student.frames)
    raw = {"student": {clip: student.score(clip) for clip in student.clips()}}
    raw |= {name: highest(objects) for name, objects in teachers.items()}
    raw["teachers_mean"] = mean_scores([raw[name] for name in teachers])
    scores = {name: {clip: smooth(part, sigma) for clip, part in by_clip.items()} for name, by_clip in raw.items()}
    material = Material(
        Result.read(args.result),
        LocalisationResult.read(args.localisation[0]) if args.localisation else None,
        scores,
        labels,
        moments(args, scores["student"], labels, student, teachers),
        read_trainings(args.student, args.calibrations),
        read_timings(args.output.parent / "benchmarks"),
    )
    write_page(args.output, page(material))
    log.info("%s: %.1f MB", args.output, args.output.stat().st_size / 1e6)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "result", "student", "output", many=("frames", "scores", "calibrations"))
    add_optional_paths(arguments, "localisation")
    run(main, arguments)
