"""Rule compare_detector_ablation: auc.json of all runs of a detector's ablation in, mean and spread a variant out."""

import logging

import pandas as pd

from vadistill.errors import InputError
from vadistill.evaluation.auc_json import DetectorResult
from vadistill.evaluation.auc_tables import NUMBERS
from vadistill.io.files import whole_file
from vadistill.report.ablation import ablation_plot
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def main(args) -> None:
    """Join the runs; ``groups`` of the settings names the variant of each."""
    groups, rows = dict(args.settings["groups"]), []
    for path in args.results:
        result = DetectorResult.read(path)
        numbers = {name: getattr(result.scores, name) for name in NUMBERS}
        if None in numbers.values():
            raise InputError(f"{path}: has no AUC; expected test clips with labels, and frames of both classes")
        rows.append({"variant": groups[result.dataset], **numbers})
    grouped = pd.DataFrame(rows).groupby("variant", sort=False)
    table = grouped.mean().join(grouped.std().add_suffix("_std")).assign(runs=grouped.size()).reset_index()
    table.insert(1, "split", "test")
    with whole_file(args.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5f")
    ablation_plot(args.plot, table)
    log.info("%d variants, %d runs", len(table), len(rows))


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", "plot", many=("results",))
    run(main, arguments)
