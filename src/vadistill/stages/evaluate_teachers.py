"""Rule evaluate_teachers: what the teachers say about a split and its labels in, a table of AUC values out."""

import logging
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from vadistill.datasets.labels import kind_of, labels_of_boxes, labels_of_clips
from vadistill.errors import InputError
from vadistill.evaluation import results
from vadistill.evaluation.auc_tables import Entry, compare, percent
from vadistill.evaluation.fusion import mean_scores
from vadistill.io import frame_scores
from vadistill.io.files import whole_file
from vadistill.io.hdf5 import by_teacher
from vadistill.io.maps import MapStore
from vadistill.maps.calibration import Calibrator
from vadistill.settings import EvaluationConfig, section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def entries(args, settings: EvaluationConfig) -> Iterator[Entry]:
    """Yield every teacher, each of its terms alone, every set of teachers, and scores that need no model."""
    maps, calibrations = by_teacher(args.maps), results.read_calibrations(args.calibrations)
    levels: dict[str, dict[str, dict[str, np.ndarray]]] = {"object": {}, "filtered": {}, "map": {}}
    side, cell = settings.filter_size, settings.filter_cell
    averaged = {"filtered": f"{side} frames, {side} x {side} cells of {cell} pixels"}
    for teacher, files in by_teacher(args.scores).items():
        objects = results.scored_objects(files, Calibrator.from_json(calibrations[teacher]["score"]))
        store = MapStore(maps[teacher])
        resolutions = tuple(store.resolutions(store.clips()[0]))
        levels["object"][teacher] = results.highest(objects)
        levels["filtered"][teacher] = results.filtered(objects, cell, side)
        levels["map"][teacher] = mean_scores(results.map_maxima(store, resolutions).values())
        for level, scores in levels.items():
            yield Entry("teacher", teacher, level, scores[teacher], averaged.get(level, "none"))
        for term, fitted in calibrations[teacher]["single"].items():
            yield Entry("term", f"{teacher}.{term}", "object",
                        results.highest(results.scored_objects(files, Calibrator.from_json(fitted))))  # fmt: skip
    for count in range(2, len(calibrations) + 1):
        for names in combinations(levels["object"], count):
            for level, scores in levels.items():
                mean = mean_scores(scores[name] for name in names)
                yield Entry("together", "+".join(names), level, mean, averaged.get(level, "none"))
    for name, trivial in frame_scores.read_shards(args.trivial).items():
        yield Entry("trivial", name, "frame", trivial)


def main(args) -> None:
    """Write the table of one split."""
    settings = section("evaluation", args.settings["evaluation"])
    store = MapStore(args.maps)
    labels: dict[str, np.ndarray] | None
    if args.boxes:
        labels = labels_of_boxes(args.boxes)
        kinds = {clip: kind_of(clip) for clip in labels}
    else:
        labels, kinds = labels_of_clips(args.settings["layout"], args.settings["path"], store.frames), {}
    if labels is None:
        raise InputError(f"{args.settings['path']} has no labels for its test clips; expected them for a table of AUC")
    table = compare(entries(args, settings), labels, kinds, settings.smoothing_sigma)
    table.insert(0, "split", args.split)
    with whole_file(args.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5f")
    for row in table[(table.kind == "all") & table.group.isin(["teacher", "together"])].itertuples():
        log.info("%s, %s: micro %s, macro %s", row.name, row.level, percent(row.micro_auc), percent(row.macro_auc))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--split", required=True)
    add_paths(arguments, "output", many=("scores", "maps", "calibrations", "trivial"))
    arguments.add_argument("--boxes", type=Path, nargs="*", default=[])
    run(main, arguments)
