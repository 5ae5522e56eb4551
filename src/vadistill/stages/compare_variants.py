"""Rule compare_variants: the AUC tables of a data set and its variants in, mean and spread over seeds out."""

import pandas as pd

from vadistill.comparison import spread
from vadistill.files import whole_file
from vadistill.stages._run import add_paths, parser, run


def main(args) -> None:
    """Join the tables; ``groups`` of the settings names the group of each variant, in the order of the tables."""
    tables: dict[str, pd.DataFrame] = {}
    groups = dict(args.settings["groups"])
    for path in args.tables:
        name = path.parent.name
        tables[name] = pd.concat([*([tables[name]] if name in tables else []), pd.read_csv(path)])
    with whole_file(args.output) as temporary:
        spread(tables, groups).to_csv(temporary, index=False, float_format="%.5f")


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("tables",))
    run(main, arguments)
