"""The script for a day with a GPU, whole, on processors and the tiny data set: no minute is spent on a typo."""

import json
import os
import subprocess
import sys
import tarfile

import pytest
import yaml
from benchmarks.gpu_kit import carry
from benchmarks.gpu_plan import PLAN, ROOT, read_plan
from conftest import CONFIG, HANGS

from vadistill.errors import InputError

pytestmark = pytest.mark.workflow
# The tiny data set's teachers and maps are carried; its student and teachers are trained.
DATA = """
datasets:
  student: {variant_of: tiny, pretraining: {epochs: 2}, distillation: {epochs: 2, selection: last}}
  teachers:
    variant_of: tiny
    background_agnostic: {crop: 64, max_objects: 30}
    multi_task: {crop: 64, max_objects: 30, epochs: 1}
"""
SPEED, UNKNOWN = (f"--batches 1 --backends {name} --budget 0.1" for name in ("eager-fp32", "eager-fp8"))
# Two more parts, in the middle: one fails, one hangs, for five seconds of these hundred minutes.
BROKEN = [
    {"name": "fails", "share": 1, "steps": [{"run": 'python -c "raise SystemExit(3)"'}]},
    {"name": "hangs", "share": 0.02, "steps": [{"run": 'python -c "import time; time.sleep(600)"'}]},
]


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    (folder / "data.yaml").write_text(DATA)
    return {
        **{"student": "student", "teachers": "teachers", "config": f"{CONFIG} {folder / 'data.yaml'}"},
        **{"layouts": "fast", "plain": SPEED, "compiled": UNKNOWN, "all_compiled": UNKNOWN},
        **{"smoke": "cpu --collect-only", "profile": str(ROOT / "workflow/profiles/default")},
    }


@pytest.fixture(scope="module")
def kit(values, finished, tmp_path_factory):
    made = tmp_path_factory.mktemp("kit") / "kit.tar.xz"
    carry(*read_plan(PLAN, values), finished.folder, made)
    return made


@pytest.fixture(scope="module")
def day(kit, values):
    """The folder of a whole day."""
    content = yaml.safe_load(PLAN.read_text())
    content["parts"][2:2] = BROKEN
    plan, output = kit.with_name("plan.yaml"), kit.with_name("out")
    plan.write_text(yaml.safe_dump(content))
    words = [sys.executable, "-m", "benchmarks.gpu_day", kit, output, "--device", "cpu", "--plan", plan]
    words += ["--minutes", 100, "--set", *(f"{name}={value}" for name, value in values.items())]
    known = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, words)), env=known, capture_output=True, text=True, timeout=HANGS)
    print(done.stdout + done.stderr)
    assert done.returncode == 1, "three parts were not done"
    return output


def test_the_kit_holds_what_is_read_and_not_made(kit):
    with tarfile.open(kit) as archive:
        folders = {name.rpartition("/")[0].removeprefix("results/tiny/") for name in archive.getnames()}
    teachers = ("background_agnostic", "multi_task", "flow_neighbours")
    assert folders == {
        *("clips/train", "clips/test", "clips/test_pixel_mask", "detections/train", "moving/train", "trivial/test"),
        *(f"maps/{teacher}/{split}" for teacher in teachers for split in ("train", "synthetic", "test")),
        *(f"{product}/{teacher}" for teacher in teachers for product in ("teachers",)),
        *(f"object_scores/{teacher}/test" for teacher in teachers),
    }


def test_a_kit_that_is_too_large_is_refused_with_its_sizes(values, finished, tmp_path):
    parts, known = read_plan(PLAN, values)
    student = [part for part in parts if part.name == "student"]
    with pytest.raises(InputError, match=r"expected at most 0: carry fewer clips, .*\(in MiB: results/tiny/.* \d"):
        carry(student, known, finished.folder, tmp_path / "kit.tar.xz", most=1000)


def test_every_part_leaves_its_results(day):
    summary = json.loads((day / "summary.json").read_text())
    states = {name: part["state"] for name, part in summary["parts"].items()}
    done = dict.fromkeys(("machine", "benchmark", "student", "teachers", "smoke"), "done")
    broken = {"benchmark": "failed", "fails": "failed", "hangs": "timed out"}
    assert states == {**done, **broken}, (day / "summary.json").read_text()
    records = {name: json.loads((day / name / "part.json").read_text()) for name in states}
    for name, record in records.items():
        assert record["part"] == name and all((day / name / step["log"]).exists() for step in record["steps"])
    assert records["machine"]["results"]["machine.json"]["device"] == "cpu"
    speed = records["benchmark"]["results"]
    assert set(speed) == {"plain/student_fast.json"}
    refused = records["benchmark"]["steps"][1]
    assert refused["state"] == "failed" and "backend 'eager-fp8': unknown" in refused["last_lines"][-1]
    assert {row["part"] for row in speed["plain/student_fast.json"]["table"]} == {"network", "frames", "film"}
    folder = "results/student"
    assert 0 <= records["student"]["results"][f"{folder}/auc.json"]["student"]["micro_auc"] <= 1
    for name, epochs in (("pretrained", 2), ("distilled", 2)):
        assert records["student"]["results"][f"{folder}/student/{name}.metrics.jsonl"]["epoch"] == epochs - 1
    assert (day / "student" / folder / "student/student.pt").exists()
    for teacher in ("background_agnostic", "multi_task"):
        made = records["teachers"]["results"][f"results/teachers/teachers/{teacher}/model.metrics.jsonl"]
        assert made["objects_per_second"] > 0
