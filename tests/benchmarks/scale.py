"""What size costs: planning a data set of ShanghaiTech's shape, cost and disk of a frame as frames become many."""

import re
import resource
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from benchmarks.output import save
from benchmarks.tree import write_tree

from vadistill.benchmark.costs import write_untrained
from vadistill.io import object_scores
from vadistill.io.frames import FrameStore, write_images
from vadistill.io.hdf5 import writing
from vadistill.settings import StudentConfig
from vadistill.stages import build_maps, score_frames

ROOT = Path(__file__).parents[2]
TARGET = "results/shanghaitech/auc.json"
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
HEIGHT, WIDTH, OBJECTS = 32, 48, 8  # pixels of the tiny frames, objects in each
TINY = StudentConfig(height=HEIGHT, width=WIDTH, base_width=2, downsamplings=3, depth=1, heads=1, head_width=4)
RESOLUTIONS = (1, 4, 16)
# The whole score is 0.1 + the only term.
CALIBRATION = """{"teacher": "tiny", "settings": {}, "single": {}, "objects": 0, "clips": [], "score": {
    "terms": ["term"], "logits": [false], "scenes": [],
    "tables": [], "squash": null, "affine": {"slope": 1.0, "intercept": 0.1}}}"""


def plan(folder: Path, repeats: int = 3) -> tuple[list[dict[str, Any]], str]:
    """Return how long ``snakemake -n`` takes in a folder with resources/shanghaitech, and what it says."""
    (folder / "config.yaml").symlink_to(ROOT / "config.yaml")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "-n", TARGET, "--cores", "8"]
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
    return [{"command": f"snakemake -n {TARGET}", "seconds": median(seconds), "runs": repeats}], done.stdout


def jobs(said: str) -> list[dict[str, Any]]:
    """Return the jobs of each rule and the memory that one of them asks for, from what a dry run says."""
    found: dict[str, list[int]] = {}
    for rule, body in re.findall(r"^(?:local)?rule (\w+):\n((?: .*\n?)*)", said, re.M):
        asked = re.search(r"\bmem_mb=(\d+)", body)
        found.setdefault(rule, []).append(int(asked[1]) if asked else 0)
    rows = [{"rule": rule, "jobs": len(memory), "mem_mb": max(memory)} for rule, memory in found.items()]
    return [*rows, {"rule": "all", "jobs": sum(row["jobs"] for row in rows), "mem_mb": max(r["mem_mb"] for r in rows)}]


def growth(folder: Path, sizes=SIZES, clip_frames: int | None = None) -> list[dict[str, Any]]:
    """Return time, memory and disk of a frame in a chain of stages: extraction, building of maps, the student.

    Args:
        folder: Where the files go; they are removed again.
        sizes: Numbers of frames.
        clip_frames: Frames of a clip; None makes one clip of all.
    """
    write_untrained(folder / "student.pt", TINY, RESOLUTIONS)
    (folder / "calibration.json").write_text(CALIBRATION)
    rows = []
    # The first one loads libraries, so that it is run twice.
    for number, size in enumerate((sizes[0], *sizes)):
        parts = Chain(folder, size, clip_frames or size)
        for name, (stage, files) in parts.stages().items():
            started = time.perf_counter()
            stage()
            seconds = time.perf_counter() - started
            if number:
                rows.append(
                    {
                        "clips": size // parts.clip_frames,
                        "frames": size,
                        "stage": name,
                        "microseconds_per_frame": 1e6 * seconds / size,
                        "bytes_per_frame": sum(path.stat().st_size for path in files) / size,
                        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                    }
                )
        for path in parts.files:
            path.unlink()
    return rows


class Chain:
    """Stages on so many tiny frames, and the files that they write."""

    def __init__(self, folder: Path, frames: int, clip_frames: int) -> None:
        self.clip_frames, self.student = clip_frames, folder / "student.pt"
        self.calibration = folder / "calibration.json"
        self.clips = [folder / f"clip{number}.h5" for number in range(frames // clip_frames)]
        self.scores, self.maps, self.made = (folder / f"{name}.h5" for name in ("scores", "maps", "student"))
        self.files = [*self.clips, self.scores, self.maps, self.made]

    def stages(self) -> dict[str, tuple[Callable[[], None], list[Path]]]:
        """Return the stages by name, each with the files that it writes."""
        settings = {"version": 1, "maps": {"resolutions": RESOLUTIONS}}
        files = {"scores": [self.scores], "calibration": self.calibration, "output": self.maps}
        maps = Namespace(settings=settings, **files)
        student = Namespace(settings={"version": 1}, model=self.student, frames=self.clips, output=self.made)
        return {
            "store frames": (self.extract, self.clips),
            "store object scores": (self.score, [self.scores]),
            "build_maps": (lambda: build_maps.main(maps), [self.maps]),
            "score_frames": (lambda: score_frames.main(student), [self.made]),
        }

    def extract(self) -> None:
        """Write the frames: noise that slides."""
        noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, 2 * WIDTH, 3), np.uint8)
        for path in self.clips:
            write_images(path, path.stem, "test", (noise[:, t % WIDTH :][:, :WIDTH] for t in range(self.clip_frames)))

    def score(self) -> None:
        """Write scored objects, as many in each frame."""
        rng = np.random.default_rng(0)
        with writing(self.scores) as file:
            file.attrs.update(teacher="tiny", terms=["term"], model_settings="{}", settings="{}", detector="{}")
            for path in self.clips:
                frame = np.repeat(np.arange(self.clip_frames), OBJECTS)
                corner = rng.uniform(0, (WIDTH - 8, HEIGHT - 12), (len(frame), 2))
                box = np.concatenate([corner, corner + rng.uniform((3, 6), (8, 12), corner.shape)], axis=1)
                fields = (path.stem, self.clip_frames, (HEIGHT, WIDTH), "", frame, box, rng.random((len(frame), 1)))
                object_scores.write_clip(file, object_scores.ObjectScores(*fields))


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the cost of a frame against the number of frames."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for stage in dict.fromkeys(row["stage"] for row in rows):
        for whole, style in ((True, "--"), (False, "-")):
            points = [row for row in rows if row["stage"] == stage and (row["clips"] == 1) == whole]
            label = f"{stage}, {'one clip' if whole else 'many clips'}"
            axes.plot(
                [row["frames"] for row in points],
                [row["microseconds_per_frame"] for row in points],
                style,
                marker="o",
                label=label,
            )
    axes.set(xscale="log", yscale="log", xlabel="frames", ylabel="microseconds a frame")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def disk(results: Path) -> list[dict[str, Any]]:
    """Return the bytes a frame of the finished results of a data set, by kind of file and split."""
    rows = []
    for split in ("train", "synthetic", "validation", "test"):
        frames = sum(len(FrameStore(path)) for path in (results / "frames" / split).glob("*.h5"))
        for kind in ("frames", "detections", "object_scores", "maps", "student/scores") if frames else ():
            folder = results / kind
            files = [*folder.glob(f"**/{split}/*.h5"), *folder.glob(f"{split}.h5")]
            if files:
                size = sum(path.stat().st_size for path in files)
                rows.append({"kind": kind, "split": split, "frames": frames, "bytes_per_frame": size / frames})
    return rows


def main(output: Path, results: Path, sizes=SIZES) -> None:
    """Measure all of it."""
    with tempfile.TemporaryDirectory() as folder:
        frames = write_tree(Path(folder) / "resources" / "shanghaitech")
        planned, said = plan(Path(folder))
        planned[0]["frames"] = frames
    rows = []
    for clip_frames in (sizes[0], None):
        with tempfile.TemporaryDirectory() as folder:
            rows += growth(Path(folder), sizes, clip_frames)
    draw(output / "scale.png", rows)
    save(output, "scale", {"plan": planned, "jobs": jobs(said), "growth": rows, "disk": disk(results)})
