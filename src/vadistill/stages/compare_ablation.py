"""Rule compare_ablation: the students' AUC tables of all runs in, mean and spread of each variant and a plot out."""

import logging

from vadistill.evaluation.auc_tables import PROTOCOL, read_tables, spread
from vadistill.io.files import whole_file
from vadistill.report.ablation import ablation_plot
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)
KEPT = ["variant", "split", "micro_auc", "micro_auc_std", "macro_auc", "macro_auc_std", "runs", *PROTOCOL]


def main(args) -> None:
    """Join the lines of frame scores.

    ``groups`` of the settings names the variant of each run, ``configured`` the one that changes nothing.
    """
    joined = spread(read_tables(args.tables), dict(args.settings["groups"]))
    table = joined.loc[(joined["kind"] == "all") & (joined["level"] == "map"), KEPT]
    table.insert(1, "configured", table["variant"] == args.settings["configured"])
    with whole_file(args.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5f")
    ablation_plot(args.plot, table)
    log.info("%d variants, %d runs", table["variant"].nunique(), len(args.settings["groups"]))


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", "plot", many=("tables",))
    run(main, arguments)
