"""Rules draw_pictures, draw_detector_pictures: scores against labels of every test clip, frames with maps of a few."""

import logging
from pathlib import Path

import numpy as np

from vadistill.datasets.labels import ClipLabels, frame_labels, read_labels
from vadistill.datasets.registry import read_clips
from vadistill.evaluation.metrics import auc, smooth
from vadistill.evaluation.results import read_teachers
from vadistill.geometry.scored_objects import ScoredObjects, no_objects
from vadistill.io.files import whole_folder
from vadistill.io.frames import FrameStore, frame_stores
from vadistill.io.maps import MapStore
from vadistill.report.heat import heat_of
from vadistill.report.plots import HIGH, loss_plot, map_strip, pick_times, score_plot
from vadistill.report.run_files import read_trainings
from vadistill.settings import section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run

log = logging.getLogger(__name__)
STRIPS = 12  # clips shown with their maps


def draw_strip(
    path: Path,
    frames: FrameStore,
    scores: np.ndarray,
    labels: ClipLabels | None,
    maps: dict[str, MapStore],
    objects: ScoredObjects,
) -> None:
    """Draw some telling frames of one clip with the finest maps of the detector, the first one, and its teachers."""
    clip = frames.clip
    times = pick_times(scores, None if labels is None else labels.frame)
    detector, *teachers = maps
    grids = {detector: heat_of(maps[detector], clip, detector)}
    side = grids[detector].shape[1]
    grids |= {name: maps[name].read(clip, (side,))[side] for name in teachers}
    map_strip(
        path,
        clip,
        [frames.read(t) for t in times],
        times,
        {name: [grid[t] for t in times] for name, grid in grids.items()},
        [labels.mask[t] for t in times] if labels is not None and labels.mask is not None else None,
        [objects.box[objects.frame == t] for t in times],
        HIGH,
    )


def main(args) -> None:
    """Draw the pictures of every test clip."""
    sigma = section("evaluation", args.settings["evaluation"]).smoothing_sigma
    own, stores = MapStore([args.scores]), frame_stores(args.frames)
    teachers = read_teachers(args.objects, args.maps, args.calibrations)
    maps = {args.detector: own, **{name: teacher.maps for name, teacher in teachers.items()}}
    scores = {args.detector: {clip: own.score(clip) for clip in stores}}
    scores |= {name: teacher.scores for name, teacher in teachers.items()}
    clips = {c.name: c for c in read_clips(args.settings["layout"], args.settings["path"]) if c.split == "test"}
    with whole_folder(args.output) as folder:
        for index, (clip, frames) in enumerate(stores.items()):
            truth = frame_labels(clips[clip], len(frames))
            curves = {name: smooth(by_clip[clip], sigma) for name, by_clip in scores.items()}
            aucs = {name: None if truth is None else auc(curve, truth) for name, curve in curves.items()}
            score_plot(folder / f"{clip}_scores.png", clip, curves, truth, aucs)
            if index < STRIPS:
                size = frames.height, frames.width
                labels = read_labels(clips[clip], len(frames), size)
                objects = next((teacher.objects[clip] for teacher in teachers.values()), no_objects(len(frames), size))
                draw_strip(folder / f"{clip}_maps.png", frames, scores[args.detector][clip], labels, maps, objects)
            log.info("clip %s: drawn", clip)
        for name, records in read_trainings(args.scores, args.calibrations).items():
            loss_plot(folder / f"training_{name}.png", records)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--detector", required=True)
    add_paths(arguments, "scores", "output", many=("frames",))
    add_optional_paths(arguments, "objects", "maps", "calibrations")
    run(main, arguments)
