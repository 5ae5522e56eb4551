"""What a distilled student keeps of how its training clips were filmed, from its training to auc.json's warnings."""

import json
from argparse import Namespace

import numpy as np
import pytest
import torch
from students import SMALL

from vadistill.io import maps
from vadistill.io.frames import write_images
from vadistill.io.hdf5 import json_attribute, write_attributes, writing
from vadistill.stages import distill_student, measure_usual, score_frames

SIDES = (1, 4)


def store(folder, name, split, fps, height=40, width=60):
    frames = np.random.default_rng(len(name)).integers(0, 256, (8, height, width, 3), dtype=np.uint8)
    path = folder / f"{name}.h5"
    write_images(path, name, split, frames, "png", fps=fps)
    return path


def arguments(folder, output):
    """Two training clips, one that is held out, and a made one: as the workflow gives them to the stage."""
    frames = [
        store(folder, "a", "train", 25.0),
        store(folder, "b", "train", 10.0, 60, 60),
        store(folder, "held", "train", 50.0, 80, 40),
        store(folder, "a.fast", "synthetic", 75.0),
    ]
    with writing(folder / "maps.h5") as file:
        write_attributes(file, teacher="multi_task")
        for path in frames:
            made = {g: np.random.default_rng(0).random((8, g, g)) for g in SIDES}
            maps.write_clip(file, path.stem, made, height=40, width=60)
    settings = {
        "student": SMALL,
        "distillation": {"teachers": ["multi_task"], "pretrained": False, "epochs": 1, "batch": 4},
        "maps": {"resolutions": SIDES},
        "held_out_clips": {"held": 0.0},
    }
    return Namespace(
        settings=settings,
        frames=frames,
        maps=[folder / "maps.h5"],
        output=output,
        validation=[],
        boxes=[],
        validation_maps=[],
    )


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distilled")
    given = arguments(folder, folder / "distilled.pt")
    distill_student.main(given)
    settings = {"surprise": {"weight": 0.0}, "scene": ""}
    measure_usual.main(Namespace(settings=settings, model=given.output, frames=given.frames, output=folder / "s.pt"))
    return folder / "s.pt"


def test_a_student_keeps_how_the_clips_were_filmed_that_it_learned_from(distilled):
    settings = json.loads(torch.load(distilled)["settings"])
    assert settings["training_clips"] == {
        "clips": 2,
        "frames_per_second": [10.0, 25.0],
        "sizes": [[60, 60], [60, 40]],
    }


def test_scored_clips_that_were_filmed_otherwise_are_among_the_warnings(distilled, tmp_path, caplog):
    frames = [store(tmp_path, "like", "test", 25.0), store(tmp_path, "slow", "test", 5.0, 80, 40)]
    score_frames.main(Namespace(model=distilled, frames=frames, output=tmp_path / "scores.h5"))
    expected = [
        "1 of 2 clips (slow) are unlike the training clips: 5 frames/s (training: 10 to 25)",
        "1 of 2 clips (slow) are unlike the training clips: 40x80 portrait (training: 60x60 square to 60x40 landscape)",
    ]
    trained = json.loads(torch.load(distilled)["settings"])["warnings"]
    assert json_attribute(tmp_path / "scores.h5", "model_settings")["warnings"] == [*trained, *expected]
    assert [line for line in caplog.messages if "unlike" in line] == expected
