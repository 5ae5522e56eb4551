"""Rule draw_pictures: a plot of scores against labels for every test clip, and frames with maps for a few of them."""

import logging
from pathlib import Path

import numpy as np

from vadistill.datasets.labels import frame_labels, read_labels
from vadistill.datasets.registry import read_clips
from vadistill.evaluation.metrics import auc, smooth
from vadistill.evaluation.results import TeacherResult, read_teachers
from vadistill.io.files import whole_folder
from vadistill.io.frames import frame_stores
from vadistill.io.maps import MapStore
from vadistill.report.plots import HIGH, loss_plot, map_strip, pick_times, score_plot
from vadistill.report.run_files import read_trainings
from vadistill.settings import section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)
STRIPS = 12  # clips shown with their maps


def draw_strip(path: Path, frames, scores: np.ndarray, labels, student: MapStore, teachers: dict[str, TeacherResult]):
    """Draw some telling frames of one clip with the finest maps of the student and its teachers."""
    clip, finest = frames.clip, (max(student.resolutions(frames.clip)),)
    times = pick_times(scores, None if labels is None else labels.frame)
    maps = {name: source.read(clip, finest)[finest[0]] for name, source in
            {"student": student, **{name: teacher.maps for name, teacher in teachers.items()}}.items()}  # fmt: skip
    objects = next(iter(teachers.values())).objects[clip]
    map_strip(
        path,
        clip,
        [frames.read(t) for t in times],
        times,
        {name: [grid[t] for t in times] for name, grid in maps.items()},
        [labels.mask[t] for t in times] if labels is not None and labels.mask is not None else None,
        [objects.box[objects.frame == t] for t in times],
        HIGH,
    )


def main(args) -> None:
    """Draw the pictures of every test clip."""
    sigma = section("evaluation", args.settings["evaluation"]).smoothing_sigma
    student, stores = MapStore([args.student]), frame_stores(args.frames)
    teachers = read_teachers(args.scores, args.maps, args.calibrations)
    scores = {"student": {clip: student.score(clip) for clip in stores}}
    scores |= {name: teacher.scores for name, teacher in teachers.items()}
    clips = {c.name: c for c in read_clips(args.settings["layout"], args.settings["path"]) if c.split == "test"}
    with whole_folder(args.output) as folder:
        for index, (clip, frames) in enumerate(stores.items()):
            truth = frame_labels(clips[clip], len(frames))
            curves = {name: smooth(by_clip[clip], sigma) for name, by_clip in scores.items()}
            aucs = {name: None if truth is None else auc(curve, truth) for name, curve in curves.items()}
            score_plot(folder / f"{clip}_scores.png", clip, curves, truth, aucs)
            if index < STRIPS:
                labels = read_labels(clips[clip], len(frames), (frames.height, frames.width))
                draw_strip(folder / f"{clip}_maps.png", frames, scores["student"][clip], labels, student, teachers)
            log.info("clip %s: drawn", clip)
        for name, records in read_trainings(args.student, args.calibrations).items():
            loss_plot(folder / f"training_{name}.png", records)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "student", "output", many=("frames", "scores", "maps", "calibrations"))
    run(main, arguments)
