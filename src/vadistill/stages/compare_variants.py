"""Rule compare_variants: the AUC tables of a data set and its variants in, mean and spread over seeds out."""

from vadistill.evaluation.auc_tables import read_tables, spread
from vadistill.io.files import whole_file
from vadistill.stages._run import add_paths, parser, run


def main(args) -> None:
    """Join the tables; ``groups`` of the settings names the group of each variant, in the order of the tables."""
    table = spread(read_tables(args.tables), dict(args.settings["groups"]))
    with whole_file(args.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5f")


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("tables",))
    run(main, arguments)
