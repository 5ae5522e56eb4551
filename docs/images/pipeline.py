"""Draw the two pictures of docs/how-it-works.md: pipeline.png and stage.png, beside this file.

    python docs/images/pipeline.py

The thumbnails are cut from demo_maps.png, which `make demo` draws (results/demo/pictures/test_03_maps.png).
"""

from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

FOLDER = Path(__file__).parent
INK, GREY, LINE = "#1f2933", "#5f6c7b", "#8593a3"
TEACHER, STUDENT, DATA, RESULT = "#2b6cb0", "#c05621", "#4a5568", "#2f855a"
# Of demo_maps.png in pixels: the first row and column of each panel, and their size.
PANEL_ROWS = {"frame": 64, "student": 205, "multi_task": 487}
PANEL_COLUMNS = {11: 57, 109: 796}
PANEL = (133, 239)


class Picture:
    """A drawing area of which one unit is a tenth of an inch."""

    def __init__(self, width: float, height: float) -> None:
        self.figure, self.axes = plt.subplots(figsize=(width / 10, height / 10))
        self.figure.subplots_adjust(0, 0, 1, 1)
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.axis("off")

    def panel(self, x: float, y: float, width: float, height: float, colour: str, title: str) -> None:
        """Draw a tinted area with a title in its upper left corner."""
        shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=1.6", lw=0, fc=colour)
        shape.set_alpha(0.09)
        self.axes.add_patch(shape)
        self.text(x + 1.6, y + height - 1.5, title, colour, 12, weight="bold", ha="left", va="top")

    def card(self, x: float, y: float, width: float, height: float, colour: str, title: str, lines: str = "") -> None:
        """Draw a white card with a title and grey lines below it; (x, y) is its lower left corner."""
        shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.9", lw=1.4, ec=colour)
        shape.set_facecolor("white")
        self.axes.add_patch(shape)
        self.text(x + width / 2, y + height - 1.1, title, colour, 12, weight="bold", va="top")
        self.text(x + width / 2, y + height - 3.9, lines, GREY, 10, va="top", linespacing=1.45)

    def thumbnail(self, x: float, y: float, width: float, row: str, frame: int) -> None:
        """Draw a panel of demo_maps.png; (x, y) is its lower left corner."""
        top, left = PANEL_ROWS[row], PANEL_COLUMNS[frame]
        image = plt.imread(FOLDER / "demo_maps.png")[top : top + PANEL[0], left : left + PANEL[1]]
        self.axes.imshow(image, extent=(x, x + width, y, y + width * PANEL[0] / PANEL[1]), aspect="auto", zorder=3)

    def arrow(self, *points: tuple[float, float], label: str = "", at: tuple[float, float] = (0, 0)) -> None:
        """Draw a line through the points that ends in an arrow; the label is centred where ``at`` says."""
        for start, end in pairwise(points[:-1]):
            self.axes.plot(*zip(start, end, strict=True), color=LINE, lw=1.8, solid_capstyle="round")
        style = {"arrowstyle": "-|>,head_width=0.32,head_length=0.55", "color": LINE, "lw": 1.8}
        self.axes.annotate("", points[-1], points[-2], arrowprops={**style, "shrinkA": 0, "shrinkB": 1})
        self.text(*at, label, GREY, 10, style="italic")

    def text(self, x: float, y: float, text: str, colour: str, size: float, **style: object) -> None:
        """Write text, centred unless told otherwise."""
        self.axes.text(x, y, text, color=colour, size=size, **{"ha": "center", "va": "center", **style})

    def save(self, name: str) -> None:
        """Write the picture beside this file."""
        self.axes.set_aspect("auto")
        self.figure.savefig(FOLDER / name, dpi=150, facecolor="white", pil_kwargs={"optimize": True})
        plt.close(self.figure)


def pipeline() -> None:
    """Draw the way of the data from clips to auc.json."""
    picture = Picture(112, 46)
    picture.panel(20, 24, 56.5, 21.5, TEACHER, "Teachers: every object on its own, for training only")
    picture.panel(20, 0.5, 91.5, 21.5, STUDENT, "Student: it runs alone")

    picture.card(0.5, 25.5, 16, 15.5, DATA, "Clips", "training and test")
    picture.thumbnail(1.5, 26.5, 14, "frame", 11)
    picture.card(0.5, 2, 16, 15.5, DATA, "Frames", "\nevery frame of\na clip, at its\nown size")

    picture.card(22, 25.5, 16, 15.5, TEACHER, "Objects", "boxes by YOLO")
    picture.thumbnail(23, 26.5, 14, "frame", 109)
    names = "background_agnostic\nmulti_task\nflow_neighbours"
    picture.card(40.5, 25.5, 16, 15.5, TEACHER, "Teachers", f"{names}\nscore each object")
    picture.card(59, 25.5, 16, 15.5, TEACHER, "Anomaly maps", "1x1, 4x4, 16x16 cells")
    picture.thumbnail(60, 26.5, 14, "multi_task", 109)

    picture.card(
        22, 2, 16, 15.5, STUDENT, "Pre-training", "\nan auto-encoder of\nthe training frames\n(may be left out)"
    )
    picture.card(40.5, 2, 16, 15.5, STUDENT, "Distillation", "\nframes in, the maps\nof all teachers out")
    usual = "\nhow things look and\nmove on this camera\n(needs no labels)"
    picture.card(59, 2, 16, 15.5, STUDENT, "What is usual", usual)
    picture.card(77.5, 2, 16, 15.5, STUDENT, "Student", "scores and maps")
    picture.thumbnail(78.5, 3, 14, "student", 109)
    picture.card(96, 2, 14.5, 15.5, RESULT, "auc.json", "\nmicro, macro AUC\nwith intervals,\nand their origin")
    picture.card(96, 29, 14.5, 10, DATA, "Labels", "of the test clips,\nwhere known")

    picture.arrow((8.5, 25.5), (8.5, 17.5))
    picture.arrow((16.5, 11.5), (18.25, 11.5), (18.25, 33), (22, 33))
    picture.arrow((16.5, 8), (22, 8))
    picture.arrow((38, 33), (40.5, 33))
    picture.arrow((56.5, 33), (59, 33))
    picture.arrow((38, 9.5), (40.5, 9.5))
    picture.arrow((67, 25.5), (67, 23), (48.5, 23), (48.5, 17.5), label="targets", at=(71, 23))
    picture.arrow((56.5, 9.5), (59, 9.5))
    picture.arrow((75, 9.5), (77.5, 9.5))
    picture.arrow((93.5, 9.5), (96, 9.5))
    picture.arrow((103.25, 29), (103.25, 17.5))
    picture.save("pipeline.png")


def stage() -> None:
    """Draw what one stage reads and writes, with train_teacher as the example."""
    picture = Picture(112, 44)
    picture.panel(0.5, 3.5, 35, 40, DATA, "It reads")
    picture.panel(76.5, 3.5, 35, 40, RESULT, "It writes")
    settings = (
        '{"version": 2, "objects": {...},\n"held_out": {...}, "multi_task": {...}}\nand no section that it does not use'
    )
    picture.card(2, 28, 32, 11.5, DATA, "Its settings, as one text", settings)
    picture.card(
        2, 15.5, 32, 10.5, DATA, "Files of earlier stages", "frames/train/<clip>.h5\ndetections/train/<shard>.h5"
    )
    picture.card(2, 5, 32, 8.5, DATA, "After a kill, its own state", "model.state: the last whole epoch")
    module = "one module of src/vadistill/stages,\none rule of workflow/rules"
    picture.card(41.5, 15.5, 29, 10.5, TEACHER, "train_teacher", module)
    written = "teachers/multi_task/model.pt\nwritten under another name, and\nrenamed when it is whole"
    picture.card(78, 28, 32, 11.5, RESULT, "Its result", written)
    said = "logs/train_teacher/multi_task.log\nbenchmarks/train_teacher/multi_task.tsv"
    picture.card(78, 15.5, 32, 10.5, RESULT, "What it said and cost", said)
    picture.card(78, 5, 32, 8.5, RESULT, "How the training went", "model.metrics.jsonl: a line an epoch")
    for y in (33.75, 20.75, 9.25):
        picture.arrow((34, y), (38, y), (38, 20.75), (41.5, 20.75))
        picture.arrow((70.5, 20.75), (74, 20.75), (74, y), (78, y))
    picture.text(56, 32, "A bad input ends in one line\nthat names the file.", INK, 10.5, linespacing=1.5)
    reruns = "It runs again if its settings, its\nversion or its files change. A new\ndate alone changes nothing."
    picture.text(56, 9.5, reruns, INK, 10.5, linespacing=1.5)
    picture.text(56, 1.5, "All paths lie in results/<dataset>.", GREY, 10.5)
    picture.save("stage.png")


if __name__ == "__main__":
    plt.rcParams["font.family"] = "DejaVu Sans"
    pipeline()
    stage()
