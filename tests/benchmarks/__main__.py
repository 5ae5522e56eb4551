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
from vadistill.settings import section

FAST = Path(__file__).parents[2] / "workflow" / "presets" / "fast.yaml"


def student(output: Path, models: list[Path], batches: list[int], budget: float) -> None:
    """Measure the official layout and that of the preset fast.yaml with random weights, and trained students.

    Args:
        output: Folder of the tables.
        models: Trained students, results/<name>/student/<any>.pt.
        batches: Frames of a batch.
        budget: Seconds for each number.
    """
    with tempfile.TemporaryDirectory() as folder:
        fast = Path(folder) / "fast.pt"
        write_untrained(fast, section("student", yaml.safe_load(FAST.read_text())["student"]))
        for name, model in {"official": None, "fast": fast, **{path.parents[1].name: path for path in models}}.items():
            made = measure_speed(model, batches=batches, budget=budget)
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
    parser.add_argument("--students", type=Path, nargs="*", help="distilled.pt of data sets; else the demo's")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="frames of a student's batch")
    parser.add_argument("--weights", type=Path, default=Path("resources/weights/demo.pt"), help="of its detector")
    parser.add_argument("--films", type=Path, nargs="*", default=[], help="videos to decode, besides a generated one")
    parser.add_argument("--budget", type=float, default=5.0, help="seconds for each number")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    students = [given.results / "student" / "distilled.pt"] if given.students is None else given.students
    given.output.mkdir(parents=True, exist_ok=True)
    parts = {
        "student": lambda: student(given.output, students, given.batches, given.budget),
        "slow_half": lambda: slow_half.main(given.output, given.results, given.weights, given.budget),
        "scale": lambda: scale.main(given.output, given.results),
        "estimate": lambda: whole(given.output, given.budget),
        "decoding": lambda: decoding.main(given.output, given.films, given.budget),
    }
    for name in given.only or parts:
        parts[name]()


if __name__ == "__main__":
    main()
