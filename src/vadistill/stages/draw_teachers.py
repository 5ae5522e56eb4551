"""Rule draw_teachers: score curves of every test clip, and the frames on which the teachers together are most wrong."""

import logging

from vadistill.datasets.labels import frame_labels, read_labels
from vadistill.datasets.registry import read_clips
from vadistill.evaluation.fusion import mean_scores
from vadistill.evaluation.metrics import auc, smooth
from vadistill.evaluation.results import ObjectsByClip, highest, mean_objects, objects_by_teacher
from vadistill.io.files import whole_folder
from vadistill.io.frames import frame_stores
from vadistill.report.mistakes import Panel, mistake_sheet, rank_in_clip, worst
from vadistill.report.plots import score_plot
from vadistill.settings import section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)
TOGETHER = "together"


def panels(
    places: list[tuple[str, int]], scores: dict, objects: dict[str, ObjectsByClip], stores: dict, clips: dict
) -> list:
    """Return the frames of a sheet; each object has the mean of the teachers' calibrated scores."""
    made = []
    for clip, t in places:
        store = stores[clip]
        found = mean_objects({name: by_clip[clip] for name, by_clip in objects.items()})
        here = found.frame == t
        labels = read_labels(clips[clip], len(store), (store.height, store.width))
        mask = None if labels is None or labels.mask is None else labels.mask[t]
        rank = rank_in_clip(scores[clip], t)
        made.append(Panel(clip, t, scores[clip][t], rank, store.read(t), found.box[here], found.score[here], mask))
    return made


def main(args) -> None:
    """Draw the teachers of a data set, before any student is trained."""
    sigma = section("evaluation", args.settings["evaluation"]).smoothing_sigma
    stores, objects = frame_stores(args.frames), objects_by_teacher(args.scores, args.calibrations)
    raw = {name: highest(by_clip) for name, by_clip in objects.items()}
    raw[TOGETHER] = mean_scores(list(raw.values()))
    clips = {c.name: c for c in read_clips(args.settings["layout"], args.settings["path"]) if c.split == "test"}
    labels = {clip: frame_labels(clips[clip], len(store)) for clip, store in stores.items()}
    with whole_folder(args.output) as folder:
        for clip in stores:
            curves = {name: smooth(scores[clip], sigma) for name, scores in raw.items()}
            truth = labels[clip]
            aucs = {} if truth is None else {name: auc(curve, truth) for name, curve in curves.items()}
            score_plot(folder / f"{clip}_scores.png", clip, curves, truth, aucs)
        log.info("%d clips drawn", len(stores))
        known = {clip: truth for clip, truth in labels.items() if truth is not None}
        if len(known) < len(labels):
            log.warning("%s has no labels: no false alarms and misses to draw", args.settings["path"])
            return
        smoothed = {clip: smooth(scores, sigma) for clip, scores in raw[TOGETHER].items()}
        for name, places in zip(("false_alarms", "misses"), worst(smoothed, known), strict=True):
            title = f"{name.replace('_', ' ')} of {', '.join(objects)}"
            if places:
                mistake_sheet(folder / f"{name}.png", title, panels(places, smoothed, objects, stores, clips))


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("frames", "scores", "calibrations"))
    run(main, arguments)
