"""A clip with what its detectors say laid over it: heat, boxes, ground truth and score curves, picture by picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from vadistill.datasets.labels import ClipLabels
from vadistill.evaluation.fusion import mean_scores
from vadistill.evaluation.metrics import smooth
from vadistill.evaluation.results import ObjectsByClip, highest, mean_objects
from vadistill.geometry.scored_objects import ScoredObjects, no_objects
from vadistill.io.frames import FrameStore
from vadistill.io.maps import MapStore
from vadistill.report.heat import heat_of, heat_of_video
from vadistill.report.mistakes import BOX_COLOURS
from vadistill.report.plots import (
    ABNORMAL_COLOUR,
    CONTOUR_COLOUR,
    HEAT,
    HIGH,
    STUDENT,
    TEXT_COLOUR,
    draw_curves,
    draw_legend,
    outlines,
    title_of,
)

TEACHERS = "teachers"
LEGEND = {TEACHERS: "teachers (boxes)"}
ABNORMAL_FRAMES, EVENTS = "abnormal", "event"
OUTLINED = {"abnormal": "abnormal (outline)"}
LEAST_WIDTH, MOST_WIDTH = 460, 1280  # of the frame in a picture, in pixels
TEXT_WIDTH = 700  # pictures that are wider have larger text and thicker lines
CURVES_INCHES = 1.45  # height of the curves, at 100 pixels to the inch
MARGINS = (0.38, 0.24, 0.12, 0.24)  # of the curves in inches: left, bottom, right, top
GREY = 0.6  # share of grey in the frames, so that heat and boxes stand out
NAMED = 0.5  # boxes from this share of the colour scale on have their scores written above them
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Findings:
    """What is laid over the frames of a clip.

    Attributes:
        maps: (T, g, g) anomaly maps of the frame-level detector, as heat.
        objects: The objects with their scores by the teachers; none where it has no teachers.
        curves: (T,) frame scores of the detector, under ``STUDENT``, and of ``TEACHERS``.
        labels: (T,) frame labels, or None where unknown.
        masks: (T, H, W) abnormal pixels, or None where unknown.
        detector: Name of the frame-level detector.
        marked: What labels of 1 stand for: abnormal frames, or events where nobody labelled them.
    """

    maps: np.ndarray
    objects: ScoredObjects
    curves: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None
    masks: np.ndarray | None = None
    detector: str = STUDENT
    marked: str = ABNORMAL_FRAMES

    @property
    def legend(self) -> dict[str, str]:
        """What the legend says of each curve, and of abnormal frames."""
        heat = {STUDENT: f"{title_of(self.detector)} (heat)"}
        return LEGEND | heat | {"abnormal": self.marked} | (OUTLINED if self.masks is not None else {})


def findings_of(
    frames: FrameStore,
    maps: MapStore,
    teachers: Mapping[str, ObjectsByClip],
    sigma: float,
    labels: ClipLabels | None,
    detector: str = STUDENT,
) -> Findings:
    """Return what a frame-level detector and its teachers say of a clip, and the truth.

    Args:
        frames: The clip.
        maps: The detector's maps and scores.
        teachers: Scored objects of each teacher, by its name; may be empty.
        sigma: Of the smoothing of the curves, in frames.
        labels: Ground truth of the clip, or None where unknown.
        detector: Its name.
    """
    clip = frames.clip
    objects = {name: by_clip[clip] for name, by_clip in teachers.items()}
    scores, judged = {STUDENT: maps.score(clip)}, no_objects(len(frames), (frames.height, frames.width))
    if objects:
        scores[TEACHERS] = mean_scores(highest({clip: part}) for part in objects.values())[clip]
        judged = mean_objects(objects)
    curves = {name: smooth(values, sigma) for name, values in scores.items()}
    frame_labels, masks = (labels.frame, labels.mask) if labels else (None, None)
    return Findings(heat_of(maps, clip, detector), judged, curves, frame_labels, masks, detector)


def findings_of_video(
    maps: np.ndarray, smoothed: np.ndarray, in_events: np.ndarray | None, size: tuple[int, int], detector: str = STUDENT
) -> Findings:
    """Return what a frame-level detector says of a video of which nothing else is known.

    Args:
        maps: (T, g, g) its finest maps.
        smoothed: (T,) its smoothed scores.
        in_events: (T,) whether each frame is part of an event, or None where no threshold is known.
        size: Height and width of the frames in pixels.
        detector: Its name.
    """
    objects = no_objects(len(smoothed), size)
    return Findings(heat_of_video(maps, detector), objects, {STUDENT: smoothed}, in_events, None, detector, EVENTS)


class Overlay:
    """The pictures of one clip, all of one size: narrow frames enlarged by a whole factor, very wide ones reduced."""

    def __init__(self, clip: str, findings: Findings) -> None:
        """Draw what the pictures share.

        Args:
            clip: Name of the clip.
            findings: What is laid over its frames.
        """
        self.clip, self.findings = clip, findings
        width = findings.objects.size[1]
        self.scale = -(-LEAST_WIDTH // width) if width < LEAST_WIDTH else min(1.0, MOST_WIDTH / width)
        self.width = round(self.scale * width)
        self.unit = max(1.0, self.width / TEXT_WIDTH)

    @cached_property
    def curves(self) -> "_Curves":
        """The panel of curves; stills have none."""
        return _Curves(self.findings, self.width, self.unit)

    def draw(self, t: int, frame: np.ndarray) -> np.ndarray:
        """Return the picture of frame t, (H, W, 3) uint8 BGR: a line of text, the frame, the curves with a cursor."""
        labels = self.findings.labels
        abnormal = None if labels is None else bool(labels[t])
        words = (self.findings.marked, "normal" if self.findings.marked == ABNORMAL_FRAMES else "")
        caption = _caption(f"{self.clip}, frame {t}", abnormal, words, self.width, self.unit)
        return np.vstack([caption, self.lay_over(t, frame), self.curves.at(t)])

    def lay_over(self, t: int, frame: np.ndarray) -> np.ndarray:
        """Return frame t (H, W, 3) uint8 BGR under the heat, outlines of the abnormal pixels and boxes."""
        size, found = (self.width, round(self.scale * len(frame))), self.findings
        picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC)
        picture = _heated(_muted(picture), found.maps[t])
        if found.masks is not None:
            lines = [np.round(self.scale * line).astype(np.int32) for line in outlines(found.masks[t])]
            cv2.polylines(picture, lines, True, CONTOUR, round(1.5 * self.unit), cv2.LINE_AA)
        here = found.objects.frame == t
        _draw_boxes(picture, self.scale * found.objects.box[here], found.objects.score[here], self.unit)
        return picture

    def place_of_peak(self, t: int) -> str:
        """Return whether the highest cell of frame t's map touches the true anomaly; nothing where this is unknown."""
        if self.findings.masks is None or not self.findings.masks[t].any():
            return ""
        grid, mask = self.findings.maps[t], self.findings.masks[t]
        touched = cv2.resize(mask.astype(np.float32), grid.shape[::-1], interpolation=cv2.INTER_AREA) > 0
        return ", map highest " + ("on the anomaly" if touched.flat[grid.argmax()] else "elsewhere")


class _Curves:
    """The panel of curves, (h, width, 3) uint8 BGR: drawn once, the cursor on copies of it."""

    def __init__(self, findings: Findings, width: int, unit: float) -> None:
        self.unit = unit
        # Half a pixel more, since the canvas is cut to whole pixels.
        inches = (width + 0.5) / (100 * unit)
        figure = Figure((inches, CURVES_INCHES), dpi=100 * unit)
        left, bottom, right, top = np.divide(MARGINS, (inches, CURVES_INCHES) * 2)
        figure.subplots_adjust(left, bottom, 1 - right, 1 - top)
        axes = figure.add_subplot()
        draw_curves(axes, findings.curves, findings.labels, findings.legend)
        draw_legend(axes)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self.panel = cv2.cvtColor(np.asarray(canvas.buffer_rgba()), cv2.COLOR_RGBA2BGR)
        lines = sorted(axes.lines, key=lambda line: line.zorder)
        self.colours = [_bgr(line.get_color()) for line in lines]
        self.points = [self._pixels(axes.transData.transform(line.get_xydata())) for line in lines]
        self.span = self._pixels(axes.bbox.corners())[:2, 1].tolist()

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        """Return columns and rows (n, 2) of points, whose second part matplotlib counts from below."""
        return (points * (1, -1) + (0, len(self.panel))).round().astype(int)

    def at(self, t: int) -> np.ndarray:
        """Return the panel with a line at frame t and a dot on each curve."""
        panel, column = self.panel.copy(), int(self.points[0][t, 0])
        bottom, top = self.span
        cv2.line(panel, (column, bottom), (column, top), TEXT, round(self.unit))
        for colour, points in zip(self.colours, self.points, strict=True):
            cv2.circle(panel, points[t].tolist(), round(4 * self.unit), colour, cv2.FILLED, cv2.LINE_AA)
        return panel


def _bgr(colour: ColorType) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in reversed(to_rgb(colour)))


def _table(colours: Colormap) -> np.ndarray:
    """Return (256, 4) float32: blue, green and red from 0 to 255, opacity from 0 to 1."""
    return (colours(np.arange(256))[:, [2, 1, 0, 3]] * (255, 255, 255, 1)).astype(np.float32)


HEATS, BOXES = _table(HEAT), _table(BOX_COLOURS)[:, :3]
TEXT, ABNORMAL, CONTOUR = map(_bgr, (TEXT_COLOUR, ABNORMAL_COLOUR, CONTOUR_COLOUR))
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def _muted(picture: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return cv2.addWeighted(picture, 1 - GREY, grey, GREY, 0)


def _heated(picture: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) with a map (g, g) over it; map value 0 is transparent, ``HIGH`` has most heat."""
    values = cv2.resize(grid.astype(np.float32), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    heat = HEATS[(255 * np.clip(values / HIGH, 0, 1)).astype(np.uint8)]
    opacity = heat[..., 3:]
    return (picture * (1 - opacity) + heat[..., :3] * opacity).round().astype(np.uint8)


def _draw_boxes(picture: np.ndarray, boxes: np.ndarray, scores: np.ndarray, unit: float) -> None:
    """Draw boxes (n, 4), thicker and brighter the higher their scores (n,) are, which high ones have beside them."""
    for index in np.argsort(scores, kind="stable"):  # the highest last, above the others
        share = float(np.clip(scores[index] / HIGH, 0, 1))
        colour, thickness = BOXES[int(255 * share)].tolist(), round((1 + 2 * share) * unit)
        x1, y1, x2, y2 = boxes[index].round().astype(int).tolist()
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, thickness)
        if share >= NAMED:
            _tag(picture, f"{scores[index]:.2f}", (x1, y1), colour, unit)


def _tag(picture: np.ndarray, text: str, corner: tuple[int, int], colour: list[float], unit: float) -> None:
    """Write text on a ground of its own above a corner, or as near to it as there is room in the picture."""
    (width, height), base = cv2.getTextSize(text, FONT, 0.4 * unit, 1)
    x = min(max(corner[0], 0), picture.shape[1] - width - 2)
    y = max(corner[1], height + base)
    cv2.rectangle(picture, (x, y - height - base), (x + width + 2, y), colour, cv2.FILLED)
    cv2.putText(picture, text, (x + 1, y - base), FONT, 0.4 * unit, BLACK, 1, cv2.LINE_AA)


def _caption(text: str, abnormal: bool | None, words: tuple[str, str], width: int, unit: float) -> np.ndarray:
    """Return the line above a frame: text on the left, on the right whether the frame is abnormal, where known."""
    height, gap = round(26 * unit), round(8 * unit)
    line = np.full((height, width, 3), 255, np.uint8)
    room, base = width - 2 * gap, height - gap
    if abnormal is not None:
        truth = words[not abnormal]
        (length, _), _ = cv2.getTextSize(truth, FONT, 0.5 * unit, 1)
        left = width - length - 2 * gap
        if abnormal:
            cv2.rectangle(line, (left, 0), (width, height), ABNORMAL, cv2.FILLED)
        cv2.putText(line, truth, (left + gap, base), FONT, 0.5 * unit, WHITE if abnormal else TEXT, 1, cv2.LINE_AA)
        room -= length + 2 * gap
    (length, _), _ = cv2.getTextSize(text, FONT, 0.5 * unit, 1)
    cv2.putText(line, text, (gap, base), FONT, 0.5 * unit * min(1, room / length), TEXT, 1, cv2.LINE_AA)
    return line
