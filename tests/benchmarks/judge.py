"""Does the split validation rank scores as the test split does? Rank correlation over all scores of the tables.

    PYTHONPATH=src:tests python -m benchmarks.judge results/demo

It reads teachers_validation.csv and teachers_test.csv: every teacher, each of its terms where it has several, and every
trivial score.
"""

import sys
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from vadistill.datasets.synthetic.vehicles import DRAWN
from vadistill.settings.data import JUDGING_KINDS, LEARNED_KINDS

KINDS = {
    "learned": LEARNED_KINDS,
    "replayed": ("hurried", "halting", "turning"),
    "drawn": tuple(DRAWN),
    "large, several and occluded": ("oversized", "several", "occluded"),
}
GROUPS, LEVELS = ("teacher", "term", "trivial"), ("object", "frame")


def scores(table: Path) -> pd.DataFrame:
    """Return the mean of micro and macro AUC, a row a score and a column a kind of anomaly."""
    rows = pd.read_csv(table)
    rows = rows[rows.group.isin(GROUPS) & rows.level.isin(LEVELS)]
    rows = rows.assign(auc=(rows.micro_auc + rows.macro_auc) / 2)
    teacher = rows.name.str.partition(".")[0]
    terms = teacher[(rows.group == "term") & (rows.kind == "all")].value_counts()
    rows = rows[(rows.group != "term") | (teacher.map(terms) > 1)]  # a single term is the teacher once more
    return rows.pivot_table(index=["group", "name"], columns="kind", values="auc")


def agreement(validation: pd.DataFrame, test: pd.Series) -> pd.Series:
    """Return Spearman's rank correlation of each kind of anomaly, and of their mean, with the test split."""
    kinds = validation.drop(columns="all")
    judged = {kind: kinds[kind] for kind in kinds}
    groups = {f"the {name}": some for name, some in KINDS.items()}
    groups |= {"the default": JUDGING_KINDS, "all kinds": tuple(kinds)}
    for name, some in groups.items():
        if used := sorted({*some} & {*kinds}):
            judged[f"mean of {name}"] = kinds[used].mean(axis=1)
    return pd.Series({name: spearmanr(values.loc[test.index], test).statistic for name, values in judged.items()})


def main(results: Path) -> None:
    """Print the correlations."""
    validation, test = (scores(results / f"teachers_{split}.csv") for split in ("validation", "test"))
    both = test["all"].dropna()
    both = both[both.index.isin(validation.dropna().index)]
    print(f"{len(both)} scores")
    print(agreement(validation, both).round(2).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
