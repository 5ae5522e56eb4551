"""Rule evaluate_student: the student's scores of a split and its labels in, a table of AUC values out."""

import json
import logging
from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression

from vadistill.comparison import Entry, compare
from vadistill.data.labels import kind_of, labels_of_boxes, labels_of_clips
from vadistill.data.maps import MapStore
from vadistill.data.results import Scores, map_maxima, mean_ranks, mean_scores
from vadistill.data.store import attribute
from vadistill.errors import InputError
from vadistill.files import whole_file
from vadistill.report.summary import percent
from vadistill.settings import section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def entries(
    maxima: dict[int, Scores], known: dict[int, Scores] | None, truth: dict[str, np.ndarray]
) -> Iterator[Entry]:
    """Yield the frame score, that of each map alone, and what other fusions of the maps' maxima give.

    Args:
        maxima: The maps' maxima by resolution.
        known: Those of other clips, by which a weighted sum is fitted; None: there is no such sum.
        truth: Labels (T,) of these clips.
    """
    yield Entry("student", "student", "map", mean_scores(maxima.values()))
    for side, scores in maxima.items():
        yield Entry("student", "student", f"{side}x{side}", scores)
    yield Entry("student", "student", "ranks", mean_ranks(maxima.values()))
    if known:
        yield Entry("student", "student", "logistic", logistic(maxima, known, truth))


def logistic(maxima: dict[int, Scores], known: dict[int, Scores], truth: dict[str, np.ndarray]) -> Scores:
    """Return the sum of the maps' maxima that logistic regression fits to the labels (T,) of known clips."""
    columns = {clip: np.stack([part[clip] for part in known.values()], axis=1) for clip in truth}
    model = LogisticRegression(C=1e3, max_iter=1000)
    model.fit(np.concatenate(list(columns.values())), np.concatenate(list(truth.values())))
    clips = next(iter(maxima.values()))
    return {clip: model.decision_function(np.stack([part[clip] for part in maxima.values()], 1)) for clip in clips}


def main(args) -> None:
    """Write the table of one split."""
    settings = section("evaluation", args.settings["evaluation"])
    resolutions = section("maps", json.loads(attribute(args.student, "model_settings"))["maps"]).resolutions
    store, truth = MapStore([args.student]), labels_of_boxes(args.boxes)
    maxima = map_maxima(store, resolutions)
    if args.split == "validation":
        table = compare(entries(maxima, None, truth), truth, {c: kind_of(c) for c in truth}, settings.smoothing_sigma)
    else:
        labels = labels_of_clips(args.settings["layout"], args.settings["path"], store.frames)
        if labels is None:
            raise InputError(f"{args.settings['path']} has no labels for its test clips; expected them for AUC values")
        known = map_maxima(MapStore([args.validation]), resolutions)
        table = compare(entries(maxima, known, truth), labels, {}, settings.smoothing_sigma)
    table.insert(0, "split", args.split)
    with whole_file(args.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5f")
    for row in table[table.kind == "all"].itertuples():
        log.info("%s, %s: micro %s, macro %s", row.name, row.level, percent(row.micro_auc), percent(row.macro_auc))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--split", required=True)
    add_paths(arguments, "student", "validation", "output", many=("boxes",))
    run(main, arguments)
