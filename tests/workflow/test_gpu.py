"""Every stage at two steps, on the processors and, where there is one, on a GPU."""

import json
import math
import os
import re
import sys

import pytest
import torch
from conftest import copy_project

pytestmark = pytest.mark.workflow
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch reaches")
# Two steps an epoch, one epoch: 20 of the objects, 16 of the frames.
SHORT = """
datasets:
  tiny:
    demo: {seed: 3, train_clips: 2, test_clips: 2, frames: 24, height: 96, width: 160}
    shards: 1
    objects: {moving: false}
    validation: {clips: 1, frames: 24, kinds: [pasted]}
    synthetic: {clips: 1, frames: 24, kinds: [pasted]}
    background_agnostic: {max_objects: 20, batch: 10}
    multi_task: {max_objects: 20, batch: 10, epochs: 1}
    flow_neighbours: {max_objects: 20}
    pretraining: {epochs: 1, batch: 8, frame_stride: 3}
    distillation: {epochs: 1, batch: 12, selection: last}
    sdmae: {batch: 8, frame_stride: 3}
"""
TARGETS = ("auc.json", "sdmae/auc.json")
ON = {  # logs that say where a stage ran
    "detect_objects/train/0.log": r"detector demo.pt on (\w+)",
    "train_teacher/background_agnostic.log": r"background_agnostic on (\w+)",
    "train_teacher/multi_task.log": r"multi_task on (\w+)",
    "pretrain_student.log": r" on (\w+), \d+ frames",
    "distill_student.log": r" on (\w+), \d+ frames",
    "train_detector/sdmae.log": r"sdmae on (\w+)",
}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_every_stage_runs_on(device, tmp_path, forks, monkeypatch):
    if device == "cpu":
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    # A process that was forked behind CUDA's start cannot use it, so that stages are processes of their own there.
    project = copy_project(tmp_path / "project", forks if device == "cpu" else sys.executable)
    targets = [f"results/tiny/{target}" for target in TARGETS]
    project.snakemake(*targets, "--resources", "gpu=1", "--cores", str(os.cpu_count()), config=[project.changed(SHORT)])
    results = project.folder / "results/tiny"
    for name, pattern in ON.items():
        text = (results / "logs" / name).read_text()
        found = re.search(pattern, text)
        assert found and found[1] == device, f"{name}: {text}"
    for name in ("auc.json", "sdmae/auc.json"):
        made = json.loads((results / name).read_text())
        score = made.get("student") or made["scores"]
        assert 0 <= score["micro_auc"] <= 1
    for path in results.rglob("*.metrics.jsonl"):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        assert bool(records) == (path.parent.name != "flow_neighbours"), "this one keeps objects and learns nothing"
        assert all(math.isfinite(record["train_loss"]) for record in records), path
