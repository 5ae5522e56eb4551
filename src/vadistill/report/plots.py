"""Score curves, strips of anomaly maps over frames and training curves, each as one picture file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vadistill.errors import InputError
from vadistill.evaluation.events import runs
from vadistill.io.files import whole_file
from vadistill.settings import ANOMALY_KINDS

STUDENT = "student"
DPI = 150
# Okabe and Ito's palette: told apart with any colour vision.
STUDENT_COLOUR = "#0072B2"
OTHER_COLOURS = ("#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
ABNORMAL_COLOUR = "#D55E00"
# Of metrics: the same quantity of other frames is drawn in the same panel.
PREFIXES = ("train_", "held_out_", *(f"validation_{kind}_" for kind in ANOMALY_KINDS))
CONTOUR_COLOUR = "#00E5FF"
TEXT_COLOUR = "#333333"
# Names of clips are text, whatever dollar signs are in them.
TITLE: dict[str, Any] = {"fontsize": 10, "fontweight": "bold", "color": TEXT_COLOUR, "parse_math": False}
# Transparent where nothing is anomalous, so that the frame shows through.
HEAT = ListedColormap(
    np.column_stack([matplotlib.colormaps["inferno"](np.linspace(0.3, 0.95, 256))[:, :3], np.linspace(0, 0.75, 256)])
)
HIGH = 0.8  # map value at the end of the colour scale; calibration puts ordinary objects below 0.6
LEGEND_LETTERS = 70  # that fit into one line
PANEL_INCHES = 1.6  # width of one frame in a strip


def score_plot(
    path: str | Path,
    clip: str,
    curves: Mapping[str, np.ndarray],
    labels: np.ndarray | None,
    aucs: Mapping[str, float | None],
) -> None:
    """Draw the frame scores of one clip over time, the student bold, with the abnormal frames shaded.

    Args:
        path: Picture file.
        clip: Name of the clip.
        curves: (T,) scores of the student and its teachers, drawn as they are: calibration gives them one scale.
        labels: (T,) frame labels, or None where unknown.
        aucs: AUC of each curve as a fraction; None or missing where it has none.
    """
    figure = Figure(figsize=(8, 2.7), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    legend = {name: f"{title_of(name)}, AUC {100 * value:.1f} %" for name, value in aucs.items() if value is not None}
    draw_curves(axes, curves, labels, legend)
    axes.set_xlabel("frame")
    axes.set_ylabel("anomaly score")
    axes.set_title(clip, loc="left", pad=8 + 13 * draw_legend(axes), **TITLE)
    save(figure, path)


def draw_curves(
    axes: Axes, curves: Mapping[str, np.ndarray], labels: np.ndarray | None, legend: Mapping[str, str]
) -> None:
    """Draw frame scores over time, the student bold, with the abnormal frames shaded.

    Args:
        axes: Empty axes.
        curves: (T,) scores by name.
        labels: (T,) frame labels, or None where unknown.
        legend: What the legend says in place of a name, or of "abnormal".
    """
    plain(axes)
    for number, (start, end) in enumerate(runs(labels) if labels is not None else ()):
        name = legend.get("abnormal", "abnormal") if number == 0 else None
        axes.axvspan(start - 0.5, end - 0.5, color=ABNORMAL_COLOUR, alpha=0.16, linewidth=0, label=name)
    colours = colours_of(curves)
    for name, scores in curves.items():
        bold = name == STUDENT
        style: dict[str, Any] = {"linewidth": 2.2, "zorder": 3} if bold else {"linewidth": 1.1, "zorder": 2.5}
        axes.plot(scores, color=colours[name], label=legend.get(name, title_of(name)), **style)
    frames = max(len(scores) for scores in curves.values())
    axes.set_xlim(-0.5, frames - 0.5)
    axes.set_ylim(bottom=min(0.0, *(float(np.min(scores)) for scores in curves.values())))


def map_strip(
    path: str | Path,
    clip: str,
    frames: Sequence[np.ndarray],
    times: Sequence[int],
    maps: Mapping[str, Sequence[np.ndarray]],
    masks: Sequence[np.ndarray | None] | None,
    boxes: Sequence[np.ndarray | None] | None,
    high: float,
) -> None:
    """Draw frames of one clip above the anomaly maps of every source: a column a frame, a row a source.

    Args:
        path: Picture file.
        clip: Name of the clip.
        frames: (H, W, 3) uint8 BGR frames.
        times: Their frame numbers.
        maps: (g, g) maps of the same frames from each source.
        masks: (H, W) masks of the abnormal pixels, outlined in every row; None where unknown.
        boxes: (n, 4) xyxy boxes in pixels, drawn in the first row; None draws none.
        high: Map value of the strongest colour, 1 if it is not positive; map value 0 is transparent.
    """
    columns, rows = len(frames), 1 + len(maps)
    height, width = frames[0].shape[:2]
    figure, grid = _strip_axes(columns, rows, height / width)
    scale = Normalize(0, high if high > 0 else 1, clip=True)
    extent = (0, width, height, 0)
    for column, (frame, time) in enumerate(zip(frames, times, strict=True)):
        grid[0, column].imshow(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), extent=extent)
        grid[0, column].set_title(f"frame {time}", fontsize=7, color=TEXT_COLOUR, pad=3)
        if boxes is not None and (here := boxes[column]) is not None:
            _draw_boxes(grid[0, column], here)
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        for axes, source in zip(grid[1:, column], maps.values(), strict=True):
            # Dimmed and grey below the heat, so that every colour is a map value.
            axes.imshow(grey, extent=extent, cmap="gray", vmin=0, vmax=320)
            heat = axes.imshow(source[column], extent=extent, cmap=HEAT, norm=scale, interpolation="bilinear")
        if masks is not None and (mask := masks[column]) is not None:
            for axes in grid[:, column]:
                draw_outline(axes, mask)
    for axes, name in zip(grid[:, 0], ("frame", *map(title_of, maps)), strict=True):
        axes.set_ylabel(name.replace(" ", "\n"), fontsize=7, color=TEXT_COLOUR, labelpad=3)
    figure.text(grid[0, 0].get_position().x0, 1 - 0.05 / figure.get_figheight(), clip, va="top", **TITLE)
    for axes in grid.flat:
        axes.set(xlim=(0, width), ylim=(height, 0))
    if maps:
        _colour_bar(figure, grid, heat)
    save(figure, path)


def pick_times(score: np.ndarray, labels: np.ndarray | None, count: int = 6) -> list[int]:
    """Choose the frames of a clip that show most of a detector: its alarms, its worst false alarm and calm moments.

    Half of them are the highest-scoring abnormal frames, one is the highest-scoring normal frame and the others are
    the lowest-scoring normal frames. Where a group is too small, the highest scores of all frames fill up. Any two lie
    T / (2 ``count``) frames apart. Without labels, or with one class only, every frame is in both groups.

    Args:
        score: (T,) frame scores.
        labels: (T,) frame labels, or None where unknown.
        count: Number of frames.

    Returns:
        min(``count``, T) distinct frame numbers in order.
    """
    score = np.asarray(score)
    everything = np.arange(len(score))
    abnormal = everything[np.asarray(labels, bool)] if labels is not None else everything
    normal = np.setdiff1d(everything, abnormal)
    if not (abnormal.size and normal.size):
        abnormal = normal = everything
    gap = max(1, len(score) // (2 * count))
    chosen: list[int] = []
    half = (count + 1) // 2
    for group, rank, limit in (
        (abnormal, -score, half),
        (normal, -score, half + 1),
        (normal, score, count),
        (everything, -score, count),
    ):
        for time in group[np.argsort(rank[group], kind="stable")]:
            if len(chosen) < min(limit, count) and all(abs(time - other) >= gap for other in chosen):
                chosen.append(int(time))
    return sorted(chosen)


def loss_plot(path: str | Path, metrics_jsonl_records: Sequence[Mapping[str, Any]]) -> None:
    """Draw training curves: a panel for every quantity of every phase, training and held-out values together.

    Every number of a record is drawn but counters and timings; ``train_x`` and ``held_out_x`` share panel ``x``.

    Args:
        path: Picture file.
        metrics_jsonl_records: One record an epoch with ``epoch``, counted from 0 in each phase (drawn from 1), and
            ``phase``; both may be followed by any quantities.

    Raises:
        InputError: No record has a number to draw.
    """
    panels = _panels(metrics_jsonl_records)
    if not panels:
        raise InputError(f"{path}: no training curves to draw; expected records with numbers, one an epoch")
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    width, height = 2.7 * max(columns, 2), 1.9 * rows + 0.3
    # Margins in inches: matplotlib's own layout measures all texts several times: 3.0 s in place of 1.9 for 21 panels.
    margins = {"left": 0.5 / width, "right": 1 - 0.12 / width, "bottom": 0.5 / height, "top": 1 - 0.28 / height}
    figure = Figure(figsize=(width, height), dpi=DPI)
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw={**margins, "wspace": 0.28, "hspace": 0.5})
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        plain(axes)
        kinds = [name for name in curves if name.startswith("validation")]
        colours = dict.fromkeys(curves, STUDENT_COLOUR) | {"held out": ABNORMAL_COLOUR}
        colours |= {name: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, name in enumerate(kinds)}
        for name, points in curves.items():
            axes.plot(*np.transpose(points), color=colours[name], linewidth=1.5, marker=".", markersize=3, label=name)
        last = max(points[-1][0] for points in curves.values())
        axes.set_xlim(0.5, last + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.ticklabel_format(axis="y", scilimits=(-3, 4), useOffset=False)
        axes.yaxis.get_offset_text().set(size=7, color=TEXT_COLOUR)
        axes.set_title(title, loc="left", fontsize=8, color=TEXT_COLOUR, parse_math=False)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=7, labelcolor=TEXT_COLOUR)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel("epoch", fontsize=8, color=TEXT_COLOUR, y=0.06 / height, va="bottom")
    save(figure, path)


def title_of(name: str) -> str:
    """Return a name as people write it."""
    return name.replace("_", " ")


def colours_of(curves: Iterable[str]) -> dict[str, str]:
    """Return a colour for each of some names, the student's always the same."""
    others = [name for name in curves if name != STUDENT]
    return {STUDENT: STUDENT_COLOUR} | {n: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, n in enumerate(others)}


def _panels(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return panels by title: curves by name: points (epoch from 1, value), in the order of the records."""
    panels: dict[str, dict[str, list[tuple[int, float]]]] = {}
    several = len({record.get("phase") for record in records}) > 1
    for record in records:
        for key, value in record.items():
            if key in ("epoch", "phase_index") or key.endswith(("second", "seconds")) or not _is_number(value):
                continue
            prefix = next((part for part in PREFIXES if key.startswith(part)), "")
            title = title_of(key.removeprefix(prefix))
            panel = panels.setdefault(f"{title_of(record['phase'])}: {title}" if several else title, {})
            panel.setdefault(title_of(prefix).strip(), []).append((record["epoch"] + 1, value))
    return panels


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def plain(axes: Axes) -> None:
    """Give axes the look that all plots share."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(labelsize=8, color="#999999", labelcolor=TEXT_COLOUR)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=9, color=TEXT_COLOUR)


def draw_legend(axes: Axes) -> int:
    """Put the legend in one or two lines between title and curves, where it hides nothing; return how many."""
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda i: names[i].startswith("abnormal"))
    lines = 1 if sum(map(len, names)) < LEGEND_LETTERS else 2
    axes.legend(
        [handles[i] for i in order],
        [names[i] for i in order],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=-(-len(names) // lines),
        frameon=False,
        fontsize=8,
        labelcolor=TEXT_COLOUR,
        borderaxespad=0.2,
        borderpad=0,
        handlelength=1.6,
        columnspacing=1.4,
    )
    return lines


def _strip_axes(columns: int, rows: int, aspect: float) -> tuple[Figure, np.ndarray]:
    """Return a figure and its (rows, columns) empty axes, sized so that frames fill them without bars."""
    gap, left, top, right = 0.04, 0.38, 0.42, 0.5
    panel = PANEL_INCHES * aspect
    width = left + columns * (PANEL_INCHES + gap) + right
    height = top + rows * (panel + gap)
    figure = Figure(figsize=(width, height), dpi=DPI)
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": left / width,
            "right": 1 - (right + gap) / width,
            "top": 1 - top / height,
            "bottom": gap / height,
            "wspace": gap / PANEL_INCHES,
            "hspace": gap / panel,
        },
    )
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure, grid


def _colour_bar(figure: Figure, grid: np.ndarray, heat: Any) -> None:
    top, last = grid[1, -1].get_position(), grid[-1, -1].get_position()
    thickness = 0.08 / figure.get_figwidth()
    axes = figure.add_axes((last.x1 + thickness, last.y0, thickness, top.y1 - last.y0), facecolor="#777777")
    bar = figure.colorbar(heat, cax=axes)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=6, length=2, color="#999999", labelcolor=TEXT_COLOUR)
    bar.set_label("anomaly map", fontsize=7, color=TEXT_COLOUR)


def _draw_boxes(axes: Axes, boxes: np.ndarray) -> None:
    corners = np.asarray(boxes, float).reshape(-1, 4)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    axes.add_collection(PolyCollection(list(corners), facecolors="none", edgecolors="white", linewidths=0.6))


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return the outlines (n, 2) of the true pixels of an (H, W) mask: x and y, pixel 0 reaching from 0 to 1."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [contour[:, 0] + 0.5 for contour in found]


def draw_outline(axes: Axes, mask: np.ndarray) -> None:
    """Draw the outlines of the true pixels of an (H, W) mask, in pixels of the frame."""
    axes.add_collection(PolyCollection(outlines(mask), facecolors="none", edgecolors=CONTOUR_COLOUR, linewidths=0.9))


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure as a picture file, whole or not at all."""
    FigureCanvasAgg(figure)
    with whole_file(path) as temporary:
        figure.savefig(temporary)
