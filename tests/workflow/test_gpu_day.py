"""The script for a day with a GPU, whole, on processors and the tiny data set: no minute is spent on a typo."""

import json
import os
import subprocess
import sys

import pytest
from benchmarks.gpu_kit import carry
from benchmarks.gpu_plan import PLAN, ROOT, read_plan
from conftest import CONFIG, HANGS

pytestmark = pytest.mark.workflow
# The tiny data set's teachers and maps are carried; its student and teachers are trained.
DATA = """
datasets:
  student: {variant_of: tiny, pretraining: {epochs: 50}, distillation: {epochs: 50, selection: last}}
  teachers:
    variant_of: tiny
    background_agnostic: {crop: 40, max_objects: 30}
    multi_task: {crop: 40, max_objects: 30, epochs: 30}
"""
SPEED = "--batches 1 --backends eager-fp32 --budget 0.1"


@pytest.fixture(scope="module")
def day(finished, tmp_path_factory):
    """The folder of a whole day, and its values."""
    folder = tmp_path_factory.mktemp("day")
    (folder / "data.yaml").write_text(DATA)
    config = f"{CONFIG} {folder / 'data.yaml'}"
    values = {
        "student": "student",
        "teachers": "teachers",
        "config": config,
        "layouts": "fast",
        "smoke": "nothing_here",
    }
    values |= {"profile": str(ROOT / "workflow/profiles/default"), "plain": SPEED, "compiled": "--batches 0"}
    carry(*read_plan(PLAN, values), finished.folder, folder / "kit.tar.xz")
    words = [sys.executable, "-m", "benchmarks.gpu_day", folder / "kit.tar.xz", folder / "out", "--device", "cpu"]
    words += ["--minutes", 15, "--set", *(f"{name}={value}" for name, value in values.items())]
    known = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, words)), env=known, capture_output=True, text=True, timeout=HANGS)
    print(done.stdout + done.stderr)
    return folder


def test_all_parts_are_done(day):
    summary = json.loads((day / "out/summary.json").read_text())
    assert {name: part["state"] for name, part in summary["parts"].items()} == {}
