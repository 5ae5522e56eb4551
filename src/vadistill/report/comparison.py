"""The page and the table that show frame-level detectors side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vadistill.evaluation.auc_json import AucWithIntervals
from vadistill.evaluation.comparison import Compared
from vadistill.evaluation.metrics import FrameLabels, FrameScores, auc
from vadistill.report.contents import drawn
from vadistill.report.page import Page, Section, Table
from vadistill.report.plots import loss_plot, score_plot, title_of
from vadistill.report.tables import DASH, interval, percent

PLACES = ("rbdc", "tbdc")


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

    def rate(self, frames: int) -> float | None:
        """Return the frames a second that were scored, of so many test frames; None where unknown."""
        return frames / self.scoring if self.scoring else None


def page(
    dataset: str,
    rows: Sequence[Compared],
    efforts: dict[str, Effort],
    frames: int,
    sigma: float,
    pictures: Sequence[Section],
) -> Page:
    """Return the page of a data set's detectors, of their numbers and of sections with pictures."""
    text = (
        f"Frame-level AUC in % of {frames} frames, smoothed with sigma {sigma:g} frames; 95 % intervals: bootstrap "
        "over clips, none below five clips. 'Ahead' is the difference from the first line, of the same draws of clips. "
        "'Together' is the mean of the ranks among all test frames."
    )
    auc = Section("auc", "Detectors", text, [_auc_table(rows)])
    effort = Section("effort", "What they take", "", [_effort_table(efforts, frames)])
    return Page(f"{dataset}: frame-level detectors side by side", sections=[auc, effort, *pictures])


def curve_pictures(curves: Mapping[str, FrameScores], labels: FrameLabels) -> Section:
    """Return the score curves of every clip, by detector."""
    figures = []
    for clip, truth in labels.items():
        drawing = partial(
            _draw_curves, clip=clip, truth=truth, curves={name: own[clip] for name, own in curves.items()}
        )
        figures.append(drawn(drawing, f"score curves of clip {clip}"))
    text = "Every detector's rank among all test frames, smoothed, as their scores have scales of their own."
    return Section("curves", "Score curves", f"{text} Abnormal frames are shaded.", figures=figures)


def _draw_curves(path: Path, clip: str, truth: np.ndarray, curves: FrameScores) -> None:
    score_plot(path, clip, curves, truth, {name: auc(curve, truth) for name, curve in curves.items()})


def training_pictures(trainings: Mapping[str, Sequence[Mapping[str, Any]]]) -> Section:
    """Return the training curves of every detector, by its name and that of the model."""
    figures = [
        drawn(partial(loss_plot, metrics_jsonl_records=records), f"training curves of {name}", title_of(name))
        for name, records in trainings.items()
    ]
    return Section("training", "Training", "One panel a quantity, one point an epoch.", figures=figures)


def table(rows: Sequence[Compared], efforts: Mapping[str, Effort], frames: int) -> pd.DataFrame:
    """Return a row a score: fractions, intervals as two columns each; of detectors also what they take.

    Args:
        rows: The scores.
        efforts: Of the detectors, by name.
        frames: Number of test frames.
    """
    made = []
    for row in rows:
        line: dict[str, object] = {"group": row.group, "name": row.name}
        for prefix, part in (("", row.auc), ("ahead_", row.ahead)):
            for kind in ("micro", "macro"):
                value = getattr(part, f"{kind}_auc") if part else None
                low, high = (getattr(part, f"{kind}_interval") if part else None) or (None, None)
                line |= {f"{prefix}{kind}_auc": value, f"{prefix}{kind}_low": low, f"{prefix}{kind}_high": high}
        line |= {name: getattr(row.regions, name, None) for name in PLACES}
        effort = efforts.get(row.name) if row.group == "detector" else None
        line |= {key: getattr(effort, key, None) for key in ("parameters", "products", "training")}
        made.append(line | {"frames_per_second": effort and effort.rate(frames)})
    return pd.DataFrame(made).convert_dtypes()


def _auc_table(rows: Sequence[Compared]) -> Table:
    columns = ("score", *("micro AUC", "95 % interval", "ahead"), *("macro AUC", "95 % interval", "ahead"))
    places = PLACES if any(row.regions for row in rows) else ()
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
        lines.append([*cells, *(percent(getattr(row.regions, name, None)) for name in places)])
    return Table((*columns, *(name.upper() for name in places)), lines, first_is_own=True)


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
        rate = effort.rate(frames)
        lines.append(
            (
                title_of(name),
                f"{effort.parameters:,}",
                DASH if effort.products is None else f"{effort.products / 1e9:.2f}",
                *(DASH if value is None else f"{value:.0f}" for value in (effort.training, effort.scoring)),
                DASH if rate is None else f"{rate:.0f}",
            )
        )
    caption = (
        "Training: of the student without its teachers. Scoring: stored frames, in the workflow, with the start of the "
        "process; 'vadistill benchmark' measures speed."
    )
    return Table(columns, lines, caption)
