"""The worst mistakes of a detector: which frames they are, and a picture of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from vadistill.errors import InputError
from vadistill.report.plots import DPI, TEXT_COLOUR, TITLE, draw_outline, save

COLUMNS = 2
PANEL_INCHES = 3.6  # width
NAMED_BOXES = 3  # highest boxes of a frame that have their scores written beside them
# Without the dark end, which cannot be seen in dark pictures.
BOX_COLOURS = ListedColormap(matplotlib.colormaps["plasma"](np.linspace(0.2, 1, 256)))
HALO = (withStroke(linewidth=1.6, foreground="black"),)

Moment = tuple[str, int]
"""A clip and a frame number of it."""


@dataclass(frozen=True)
class Panel:
    """One frame of a sheet.

    Attributes:
        clip: Name of the clip.
        t: Frame number.
        score: Score of the frame.
        rank: Share of the clip's frames that score lower, see ``rank_in_clip``.
        frame: (H, W, 3) uint8 BGR.
        box: (n, 4) xyxy in pixels.
        box_score: (n,) object scores of the boxes.
        mask: (H, W) abnormal pixels, or None where unknown.
    """

    clip: str
    t: int
    score: float
    rank: float
    frame: np.ndarray
    box: np.ndarray
    box_score: np.ndarray
    mask: np.ndarray | None = None


def worst(
    scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], count: int = 10, apart: int = 25
) -> tuple[list[Moment], list[Moment]]:
    """Return the worst false alarms and misses: the highest normal and the lowest abnormal frames of all clips.

    Args:
        scores: (T,) frame scores of each clip, compared across clips as they are.
        labels: (T,) frame labels of the same clips, 1 = abnormal.
        count: How many of each are wanted; fewer where the clips have no more.
        apart: Least distance in frames between two of a kind in one clip.

    Returns:
        False alarms and misses, each with the worst first; of equal scores the earlier clip and frame.

    Raises:
        InputError: Scores and labels are not of the same clips and lengths.
    """
    spread = {"count": count, "apart": apart}
    return extreme(scores, labels, False, True, **spread), extreme(scores, labels, True, False, **spread)


def extreme(
    scores: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    abnormal: bool,
    highest: bool,
    count: int = 10,
    apart: int = 25,
) -> list[Moment]:
    """Return the abnormal, or the normal, frames with the highest, or the lowest, scores; as in ``worst``."""
    if scores.keys() != labels.keys():
        raise InputError(f"scores of the clips {sorted(scores)}, labels of {sorted(labels)}; expected the same clips")
    for clip, values in scores.items():
        if len(values) != len(labels[clip]):
            raise InputError(
                f"clip {clip}: {len(values)} scores, {len(labels[clip])} labels; expected one each a frame"
            )
    moments = [(clip, t) for clip, values in scores.items() for t in range(len(values))]
    key = np.concatenate(list(scores.values())) * (-1 if highest else 1)
    rows = np.flatnonzero(np.concatenate([labels[clip] for clip in scores]).astype(bool) == abnormal)
    return _spread([moments[i] for i in rows[np.argsort(key[rows], kind="stable")]], count, apart)


def rank_in_clip(scores: np.ndarray, t: int) -> float:
    """Return the share of a clip's other frames, of (T,) scores, that score lower than frame t; 0 if it has none."""
    return float(np.mean(scores < scores[t]) * len(scores) / max(1, len(scores) - 1))


def mistake_sheet(path: str | Path, title: str, panels: Sequence[Panel]) -> None:
    """Draw frames with their boxes coloured by object score, one colour scale for the sheet, and abnormal pixels.

    Args:
        path: Picture file.
        title: Stands above the frames.
        panels: The frames, drawn in rows of two.

    Raises:
        InputError: There are no frames.
    """
    if not panels:
        raise InputError(f"{path}: no frames to draw; expected at least one")
    rows = -(-len(panels) // COLUMNS)
    height = max(panel.frame.shape[0] / panel.frame.shape[1] for panel in panels) * PANEL_INCHES + 0.3
    figure = Figure(figsize=(COLUMNS * PANEL_INCHES + 0.6, rows * height + 0.3), dpi=DPI, layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    values = np.concatenate([panel.box_score for panel in panels])
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    colours = ScalarMappable(Normalize(low, high), BOX_COLOURS)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel, colours)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    bar = figure.colorbar(colours, ax=grid, fraction=0.02, pad=0.01, aspect=60)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2, color="#999999", labelcolor=TEXT_COLOUR)
    bar.set_label("object score", fontsize=9, color=TEXT_COLOUR)
    figure.suptitle(title, x=0.01, ha="left", **TITLE)
    save(figure, path)


def _spread(moments: Sequence[Moment], count: int, apart: int) -> list[Moment]:
    """Return the first ``count`` moments that keep their distance from those chosen before them."""
    chosen: list[Moment] = []
    for clip, t in moments:
        if len(chosen) == count:
            break
        if all(clip != other or abs(t - time) >= apart for other, time in chosen):
            chosen.append((clip, t))
    return chosen


def _draw(axes: Axes, panel: Panel, colours: ScalarMappable) -> None:
    height, width = panel.frame.shape[:2]
    axes.imshow(cv2.cvtColor(panel.frame, cv2.COLOR_BGR2RGB), extent=(0, width, height, 0))
    if panel.mask is not None:
        draw_outline(axes, panel.mask)
    order = np.argsort(panel.box_score, kind="stable")
    for rank, index in enumerate(order, start=1):  # the highest last, above the others
        score, (x1, y1, x2, y2) = panel.box_score[index], panel.box[index]
        edge = colours.to_rgba(score)
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=edge, linewidth=1.1))
        if rank > len(order) - NAMED_BOXES:
            above = y1 > 0.06 * height  # else there is no room
            axes.text(
                min(x1, 0.9 * width),
                y1 - 1 if above else y2 + 1,
                f"{score:.2f}",
                va="bottom" if above else "top",
                fontsize=7,
                color="white",
                path_effects=HALO,
                clip_on=True,
            )
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    caption = f"{panel.clip}, frame {panel.t}, score {panel.score:.2f}, higher than {panel.rank:.0%} of the clip"
    axes.set_title(caption, fontsize=8, color=TEXT_COLOUR, pad=3, loc="left", parse_math=False)
