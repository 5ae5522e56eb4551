"""Rule evaluate_student: the student's scores of a split and its labels in, a table of AUC values out."""

import logging
from collections.abc import Iterator

import numpy as np

from vadistill.datasets.labels import kind_of, labels_of_boxes, labels_of_clips
from vadistill.datasets.splits import source_of
from vadistill.errors import InputError
from vadistill.evaluation.auc_tables import Entry, compare, percent
from vadistill.evaluation.fusion import fitted_sum, mean_ranks
from vadistill.evaluation.metrics import FrameScores
from vadistill.evaluation.results import map_maxima
from vadistill.io.files import whole_file
from vadistill.io.hdf5 import json_attribute
from vadistill.io.maps import MapStore
from vadistill.settings import section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run

log = logging.getLogger(__name__)
Maxima = dict[int, FrameScores]  # of the maps, by resolution


def entries(scores: FrameScores, maxima: Maxima, fitted: FrameScores | None) -> Iterator[Entry]:
    """Yield the frame score, that of each map alone, and other fusions of the maps' maxima, where there are maxima."""
    yield Entry("student", "student", "map", scores)
    if not maxima:
        return
    for side, part in maxima.items():
        yield Entry("student", "student", f"{side}x{side}", part)
    yield Entry("student", "student", "ranks", mean_ranks(maxima.values()))
    if fitted:
        yield Entry("student", "student", "logistic", fitted)


def fitted_without_itself(maxima: Maxima, truth: dict[str, np.ndarray]) -> FrameScores | None:
    """Return logistic fusions of the map maxima, each fitted without its own source clip; None with a single source."""
    sources = {source_of(clip) for clip in truth}
    if len(sources) < 2:
        return None
    made: FrameScores = {}
    for source in sources:
        own = [clip for clip in truth if source_of(clip) == source]
        parts = {side: {clip: part[clip] for clip in own} for side, part in maxima.items()}
        made |= fitted_sum(parts, maxima, {clip: label for clip, label in truth.items() if clip not in own})
    return made


def main(args) -> None:
    """Write the table of one split."""
    settings = section("evaluation", args.settings["evaluation"])
    used = json_attribute(args.student, "model_settings")
    # With surprise all maps are the finest one's maxima: there is nothing to fuse.
    resolutions = () if "surprise" in used else section("maps", used["maps"]).resolutions
    store, truth = MapStore([args.student]), labels_of_boxes(args.boxes)
    maxima = map_maxima(store, resolutions)
    labels: dict[str, np.ndarray] | None
    if args.split == "validation":
        labels, kinds = truth, {clip: kind_of(clip) for clip in truth}
        fitted = fitted_without_itself(maxima, truth) if maxima else None
    else:
        labels, kinds = labels_of_clips(args.settings["layout"], args.settings["path"], store.frames), {}
        fitted = (
            fitted_sum(maxima, map_maxima(MapStore(args.validation), resolutions), truth) if truth and maxima else None
        )
    if labels is None:
        raise InputError(f"{args.settings['path']} has no labels for its test clips; expected them for a table of AUC")
    scores = {clip: store.score(clip) for clip in store.clips()}
    table = compare(entries(scores, maxima, fitted), labels, kinds, settings.smoothing_sigma)
    table.insert(0, "split", args.split)
    with whole_file(args.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5f")
    for row in table[table.kind == "all"].itertuples():
        log.info("%s, %s: micro %s, macro %s", row.name, row.level, percent(row.micro_auc), percent(row.macro_auc))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--split", required=True)
    add_paths(arguments, "student", "output")
    add_optional_paths(arguments, "validation", "boxes")
    run(main, arguments)
