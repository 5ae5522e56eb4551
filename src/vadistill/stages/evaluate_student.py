"""Rule evaluate_student: the student's scores of a split and its labels in, a table of AUC values out."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from vadistill.comparison import Entry, compare
from vadistill.data.labels import kind_of, labels_of_boxes, labels_of_clips
from vadistill.data.maps import MapStore
from vadistill.data.results import map_maxima, mean_ranks, mean_scores
from vadistill.data.store import attribute
from vadistill.errors import InputError
from vadistill.files import whole_file
from vadistill.report.summary import percent
from vadistill.settings import section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def entries(store: MapStore, resolutions: tuple[int, ...]) -> Iterator[Entry]:
    """Yield the frame score, that of each map alone, and the mean of the maps' ranks."""
    maxima = map_maxima(store, resolutions)
    yield Entry("student", "student", "map", mean_scores(maxima.values()))
    for side, scores in maxima.items():
        yield Entry("student", "student", f"{side}x{side}", scores)
    yield Entry("student", "student", "ranks", mean_ranks(maxima.values()))


def main(args) -> None:
    """Write the table of one split."""
    settings = section("evaluation", args.settings["evaluation"])
    resolutions = section("maps", json.loads(attribute(args.student, "model_settings"))["maps"]).resolutions
    store = MapStore([args.student])
    if args.boxes:
        labels = labels_of_boxes(args.boxes)
        kinds = {clip: kind_of(clip) for clip in labels}
    else:
        labels, kinds = labels_of_clips(args.settings["layout"], args.settings["path"], store.frames), {}
    if labels is None:
        raise InputError(f"{args.settings['path']} has no labels for its test clips; expected them for a table of AUC")
    table = compare(entries(store, resolutions), labels, kinds, settings.smoothing_sigma)
    table.insert(0, "split", args.split)
    with whole_file(args.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5f")
    for row in table[table.kind == "all"].itertuples():
        log.info("%s, %s: micro %s, macro %s", row.name, row.level, percent(row.micro_auc), percent(row.macro_auc))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--split", required=True)
    add_paths(arguments, "student", "output")
    arguments.add_argument("--boxes", type=Path, nargs="*", default=[])
    run(main, arguments)
