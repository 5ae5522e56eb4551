"""The trained student of the tiny data set says the same in every backend, and so does its AUC."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from conftest import HANGS

from vadistill.inference.backends import BASELINE

pytestmark = pytest.mark.workflow
BACKENDS = (BASELINE, "torch-fp32", "torch-bf16", "onnx-fp32", "openvino-fp32", "openvino-int8", "torch-fp16")


@pytest.fixture(scope="module")
def table(finished, tmp_path_factory):
    results, output = finished.folder / "results/tiny", tmp_path_factory.mktemp("backends") / "backends.csv"
    settings = {"evaluation": {"smoothing_sigma": 2.0}, "layout": "folder", "path": "results/tiny/clips"}
    command = [sys.executable, "-m", "vadistill.stages.compare_backends", "--settings", json.dumps(settings)]
    command += ["--model", results / "student/student.pt", "--output", output, "--backends", *BACKENDS]
    for option, split in (("calibration", "train"), ("frames", "test")):
        command += [f"--{option}", *sorted((results / "frames" / split).glob("*.h5"))]
    done = subprocess.run(list(map(str, command)), cwd=finished.folder, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    return pd.read_csv(output, index_col="backend"), done.stderr


def test_every_backend_says_the_same(table):
    rows, _ = table
    assert not rows.loc[BASELINE, ["score_difference", "map_difference"]].any()
    for name in ("torch-fp32", "onnx-fp32", "openvino-fp32"):
        assert 0 < rows.loc[name, "score_difference"] < 1e-4 and abs(rows.loc[name, "micro_auc_gain"]) < 1e-3
    assert rows.loc["torch-bf16", "score_difference"] < 0.03 and abs(rows.loc["torch-bf16", "micro_auc_gain"]) < 0.02
    assert rows.loc["openvino-int8", "score_difference"] < 0.2
    assert rows.loc["openvino-int8", ["micro_auc_gain", "macro_auc_gain"]].min() > -0.005, (
        "half a point at most is lost"
    )


def test_the_baseline_has_the_auc_of_the_workflow(table, finished):
    made = json.loads((finished.folder / "results/tiny/auc.json").read_text())["student"]
    assert table[0].loc[BASELINE, "micro_auc"] == pytest.approx(made["micro_auc"], abs=2e-3)
    assert table[0].loc[BASELINE, "macro_auc"] == pytest.approx(made["macro_auc"], abs=2e-3)
    assert set(table[0]["protocol"]) == {"vadistill"} and set(table[0]["sigma_frames"]) == {2.0}


def test_what_cannot_be_had_is_left_out(table):
    rows, said = table
    if "torch-fp16" not in rows.index:
        assert "torch-fp16 is left out: backend 'torch-fp16': there is no GPU" in said
