"""The page and the table that show frame-level detectors side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from vadistill.evaluation.auc_json import AucWithIntervals
from vadistill.evaluation.comparison import Compared
from vadistill.report.page import Page, Section, Table
from vadistill.report.plots import title_of
from vadistill.report.tables import DASH, interval, percent


@dataclass(frozen=True)
class Effort:
    """What a frame-level detector takes.

    Attributes:
        parameters: Numbers that it has learned.
        products: Multiply-accumulates of a frame; None of one that is no network.
        training: Seconds of the rules that train it alone (of the student, without its teachers); None where unknown.
        scoring: Seconds in which the test clips were scored, from the start of the process; None where unknown.
    """

    parameters: int
    products: int | None
    training: float | None
    scoring: float | None


def page(dataset: str, rows: Sequence[Compared], efforts: dict[str, Effort], frames: int, sigma: float) -> Page:
    """Return the page of a data set's detectors."""
    text = (
        f"Frame-level AUC in % of {frames} frames, smoothed with sigma {sigma:g} frames; 95 % intervals: bootstrap "
        "over clips, none below five clips. 'Ahead' is the difference from the first line, of the same draws of clips. "
        "'Together' is the mean of the ranks among all test frames."
    )
    auc = Section("auc", "Detectors", text, [_auc_table(rows)])
    effort = Section("effort", "What they take", "", [_effort_table(efforts, frames)])
    return Page(f"{dataset}: frame-level detectors side by side", sections=[auc, effort])


def table(rows: Sequence[Compared]) -> pd.DataFrame:
    """Return a row a score: fractions, intervals as two columns each."""
    made = []
    for row in rows:
        line: dict[str, object] = {"group": row.group, "name": row.name}
        for prefix, part in (("", row.auc), ("ahead_", row.ahead)):
            for kind in ("micro", "macro"):
                value = getattr(part, f"{kind}_auc") if part else None
                low, high = (getattr(part, f"{kind}_interval") if part else None) or (None, None)
                line |= {f"{prefix}{kind}_auc": value, f"{prefix}{kind}_low": low, f"{prefix}{kind}_high": high}
        made.append(line)
    return pd.DataFrame(made)


def _auc_table(rows: Sequence[Compared]) -> Table:
    columns = ("score", "micro AUC", "95 % interval", "ahead", "macro AUC", "95 % interval", "ahead")
    lines = []
    for row in rows:
        name = title_of(row.name) if row.group in ("detector", "together") else f"{row.group}: {title_of(row.name)}"
        cells = [name]
        for kind in ("micro", "macro"):
            cells += [
                percent(getattr(row.auc, f"{kind}_auc")),
                interval(getattr(row.auc, f"{kind}_interval")),
                _signed(row.ahead, kind),
            ]
        lines.append(cells)
    return Table(columns, lines, first_is_own=True)


def _signed(ahead: AucWithIntervals | None, kind: str) -> str:
    """Return a difference in points, with its interval."""
    value = getattr(ahead, f"{kind}_auc") if ahead else None
    if ahead is None or value is None:
        return DASH
    around = getattr(ahead, f"{kind}_interval")
    return f"{100 * value:+.1f}" + (f" ({interval(around)})" if around else "")


def _effort_table(efforts: dict[str, Effort], frames: int) -> Table:
    columns = ("detector", "numbers learned", "GMAC a frame", "training in s", "test frames scored in s", "frames/s")
    lines = []
    for name, effort in efforts.items():
        rate = DASH if not effort.scoring else f"{frames / effort.scoring:.0f}"
        lines.append(
            (
                title_of(name),
                f"{effort.parameters:,}",
                DASH if effort.products is None else f"{effort.products / 1e9:.2f}",
                *(DASH if value is None else f"{value:.0f}" for value in (effort.training, effort.scoring)),
                rate,
            )
        )
    caption = (
        "Training: of the student without its teachers. Scoring: stored frames, in the workflow, with the start of the "
        "process; 'vadistill benchmark' measures speed."
    )
    return Table(columns, lines, caption)
