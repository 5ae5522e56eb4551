"""ROC curves of several detectors, and their AUC clip by clip."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from vadistill.evaluation.metrics import auc
from vadistill.report.plots import DPI, STUDENT, STUDENT_COLOUR, TEXT_COLOUR, colours_of, plain, save, title_of

SIDE = 4.6  # inches
NAMED = 5  # clips with the largest differences are named


def roc_plot(path: str | Path, scores: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
    """Draw the ROC curve of each detector over all frames.

    Args:
        path: Picture file.
        scores: (T,) scores of all frames by detector.
        labels: (T,) their labels, of both classes.
    """
    figure = Figure(figsize=(SIDE, SIDE), dpi=DPI, layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    plain(axes)
    axes.plot((0, 1), (0, 1), color="#bbbbbb", linewidth=0.8, linestyle=":")
    shades = colours_of(scores)
    for name, values in scores.items():
        false, true, _ = roc_curve(labels, values)
        area = auc(values, labels)
        assert area is not None  # there are labels of both classes
        label = f"{title_of(name)}, {100 * area:.1f} %"
        width = 2.2 if name == STUDENT else 1.1
        axes.plot(false, true, color=shades[name], linewidth=width, label=label, zorder=3 if name == STUDENT else 2.5)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="false alarms, share of normal frames", ylabel="detected abnormal frames")
    axes.legend(loc="lower right", frameon=False, fontsize=8, labelcolor=TEXT_COLOUR)
    axes.set_title("All frames, micro AUC", loc="left", fontsize=9, color=TEXT_COLOUR)
    save(figure, path)


def clip_plot(path: str | Path, aucs: Mapping[str, tuple[float, float]]) -> None:
    """Draw a point a clip: the AUC of the mean of the teachers against that of the student.

    Args:
        path: Picture file.
        aucs: Teachers' and student's AUC as fractions, by clip.
    """
    figure = Figure(figsize=(SIDE, SIDE), dpi=DPI, layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    plain(axes)
    points = 100 * np.array(list(aucs.values()))
    low = max(0.0, 10 * np.floor(points.min() / 10) - 2)
    axes.plot((low, 101), (low, 101), color="#bbbbbb", linewidth=0.8, linestyle=":")
    axes.scatter(points[:, 0], points[:, 1], s=22, color=STUDENT_COLOUR, alpha=0.75, linewidths=0, zorder=3)
    names = list(aucs)
    for index in np.argsort(-abs(points[:, 1] - points[:, 0]), kind="stable")[:NAMED]:
        right = points[index, 0] > (low + 101) / 2
        axes.annotate(
            names[index],
            points[index],
            (-4 if right else 4, -3),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=7,
            color=TEXT_COLOUR,
            parse_math=False,
        )
    axes.set(xlim=(low, 101), ylim=(low, 101), xlabel="mean of teachers, AUC in %", ylabel="student, AUC in %")
    axes.set_title("Clip by clip", loc="left", fontsize=9, color=TEXT_COLOUR)
    save(figure, path)
