"""The frame-level detector flow_cells: the stages that make it, and its scores beside the teacher's."""

from argparse import Namespace
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch
from stored_clips import store_of

from vadistill.errors import InputError
from vadistill.evaluation.results import highest, scored_objects
from vadistill.frame_level.registry import load_network, read_detector
from vadistill.inference.backends import load_backend
from vadistill.inference.export import export_onnx
from vadistill.io.hdf5 import json_attribute
from vadistill.io.maps import MapStore
from vadistill.maps.calibration import Calibrator
from vadistill.maps.calibration_file import read_calibration
from vadistill.settings import CalibrationConfig, FlowCellsConfig, MotionConfig
from vadistill.stages import (
    build_maps,
    calibrate_teacher,
    compute_motion,
    pack_cells,
    score_cells,
    score_frames,
    train_cells,
)

MOTION = MotionConfig(step=2, rows=6, columns=9)
SIDES, FRAMES, HEIGHT, WIDTH = (1, 4), 16, 60, 90


def walking(seed, speed):
    """A textured square that walks to the right over a textured ground."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 1.5)
    for t in range(FRAMES):
        image, x = texture / 2, round(5 + speed * t)
        image[20:36, x : x + 16] = 120 + texture[:16, :16] / 2
        yield image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The detector and what it is made of: two normal clips, one of them held out, and a test clip."""
    folder, files = tmp_path_factory.mktemp("cells"), {}
    frames = {name: store_of(folder, name, walking(i, 1 + i)).path for i, name in enumerate(("a", "b", "test"))}
    for name in frames:
        files[name] = folder / f"{name}.motion.h5"
        settings = {"motion": asdict(MOTION)}
        compute_motion.main(Namespace(settings=settings, frames=[frames[name]], output=files[name]))
    model, calibration, packed = (folder / name for name in ("model.pt", "calibration.json", "packed.pt"))
    settings = {"scene": "", "held_out": {"share": 0.5}, "flow_cells": asdict(FlowCellsConfig(max_cells=200))}
    motion = [files["a"], files["b"]]
    train_cells.main(Namespace(settings=settings, teacher="flow_cells", motion=motion, output=model))
    scores = {"train": folder / "train.h5", "test": folder / "test.scores.h5"}
    for split, used in (("train", motion), ("test", [files["test"]])):
        arguments = {"settings": {"scene": ""}, "teacher": "flow_cells", "model": model}
        score_cells.main(Namespace(**arguments, motion=used, output=scores[split]))
    fitted = {"calibration": asdict(CalibrationConfig()), "fitted_on": {"a": 0.0, "b": 0.0}}
    calibrate_teacher.main(Namespace(settings=fitted, scores=[scores["train"]], output=calibration))
    settings = {"motion": asdict(MOTION), "maps": {"resolutions": SIDES}, "held_out_clips": {"b": 0.0}}
    arguments = {"model": model, "calibration": calibration, "frames": [frames["a"], frames["b"]]}
    pack_cells.main(Namespace(settings=settings, **arguments, output=packed))
    return Namespace(frames=frames, model=model, calibration=calibration, packed=packed, scores=scores, folder=folder)


def test_inside_a_clip_it_says_what_the_teacher_says(made):
    found = made.folder / "frames.h5"
    score_frames.main(Namespace(model=made.packed, frames=[made.frames["test"]], output=found))
    own = MapStore([found])
    calibrator = Calibrator.from_json(read_calibration(made.calibration)["score"])
    expected = highest(scored_objects([made.scores["test"]], calibrator))["test"]
    inside = slice(MOTION.step, FRAMES - MOTION.step)
    assert expected[inside].min() > 0
    np.testing.assert_allclose(own.score("test")[inside], expected[inside], atol=1e-6)
    maps = made.folder / "maps.h5"
    settings = {"maps": {"resolutions": SIDES}}
    arguments = {"scores": [made.scores["test"]], "calibration": made.calibration, "output": maps}
    build_maps.main(Namespace(settings=settings, **arguments))
    for side, grid in MapStore([maps]).read("test", SIDES).items():
        np.testing.assert_allclose(own.read("test", SIDES)[side][inside], grid[inside], atol=1e-3)


def test_at_the_ends_of_a_clip_it_sees_motion_in_one_direction(made):
    detector, network = load_network(made.packed, torch.device("cpu"))
    windows = detector.windows([made.frames["test"]])
    score = network(torch.stack([windows[t][0] for t in (0, 1, FRAMES - 1)]))[0]
    assert (score > 0).all()
    still = windows[5][0].unflatten(0, (3, 3))[1].repeat(3, 1, 1)[None]
    assert not any(part.any() for part in network(still)), "where nothing moves there is nothing to score"


def test_it_is_known_what_it_was_made_of(made):
    detector, _ = read_detector(made.packed)
    assert detector.size == (HEIGHT, WIDTH) and detector.offsets == (-2, 0, 2) and detector.resolutions == SIDES
    assert detector.settings["held_out_clips"] == {"b": 0.0} and detector.settings["training_data"]
    assert detector.settings["training_clips"]["clips"] == 1, "the other one is held out"
    assert json_attribute(made.scores["train"], "model_settings") == detector.settings["flow_cells"]
    backend = load_backend("torch-fp32", made.packed)
    assert len(backend(np.zeros((3, 9, HEIGHT, WIDTH), np.uint8)).score) == 3


def test_what_it_cannot_do_is_refused(made, tmp_path):
    with pytest.raises(InputError, match=r"the network of flow_cells is no graph that another runtime takes"):
        export_onnx(made.packed, tmp_path / "cells.onnx")
    with pytest.raises(InputError, match=r"is no graph"):
        load_backend("torch-compile-bf16", made.packed)
    with pytest.raises(InputError, match=rf"{made.model}: the teacher flow_cells.*expected flow_cells/packed\.pt"):
        read_detector(made.model)
    assert not list(tmp_path.iterdir())


def test_clips_of_several_sizes_and_scenes_are_warned_of(made, tmp_path, caplog):
    large = [cv2.resize(image, None, fx=2, fy=2) for image in walking(0, 1)]
    frames = [made.frames["a"], store_of(tmp_path, "large", large).path]
    settings = {"motion": asdict(MOTION), "maps": {"resolutions": SIDES}, "held_out_clips": {}}
    arguments = {"model": made.model, "calibration": made.calibration, "output": tmp_path / "packed.pt"}
    pack_cells.main(Namespace(settings=settings, frames=frames, **arguments))
    detector = read_detector(tmp_path / "packed.pt").detector
    assert "training clips of 2 sizes and 1 scenes" in detector.settings["warnings"][0]
    assert detector.settings["warnings"][0] in caplog.text and detector.size == (HEIGHT, WIDTH)
