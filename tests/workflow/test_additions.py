"""A layout is one file and one line, a teacher or frame-level detector its settings, one file and one line.

A toy of each runs through.
"""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from conftest import copy_project
from trees import write_mp4

from vadistill.datasets.demo.clips import render_clip
from vadistill.settings import DemoConfig

pytestmark = pytest.mark.workflow
FRAMES = 30
LAYOUT = '''"""Toy layout: normal/*.mp4 and watched/*.mp4, <clip>.txt beside a watched clip with a 0 or 1 a frame."""

from dataclasses import dataclass

from vadistill.datasets.clips import Clip, LabelSource
from vadistill.datasets.folders import matching, required_labels


@dataclass(frozen=True)
class TextLabels(LabelSource):
    text = "a text file a clip"

    def read_frames(self, clip, count):
        import numpy as np

        return np.loadtxt(self.frames, dtype=np.uint8)


def clips(root, layout):
    normal, watched = (
        matching(root / folder, lambda path: path.suffix == ".mp4", "videos") for folder in ("normal", "watched")
    )
    return [Clip(path.stem, "train", path) for path in normal] + [
        Clip(path.stem, "test", path, TextLabels(required_labels(path.with_suffix(".txt"), path.stem)))
        for path in watched
    ]
'''
SETTINGS = '''@dataclass(frozen=True)
class ToyAreaConfig:
    """Teacher: how unusual the area of an object's box is."""

    of: ClassVar[Judged] = "boxes"
    terms: ClassVar[tuple[str, ...]] = ("unusual_area",)
    network: ClassVar[str] = ""
    flow: ClassVar[None] = None

    power: float = number(1.0, "of the deviation")
    max_objects: int = number(100, "objects that it learns from", 1)
    seed: int = number(0, "of nothing")


# By name, in the order of all tables.'''
TEACHER = '''"""Deviation of the logarithm of a box's area from the mean of the training objects."""

import torch

from vadistill.teachers.base import Teacher
from vadistill.teachers.crops import CropRequest


class ToyArea(Teacher):
    name = "toy_area"
    terms = score_terms = ("unusual_area",)

    def __init__(self, settings, classes, scenes=1):
        super().__init__(settings, classes, scenes)
        self.power = settings.power
        self.register_buffer("usual", torch.zeros(2))

    def training_crops(self):
        return CropRequest(32)

    scoring_crops = training_crops

    def prepare(self, objects):
        area = self._area(objects)
        self.usual.copy_(torch.stack([area.mean(), area.std()]))

    def measure(self, batch):
        return ((self._area(batch) - self.usual[0]).abs() / self.usual[1])[:, None] ** self.power

    def _area(self, batch):
        box = batch["box"]
        return ((box[:, 2:] - box[:, :2]).prod(1) + 1).log()
'''
DETECTOR_SETTINGS = '''@dataclass(frozen=True)
class ToyChangeConfig:
    """Detector: how much the picture changes."""

    model: ClassVar[str] = MODEL

    side: int = number(8, "cells of its map", 1)


# By name, in the order of all tables.'''
DETECTOR = '''"""Mean change of each cell since the frame before, divided by the usual one."""

import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from vadistill.frame_level.base import FrameTrainedDetector
from vadistill.settings import section
from vadistill.training.run import TrainingPhase
from vadistill.windows.loader import loader


class Change(nn.Module):
    def __init__(self, side):
        super().__init__()
        self.side = side
        self.register_buffer("usual", torch.ones(()))

    def forward(self, frames):
        before, present = frames.float().chunk(2, dim=1)
        cells = adaptive_avg_pool2d((present - before).abs().mean(1), self.side) / self.usual
        return cells.amax((1, 2)), cells


class ToyChangeDetector(FrameTrainedDetector):
    name = "toy_change"

    def __init__(self, settings):
        super().__init__(settings)
        self.size, self.offsets = (48, 80), (-1, 0)
        self.resolutions = (section("toy_change", settings["toy_change"]).side,)

    def build(self):
        return Change(self.resolutions[0])

    def fit(self, training, windows, device):
        network = self.build().to(device)

        def epoch(_, generator):
            order = windows.epoch_order(0, 1, generator)
            changes = [network(frames.to(device))[1].mean() for frames, *_ in loader(windows, order, 8, 0)]
            network.usual.copy_(torch.stack(changes).mean())
            return {"usual": float(network.usual)}

        training.fit([TrainingPhase("usual", 1, {"network": network}, epoch)])
        return network.state_dict()
'''
CONFIG = """
datasets:
  toy:
    layout: toy_folders
    path: resources/toy
    shards: 1
    detection: {weights: demo.pt, image_size: 160, confidence: 0.02}
    objects: {confidence: 0.1, min_side: 6.0}
    toy_area: {power: 0.5}
    toy_change: {side: 6}
    distillation: {teachers: [toy_area], pretrained: false, synthetic: false, epochs: 1, batch: 8, frame_stride: 2}
    student: {height: 48, width: 80, base_width: 4, downsamplings: 3, depth: 1, heads: 2, head_width: 8}
    evaluation: {smoothing_sigma: 2.0}
"""


def add_line(path, before, line):
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, f"{line}{before}"))


@pytest.fixture(scope="module")
def project(tmp_path_factory, forks):
    """A copy of the project with a toy layout, a toy teacher, a toy detector and a data set for them."""
    made = copy_project(tmp_path_factory.mktemp("additions") / "project", forks)
    package = made.folder / "src/vadistill"
    (package / "datasets/layouts/toy.py").write_text(LAYOUT)
    add_line(package / "settings/data.py", '    "demo": "folder",\n', '    "toy_folders": "toy",\n')
    (package / "teachers/toy_area.py").write_text(TEACHER)
    settings = package / "settings/teachers.py"
    settings.write_text(settings.read_text().replace("# By name, in the order of all tables.", SETTINGS))
    add_line(settings, '    "flow_cells": FlowCellsConfig,\n', '    "toy_area": ToyAreaConfig,\n')
    (package / "frame_level/toy_change.py").write_text(DETECTOR)
    settings = package / "settings/detectors.py"
    own = settings.read_text().replace("# By name, in the order of all tables.", DETECTOR_SETTINGS)
    imports = ("from dataclasses import dataclass", "from typing import ClassVar, Protocol", "")
    imports = "\n".join((*imports, "from vadistill.settings.fields import number\n"))
    settings.write_text(own.replace("from typing import ClassVar, Protocol\n\n", imports))
    add_line(settings, "}\n", '    "toy_change": ToyChangeConfig,\n')
    demo = DemoConfig(seed=3, train_clips=2, test_clips=1, frames=FRAMES, height=96, width=160)
    for folder, split, number in (("normal", "train", 1), ("normal", "train", 2), ("watched", "test", 1)):
        frames, masks, _ = zip(*render_clip(demo, split, f"{split}_{number:02d}"), strict=True)
        clip = made.folder / "resources/toy" / folder / f"{number}.mp4"
        write_mp4(clip, list(frames))
        if split == "test":
            np.savetxt(clip.with_suffix(".txt"), np.stack(masks).any((1, 2)), "%d")
    return made


def test_they_run_to_the_auc(project):
    project.snakemake("results/toy/auc.json", config=[project.changed(CONFIG)])
    result = json.loads((project.folder / "results/toy/auc.json").read_text())
    assert result["labels"] == "a text file a clip" and 0 <= result["teachers"]["toy_area"]["micro_auc"] <= 1
    assert 0 <= result["student"]["micro_auc"] <= 1
    planned = project.planned("results/toy/auc.json", config=[project.changed(CONFIG.replace("0.5}", "0.6}"))])
    assert "train_teacher" in planned and "detect_objects" not in planned


def test_a_frame_level_detector_has_its_own_auc_and_scores_videos(project):
    config = [project.changed(CONFIG)]
    project.snakemake("results/toy/toy_change/auc.json", config=config)
    folder = project.folder / "results/toy/toy_change"
    result = json.loads((folder / "auc.json").read_text())
    assert result["detector"] == "toy_change" and 0 <= result["scores"]["micro_auc"] <= 1
    assert result["settings"]["toy_change"] == {"side": 6} and "frame_difference" in result["trivial"]
    clip = next(
        (project.folder / "results/toy/frames/test").glob("*.h5")
    )  # stored frames: a video has been encoded once less
    command = ["score", str(clip), "--model", str(folder / "model.pt"), "--output", str(folder / "one.csv")]
    environment = {**os.environ, "PYTHONPATH": str(project.folder / "src")}
    subprocess.run([sys.executable, "-m", "vadistill", *command], env=environment, check=True)
    rows = (folder / "one.csv").read_text().splitlines()
    with h5py.File(folder / "scores/test.h5") as file:
        stored = file[clip.stem]["score"][:]
    np.testing.assert_allclose([float(row.split(",")[-1]) for row in rows[1:]], stored, rtol=1e-4)
    planned = project.planned("results/toy/toy_change/auc.json", config=[project.changed(CONFIG.replace("6}", "7}"))])
    assert {"train_detector", "score_frames", "evaluate_detector"} <= set(planned)
    assert "extract_frames" not in planned and "score_trivially" not in planned


def test_its_settings_are_none_of_the_teachers(project):
    """A variant of them alone is none of the teachers, nor of the student."""
    variants = "  other: {variant_of: toy, toy_change: {side: 7}}\n  seed: {variant_of: toy, distillation: {seed: 1}}\n"
    script = (
        "import yaml; from vadistill.datasets.catalogue import Catalogue;"
        f"known = Catalogue(yaml.safe_load({CONFIG + variants!r}));"
        "print(known.variant_groups('toy', 'teachers'), known.variant_groups('toy', 'student'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(project.folder / "src")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "{'toy': 'toy'} {'toy': 'toy', 'seed': 'toy'}"
