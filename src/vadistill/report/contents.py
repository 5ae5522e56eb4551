"""The sections of the report, out of what a run has measured."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vadistill.evaluation.auc_json import Result
from vadistill.evaluation.localisation_json import LocalisationResult
from vadistill.evaluation.metrics import FrameLabels, FrameScores, auc
from vadistill.io.json_records import ABSENT
from vadistill.report import tables
from vadistill.report.page import Page, Picture, Section, picture
from vadistill.report.plots import loss_plot, score_plot, title_of
from vadistill.report.roc import clip_plot, roc_plot
from vadistill.settings import LEAST_FRAMES


@dataclass(frozen=True)
class Material:
    """What the report is made of.

    Attributes:
        result: Content of ``auc.json``.
        localisation: Content of ``localisation.json``, or None.
        scores: By detector and clip, (T,) smoothed frame scores; the student first.
        labels: (T,) of each clip, or None where the test clips have no labels.
        moments: Pictures of single frames.
        training: Records of every training, one an epoch, by the name of the model.
        timings: Of ``vadistill.report.run_files.read_timings``.
    """

    result: Result
    localisation: LocalisationResult | None
    scores: Mapping[str, FrameScores]
    labels: FrameLabels | None
    moments: Sequence[Picture]
    training: Mapping[str, Sequence[Mapping[str, Any]]]
    timings: pd.DataFrame


def page(material: Material) -> Page:
    """Return the page; without labels it has no numbers."""
    result = material.result
    lines = [f"{result.clips} test clips, {result.frames} frames. Labels: {result.labels}."]
    if result.note is not ABSENT:
        lines.append(result.note)
    lines += [f"Warning: {line}." for line in result.warnings]
    for clip, repaired in result.repaired_frames.items():
        lines.append(f"{clip}: {len(repaired)} images could not be decoded; their neighbours stand for them.")
    for clip, frames in result.left_out_clips.items():
        lines.append(
            f"The training clip {clip} has {frames} of the {LEAST_FRAMES} frames that are needed, and was left out."
        )
    sections = [_moments(material), _curves(material), _training(material), _run(material)]
    sections = [*_alarms(result), *_localisation(material), *sections]
    if material.labels is not None:
        lines.append(f"Protocol: {result.protocol['text']}, sigma {_sigma(result)} frames.")
        sections = [_numbers(material, material.labels), *sections]
        return Page(result.dataset, lines, tables.cards(result, material.localisation), _filled(sections))
    return Page(result.dataset, lines, (), _filled(sections))


def _filled(sections: Sequence[Section]) -> list[Section]:
    return [section for section in sections if section.tables or section.figures]


def drawn(draw: Callable[[Path], None], alt: str, caption: str = "") -> Picture:
    """Return what a function draws into the .svg file that it is given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.svg"
        draw(path)
        return picture(path.read_bytes(), ".svg", alt, caption)


def _sigma(result: Result) -> float:
    return result.protocol["smoothing"].get("sigma_frames", 0)


def _numbers(material: Material, labels: FrameLabels) -> Section:
    joined = {name: np.concatenate([by_clip[clip] for clip in labels]) for name, by_clip in material.scores.items()}
    truth = np.concatenate(list(labels.values()))
    student, teachers = material.result.student, material.result.teachers_mean
    pairs = {clip: (teachers.per_clip[clip].auc, own.auc) for clip, own in student.per_clip.items()}
    both = {clip: (one, other) for clip, (one, other) in pairs.items() if one is not None and other is not None}
    figures = []
    if student.micro_auc is not None:
        figures.append(drawn(lambda path: roc_plot(path, joined, truth), "ROC curves of the student and its teachers"))
    if both:
        figures.append(drawn(lambda path: clip_plot(path, both), "AUC of each clip, student against teachers"))
    skipped = student.skipped_clips
    text = f"{len(skipped)} clips have one class only and are left out of macro AUC: {', '.join(skipped)}."
    return Section(
        "numbers",
        "Accuracy",
        text if skipped else "",
        (tables.headline(material.result), tables.protocols(material.result)),
        [tables.gap(material.result), *tables.protocol_texts(material.result)],
        figures,
        "narrow",
    )


def _alarms(result: Result) -> list[Section]:
    if result.alarms is ABSENT:
        return []
    text = "At thresholds that normal video alone gave (alarms.json). An event is a run of abnormal frames."
    return [Section("alarms", "Events and alarms", text, (tables.alarms(result),))]


def _localisation(material: Material) -> list[Section]:
    if material.localisation is None:
        return []
    text = "Is the anomaly found where it is (RBDC), and followed (TBDC)? alpha = beta = 0.1."
    return [Section("localisation", "Localisation", text, (tables.regions(material.localisation),))]


def _moments(material: Material) -> Section:
    text = "The student's map as heat, the teachers' boxes, and the true anomaly outlined where it is known."
    if material.labels is not None:
        text += " Right or wrong by the threshold at which false alarms and misses are equally frequent."
    return Section("moments", "Hits, misses and false alarms", text, figures=material.moments, width="narrow")


def _curves(material: Material) -> Section:
    figures = []
    for clip in material.scores["student"]:
        curves = {name: by_clip[clip] for name, by_clip in material.scores.items()}
        truth = None if material.labels is None else material.labels[clip]
        aucs = {} if truth is None else {name: auc(curve, truth) for name, curve in curves.items()}
        figures.append(_curve(clip, curves, truth, aucs))
    made = (tables.clips(material.result),) if material.labels is not None else ()
    return Section("curves", "Score curves", "Every test clip; abnormal frames are shaded.", made, figures=figures)


def _curve(clip: str, curves: FrameScores, truth: np.ndarray | None, aucs: Mapping[str, float | None]) -> Picture:
    return drawn(lambda path: score_plot(path, clip, curves, truth, aucs), f"score curves of clip {clip}")


def _training(material: Material) -> Section:
    figures = [_losses(name, records) for name, records in material.training.items()]
    return Section("training", "Training", "One panel a quantity, one point an epoch.", figures=figures)


def _losses(name: str, records: Sequence[Mapping[str, Any]]) -> Picture:
    return drawn(lambda path: loss_plot(path, records), f"training curves of {name}", title_of(name))


def _run(material: Material) -> Section:
    made = (tables.timings(material.timings),) if len(material.timings) else ()
    return Section("run", "Settings, versions and times", tables=made, details=tables.settings(material.result))
