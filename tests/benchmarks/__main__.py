"""All benchmarks: ``python -m benchmarks OUTPUT``."""

import argparse
import logging
import tempfile
from pathlib import Path

import yaml
from benchmarks import decoding, rates, scale, slow_half
from benchmarks.estimate import ASSUMPTIONS, estimate, work
from benchmarks.output import save

from vadistill.benchmark.benchmark import BATCHES
from vadistill.benchmark.costs import write_untrained
from vadistill.benchmark.speed import measure_speed
from vadistill.inference.backends import BACKENDS
from vadistill.settings import section

LAYOUTS = ("official", "fast")
FAST = Path(__file__).parents[2] / "workflow" / "presets" / "fast.yaml"


def student(
    output: Path, layouts: list[str], models: list[Path], backends: list[str], batches: list[int], budget: float
) -> None:
    """Measure the official layout and that of the preset fast.yaml with random weights, and trained students.

    Args:
        output: Folder of the tables.
        layouts: ``official``, ``fast`` or both.
        models: Trained students, results/<name>/student/<any>.pt.
        backends: Names of some; the official layout in eager float32 runs with them in any case.
        batches: Frames of a batch.
        budget: Seconds for each number.
    """
    with tempfile.TemporaryDirectory() as folder:
        fast = Path(folder) / "fast.pt"
        write_untrained(fast, section("student", yaml.safe_load(FAST.read_text())["student"]))
        known = {"official": None, "fast": fast}
        own = {path.parents[1].name: path for path in models}
        for name, model in {**{layout: known[layout] for layout in layouts}, **own}.items():
            made = measure_speed(model, names=backends, batches=batches, budget=budget)
            save(output, f"student_{name}", {"table": made.pop("table")}, **made)


def whole(output: Path, budget: float) -> None:
    """Measure the rates at full size and estimate ShanghaiTech end to end from them."""
    found = rates.measure(budget)
    listed = [{"rate": name, "per_second": value} for name, value in found.items()]
    save(output, "estimate", {"rates": listed, "hours": estimate(work(found))}, assumptions=ASSUMPTIONS)


def main() -> None:
    """Run the benchmarks that are asked for, all unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", nargs="*", choices=["student", "slow_half", "scale", "estimate", "decoding"])
    parser.add_argument("--results", type=Path, default=Path("results/demo"), help="finished results of the demo")
    parser.add_argument("--students", type=Path, nargs="*", help="student.pt of data sets; else the demo's")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="frames of a student's batch")
    parser.add_argument("--layouts", nargs="+", default=LAYOUTS, choices=LAYOUTS, help="untrained students")
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), help="in which students are run")
    parser.add_argument("--weights", type=Path, default=Path("resources/weights/demo.pt"), help="of its detector")
    parser.add_argument("--films", type=Path, nargs="*", default=[], help="videos to decode, besides a generated one")
    parser.add_argument("--budget", type=float, default=5.0, help="seconds for each number")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    students = [given.results / "student" / "student.pt"] if given.students is None else given.students
    given.output.mkdir(parents=True, exist_ok=True)
    parts = {
        "student": lambda: student(given.output, given.layouts, students, given.backends, given.batches, given.budget),
        "slow_half": lambda: slow_half.main(given.output, given.results, given.weights, given.budget),
        "scale": lambda: scale.main(given.output, given.results),
        "estimate": lambda: whole(given.output, given.budget),
        "decoding": lambda: decoding.main(given.output, given.films, given.budget),
    }
    for name in given.only or parts:
        parts[name]()


if __name__ == "__main__":
    main()
