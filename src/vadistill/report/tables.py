"""What ``auc.json``, ``localisation.json`` and the timings of a run say, as tables of the report."""

import json
from collections.abc import Sequence

import pandas as pd

from vadistill.evaluation.auc_json import Auc, DetectorAuc, Result
from vadistill.evaluation.localisation_json import LocalisationResult
from vadistill.evaluation.protocols import DEFAULT
from vadistill.io.json_records import ABSENT
from vadistill.report.page import Card, Detail, Table
from vadistill.report.plots import title_of

DASH = "–"


def percent(value: float | None) -> str:
    """Return a fraction in percent, a dash for None."""
    return DASH if value is None else f"{100 * value:.1f}"


def interval(values: Sequence[float] | None) -> str:
    """Return an interval of fractions in percent."""
    return DASH if values is None else f"{100 * values[0]:.1f} to {100 * values[1]:.1f}"


def detectors(result: Result) -> dict[str, DetectorAuc]:
    """Return the numbers of the student, its teachers and their mean, by name."""
    return {"student": result.student, **result.teachers, "teachers_mean": result.teachers_mean}


def cards(result: Result, localisation: LocalisationResult | None) -> list[Card]:
    """Return the student's numbers."""
    student = result.student
    made = [
        Card("student, micro AUC in %", percent(student.micro_auc), note(student.micro_interval)),
        Card("student, macro AUC in %", percent(student.macro_auc), note(student.macro_interval)),
        Card("mean of teachers in %", pair(result.teachers_mean), "micro / macro AUC"),
    ]
    if localisation:
        found = localisation.detectors["student"]
        both = f"{percent(found.rbdc)} / {percent(found.tbdc)}"
        made.append(Card("student in %", both, "RBDC / TBDC"))
    return made


def pair(made: Auc) -> str:
    """Return micro and macro AUC in percent."""
    return f"{percent(made.micro_auc)} / {percent(made.macro_auc)}"


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
                percent(made.micro_auc),
                interval(made.micro_interval),
                percent(made.macro_auc),
                interval(made.macro_interval),
                percent(made.average_precision),
                percent(made.equal_error_rate),
            )
        )
    for name, short in result.trivial.items():
        trivial = (f"trivial: {title_of(name)}", percent(short.micro_auc), DASH, percent(short.macro_auc))
        rows.append((*trivial, *[DASH] * 3))
    return Table(
        columns,
        rows,
        "In %. Intervals: bootstrap over clips, none below five clips. EER: equal error rate.",
        first_is_own=True,
    )


def gap(result: Result) -> str:
    """Return the difference between the student and its teachers' mean as a sentence."""
    made = result.student_minus_teachers_mean
    both = {"micro": (made.micro_auc, made.micro_interval), "macro": (made.macro_auc, made.macro_interval)}
    parts = [
        f"{kind} {100 * value:+.1f} ({interval(around)})" for kind, (value, around) in both.items() if value is not None
    ]
    return f"Student minus mean of its teachers, points of AUC with 95 % interval of the same draws: {', '.join(parts)}"


def protocols(result: Result) -> Table:
    """Return micro / macro AUC of every detector under every protocol."""
    names = list(result.protocols)
    rows = []
    for detector, made in detectors(result).items():
        under: dict[str, Auc] = {DEFAULT: made, **made.protocols}
        rows.append((title_of(detector), *(pair(under[name]) for name in names)))
    return Table(("micro / macro AUC in %", *names), rows, first_is_own=True)


def protocol_texts(result: Result) -> list[str]:
    """Return what each protocol does."""
    return [f"{name}: {made['text']}" for name, made in result.protocols.items()]


def regions(localisation: LocalisationResult) -> Table:
    """Return RBDC, TBDC and pixel-level AUC."""
    rows = [
        (
            title_of(name),
            percent(made.rbdc),
            percent(made.tbdc),
            DASH if made.pixel_auc is ABSENT else percent(made.pixel_auc),
        )
        for name, made in localisation.detectors.items()
    ]
    caption = (
        f"In %. {localisation.tracks} tracks of {localisation.regions} regions in {localisation.clips} clips, "
        f"{localisation.frames} frames. Ground truth: {localisation.truth}."
    )
    return Table(("detector", "RBDC", "TBDC", "AUC of all pixels"), rows, caption, first_is_own=True)


def alarms(result: Result) -> Table:
    """Return how the student's alarms fit the events, at each threshold."""
    rows = [
        (
            wanted,
            f"{made.threshold:.3g} ({made.method.replace('_', ' ')})",
            f"{made.found_events} of {made.events}",
            str(made.false_alarms),
            DASH if made.false_alarms_per_hour is None else f"{made.false_alarms_per_hour:.3g}",
            DASH if made.delay_s is None else f"{made.delay_s['median']:.1f}",
        )
        for wanted, made in result.alarms.items()
    ]
    hours = next(iter(result.alarms.values())).normal_hours
    caption = f"False alarms are of {60 * hours:.3g} minutes of normal test frames."
    head = ("false alarms a day, at most", "threshold", "found events", "false alarms", "an hour", "median delay, s")
    return Table(head, rows, caption)


def clips(result: Result) -> Table:
    """Return the AUC of every clip."""
    kinds = detectors(result)
    rows = [
        (
            clip,
            str(own.frames),
            str(own.abnormal_frames),
            *(percent(made.per_clip[clip].auc) for made in kinds.values()),
        )
        for clip, own in result.student.per_clip.items()
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
        Detail("Settings", json.dumps(result.settings, indent=2)),
        Detail("Versions, seeds and detector", json.dumps(result.provenance, indent=2)),
    ]
