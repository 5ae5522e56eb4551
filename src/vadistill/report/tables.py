"""What ``auc.json``, ``localisation.json`` and the timings of a run say, as tables of the report."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vadistill.evaluation.protocols import DEFAULT
from vadistill.report.page import Card, Detail, Table
from vadistill.report.plots import title_of

Result = Mapping[str, Any]
DASH = "–"


def percent(value: float | None) -> str:
    """Return a fraction in percent, a dash for None."""
    return DASH if value is None else f"{100 * value:.1f}"


def interval(values: Sequence[float] | None) -> str:
    """Return an interval of fractions in percent."""
    return DASH if values is None else f"{100 * values[0]:.1f} to {100 * values[1]:.1f}"


def detectors(result: Result) -> dict[str, Result]:
    """Return the records of the student, its teachers and their mean, by name."""
    return {"student": result["student"], **result["teachers"], "teachers_mean": result["teachers_mean"]}


def cards(result: Result, localisation: Result | None) -> list[Card]:
    """Return the student's numbers."""
    student = result["student"]
    made = [
        Card(f"student, {kind} AUC in %", percent(student[f"{kind}_auc"]), note(student.get(f"{kind}_interval")))
        for kind in ("micro", "macro")
    ]
    mean = result["teachers_mean"]
    both = f"{percent(mean['micro_auc'])} / {percent(mean['macro_auc'])}"
    made.append(Card("mean of teachers in %", both, "micro / macro AUC"))
    if localisation:
        found = localisation["detectors"]["student"]
        both = f"{percent(found['rbdc'])} / {percent(found['tbdc'])}"
        made.append(Card("student in %", both, "RBDC / TBDC"))
    return made


def note(values: Sequence[float] | None) -> str:
    """Return an interval as a note."""
    return "" if values is None else f"95 % interval {interval(values)}"


def headline(result: Result) -> Table:
    """Return the detectors and the scores that need no model, side by side."""
    columns = ("detector", "micro AUC", "95 % interval", "macro AUC", "95 % interval", "average precision", "EER")
    rows: list[tuple[str, ...]] = []
    for name, made in detectors(result).items():
        rows.append(
            (
                title_of(name),
                percent(made["micro_auc"]),
                interval(made["micro_interval"]),
                percent(made["macro_auc"]),
                interval(made["macro_interval"]),
                percent(made["average_precision"]),
                percent(made["equal_error_rate"]),
            )
        )
    for name, made in result["trivial"].items():
        trivial = (f"trivial: {title_of(name)}", percent(made["micro_auc"]), DASH, percent(made["macro_auc"]))
        rows.append((*trivial, *[DASH] * 3))
    return Table(
        columns,
        rows,
        "In %. Intervals: bootstrap over clips, none below five clips. EER: equal error rate.",
        first_is_own=True,
    )


def gap(result: Result) -> str:
    """Return the difference between the student and its teachers' mean as a sentence."""
    made = result["student_minus_teachers_mean"]
    parts = [
        f"{kind} {100 * made[f'{kind}_auc']:+.1f} ({interval(made[f'{kind}_interval'])})"
        for kind in ("micro", "macro")
        if made[f"{kind}_auc"] is not None
    ]
    return f"Student minus mean of its teachers, points of AUC with 95 % interval of the same draws: {', '.join(parts)}"


def protocols(result: Result) -> Table:
    """Return micro / macro AUC of every detector under every protocol."""
    names = list(result["protocols"])
    rows = []
    for detector, made in detectors(result).items():
        under = {DEFAULT: made, **made["protocols"]}
        pairs = [f"{percent(under[name]['micro_auc'])} / {percent(under[name]['macro_auc'])}" for name in names]
        rows.append((title_of(detector), *pairs))
    return Table(("micro / macro AUC in %", *names), rows, first_is_own=True)


def protocol_texts(result: Result) -> list[str]:
    """Return what each protocol does."""
    return [f"{name}: {made['text']}" for name, made in result["protocols"].items()]


def regions(localisation: Result) -> Table:
    """Return RBDC, TBDC and pixel-level AUC."""
    rows = [
        (title_of(name), percent(made["rbdc"]), percent(made["tbdc"]), percent(made.get("pixel_auc")))
        for name, made in localisation["detectors"].items()
    ]
    caption = (
        f"In %. {localisation['tracks']} tracks of {localisation['regions']} regions in {localisation['clips']} clips, "
        f"{localisation['frames']} frames. Ground truth: {localisation['truth']}."
    )
    return Table(("detector", "RBDC", "TBDC", "AUC of all pixels"), rows, caption, first_is_own=True)


def clips(result: Result) -> Table:
    """Return the AUC of every clip."""
    kinds = detectors(result)
    rows = [
        (
            clip,
            str(own["frames"]),
            str(own["abnormal_frames"]),
            *(percent(made["per_clip"][clip]["auc"]) for made in kinds.values()),
        )
        for clip, own in result["student"]["per_clip"].items()
    ]
    return Table(("clip", "frames", "abnormal", *map(title_of, kinds)), rows, "AUC in %; none for clips of one class.")


def timings(table: pd.DataFrame) -> Table:
    """Return the time and memory of each rule."""
    rows = [
        (row.rule, str(row.jobs), f"{row.seconds:.1f}", DASH if pd.isna(row.memory_mb) else f"{row.memory_mb:.0f}")
        for row in table.itertuples()
    ]
    total = ("all", str(table["jobs"].sum()), f"{table['seconds'].sum():.1f}", DASH)
    caption = (
        "Seconds of all jobs together, memory of the largest one in MB; jobs that ran for other data sets are not in."
    )
    return Table(("rule", "jobs", "seconds", "memory"), [*rows, total], caption)


def settings(result: Result) -> list[Detail]:
    """Return settings and versions, folded away."""
    return [
        Detail(name, json.dumps(result[key], indent=2))
        for name, key in (("Settings", "settings"), ("Versions, seeds and detector", "provenance"))
    ]
