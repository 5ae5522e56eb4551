"""The ablation as a picture: a line a variant, a dot and a bar a number."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vadistill.report.plots import ABNORMAL_COLOUR, DPI, STUDENT_COLOUR, TEXT_COLOUR, plain, save, title_of

LINE_INCHES = 0.3
NUMBERS = {"micro_auc": ("micro AUC", STUDENT_COLOUR, -0.13), "macro_auc": ("macro AUC", ABNORMAL_COLOUR, 0.13)}


def ablation_plot(path: str | Path, table: pd.DataFrame) -> None:
    """Draw mean and deviation of every variant, one panel a split.

    Args:
        path: Picture file.
        table: Columns ``variant``, ``split``, of each AUC (fractions) its mean and deviation (``_std``, NaN for a
            single run), and, where one of the variants is what the config says, ``configured``.
    """
    variants, splits = list(table["variant"].unique()), list(table["split"].unique())
    height = 0.9 + LINE_INCHES * len(variants)
    figure = Figure(figsize=(2.2 + 3.2 * len(splits), height), dpi=DPI, layout="constrained")
    grid = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for axes, split in zip(grid, splits, strict=True):
        rows = table[table["split"] == split].set_index("variant").reindex(variants)
        plain(axes)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
        for key, (label, colour, offset) in NUMBERS.items():
            style = {"fmt": "o", "markersize": 4, "elinewidth": 1.2, "color": colour, "label": label}
            spread = 100 * rows[f"{key}_std"].fillna(0)
            axes.errorbar(100 * rows[key], np.arange(len(variants)) + offset, xerr=spread, **style)
        axes.set_title(f"split {split}", loc="left", fontsize=9, color=TEXT_COLOUR)
        axes.set_xlabel("AUC in %, mean and deviation over seeds", fontsize=8)
    own = set(table.loc[table["configured"], "variant"]) if "configured" in table else set()
    names = [title_of(name) + (" (as configured)" if name in own else "") for name in variants]
    grid[0].set_yticks(range(len(variants)), names)
    grid[0].invert_yaxis()
    grid[0].legend(frameon=False, fontsize=7, labelcolor=TEXT_COLOUR)
    save(figure, path)
