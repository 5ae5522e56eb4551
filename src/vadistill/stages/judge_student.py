"""Rule judge_student: scores of students in, their AUC by kinds of synthetic anomalies that they did not see out."""

import logging

from vadistill.datasets.labels import kind_of, labels_of_boxes
from vadistill.datasets.splits import source_of
from vadistill.errors import InputError
from vadistill.evaluation.auc_tables import percent
from vadistill.evaluation.judge import MEAN, Judged, judged, verdict
from vadistill.io.files import whole_file
from vadistill.io.maps import MapStore
from vadistill.settings import section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def main(args) -> None:
    """Write the table.

    ``groups`` of the settings names variant and kinds of each run, ``configured`` the variant that changes nothing.
    """
    sigma = section("evaluation", args.settings["evaluation"]).smoothing_sigma
    labels = labels_of_boxes(args.boxes)
    runs: dict[str, dict[str, list[Judged]]] = {}
    for path in args.scores:
        variant, _, kinds = args.settings["groups"][path.parents[2].name].rpartition(".")
        store = MapStore([path])
        for kind in kinds.split("+"):
            own = {clip: label for clip, label in labels.items() if kind_of(clip) == kind}
            if missing := sorted(own.keys() - set(store.clips())):
                raise InputError(f"{path}: no scores of the validation clip {missing[0]}; expected some of all clips")
            # By the clip that each was made of, so that all kinds and students have the same draws.
            scores = {source_of(clip): store.score(clip) for clip in own}
            truth = {source_of(clip): label for clip, label in own.items()}
            runs.setdefault(variant, {}).setdefault(kind, []).append(judged(scores, truth, sigma))
    table = verdict(runs, args.settings["configured"])
    with whole_file(args.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5f")
    for row in table[table.kind == MEAN].itertuples():
        log.info("%s: micro %s, macro %s", row.variant, percent(row.micro_auc), percent(row.macro_auc))


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("scores", "boxes"))
    run(main, arguments)
