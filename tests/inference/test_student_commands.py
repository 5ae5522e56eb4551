"""What ``vadistill score``, ``export`` and ``benchmark`` write, refuse and warn of."""

import csv
import json
import logging
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from students import write_student
from trees import write_avi, write_images

from vadistill.errors import InputError
from vadistill.inference.backends import load_backend
from vadistill.inference.export import export_onnx
from vadistill.inference.score_table import score_all
from vadistill.inference.scoring import ScoreOptions
from vadistill.io.frames import write_frames
from vadistill.io.frames import write_images as write_store
from vadistill.settings import canonical
from vadistill.stages.score_frames import unlike_training
from vadistill.windows.training_conditions import KEY, Conditions

SETTINGS = Conditions(3, (25.0,), ((90, 60),))


def write_model(path, conditions=SETTINGS, **changes):
    """Write a student that says how its training clips were filmed."""
    write_student(path, **changes)
    model = torch.load(path)
    settings = json.loads(model["settings"])
    if conditions:
        settings[KEY] = json.loads(json.dumps(conditions.record()))
    torch.save({**model, "settings": canonical(settings)}, path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "student.pt")


@pytest.fixture(scope="module")
def old_model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "student.pt", conditions=None)


def frames(count=12, height=60, width=90):
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def store(folder, name, fps, height=60, width=90):
    write_store(folder / f"{name}.h5", name, "test", frames(12, height, width), "png", fps=fps)
    return folder / f"{name}.h5"


def scores_of(path):
    with path.open(newline="") as file:
        return np.array([float(row["score"]) for row in csv.DictReader(file)], np.float32)


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_scores_of_a_single_video_go_into_the_file_that_is_named(vadistill, model, tmp_path):
    write_avi(tmp_path / "a.avi", frames())
    code, _, err = vadistill(
        "score", tmp_path / "a.avi", "--model", model, "--output", tmp_path / "new" / "x.CSV", "--maps"
    )
    assert code == 0, err
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"x.CSV", "x.npz"}
    code, _, err = vadistill("score", tmp_path / "a.avi", "--model", model, "--output", tmp_path / "all")
    assert code == 0, err
    assert (tmp_path / "all" / "a.csv").read_bytes() == (tmp_path / "new" / "x.CSV").read_bytes()
    assert len(scores_of(tmp_path / "all" / "a.csv")) == 12
    code, _, err = vadistill(
        "score", tmp_path / "a.avi", "--model", model, "--output", tmp_path / "new" / "x.CSV", "--maps"
    )
    assert code == 0, "an earlier table is replaced"


@pytest.mark.parametrize(
    ("output", "sources", "told"),
    [
        ("x.csv", ["a.avi", "b.avi"], r"x\.csv: one table for 2 videos; expected a folder"),
        (
            "x.json",
            ["a.avi"],
            r"x\.json: unknown ending \.json; known are no ending \(a folder .*\), \.csv \(the table",
        ),
        ("x.parquet", ["a.avi", "b.avi"], r"x\.parquet: one table for 2 videos; expected a folder"),
        ("file", ["a.avi"], "file: a file; expected a folder, or a name that ends in .csv"),
        ("truth.csv", ["a.avi"], r"truth\.csv: a file is there that is no earlier table of scores"),
        ("notes", ["a.avi"], r"notes/a\.csv: a file is there that is no earlier table of scores"),
        ("arrays", ["a.avi"], r"arrays/a\.npz: a file is there that is no earlier file of maps"),
        ("folder.csv", ["a.avi"], r"folder\.csv: a folder is there that is no earlier table of scores"),
    ],
)
def test_outputs_of_scores_that_are_refused(vadistill, model, tmp_path, output, sources, told):
    for name in ("a", "b"):
        write_avi(tmp_path / f"{name}.avi", frames(3))
    (tmp_path / "file").write_text("a letter")
    (tmp_path / "truth.csv").write_text("frame,label\n0,1\n")
    for folder in ("notes", "arrays", "folder.csv"):
        (tmp_path / folder).mkdir()
    (tmp_path / "notes" / "a.csv").write_text("time,remark\n")
    np.savez(tmp_path / "arrays" / "a.npz", features=np.zeros(3))
    before = everything(tmp_path)
    paths = [tmp_path / name for name in sources]
    code, _, err = vadistill("score", *paths, "--model", model, "--output", tmp_path / output, "--maps")
    assert code == 1 and err.count("\n") == 1 and re.search(told, err), err
    assert everything(tmp_path) == before


def test_a_stored_clip_whatever_the_case_of_its_ending(model, tmp_path):
    backend = load_backend("torch-fp32", model, threads=1)
    path = store(tmp_path, "a", 25.0)
    assert score_all([path], tmp_path / "out", backend, ScoreOptions(4)) == []
    shutil.copy(path, tmp_path / "B.H5")
    assert score_all([tmp_path / "B.H5"], tmp_path / "out", backend, ScoreOptions(4)) == []
    np.testing.assert_array_equal(scores_of(tmp_path / "out" / "a.csv"), scores_of(tmp_path / "out" / "B.csv"))


def test_a_model_of_another_format(vadistill, model, tmp_path):
    for name, told in {
        "student.engine": r"student\.engine: unknown ending \.engine; known are \.pt",
        "none.pt": r"none\.pt: missing; expected \.pt",
        "student.onnx": r"student\.onnx: ONNX Runtime cannot load it",
    }.items():
        (tmp_path / name).write_bytes(b"nothing") if name != "none.pt" else None
        code, _, err = vadistill("score", tmp_path / "a.avi", "--model", tmp_path / name, "--output", tmp_path / "out")
        assert code == 1 and re.search(f"^error: .*{told}", err) and err.count("\n") == 1, err
    code, _, err = vadistill(
        "score",
        tmp_path / "a.avi",
        "--model",
        tmp_path / "student.onnx",
        "--output",
        tmp_path / "x",
        "--backend",
        "torch-fp32",
    )
    assert code == 1 and "student.onnx: the backend 'torch-fp32' does not run such a file; expected one of onnx" in err
    for command in (
        ("export", tmp_path / "student.onnx", tmp_path / "out"),
        ("benchmark", tmp_path / "x.json", "--model", tmp_path / "student.onnx"),
    ):
        code, _, err = vadistill(*command)
        assert code == 1 and re.search(r"^error: .*student\.onnx: an exported student; expected the distilled", err), (
            err
        )
    assert {path.name for path in tmp_path.iterdir()} == {"student.onnx", "student.engine"}


@pytest.mark.parametrize("name", ["speed.csv", "speed", "package.json", "folder.json"])
def test_records_of_a_benchmark_that_are_refused(vadistill, model, tmp_path, name):
    (tmp_path / "package.json").write_text('{"name": "mine", "table": 1}')
    (tmp_path / "folder.json").mkdir()
    before = everything(tmp_path)
    code, _, err = vadistill("benchmark", tmp_path / name, "--model", model)
    assert code == 1 and err.count("\n") == 1, err
    assert re.search(rf"{name}: (unknown ending|no ending|a file is there|a folder is there)", err)
    assert everything(tmp_path) == before


def test_a_benchmark_says_what_it_wrote(vadistill, tmp_path, monkeypatch):
    row = {"part": "network", "batch": 1, "backend": "b", "frames_per_second": 1.0, "times_official": 1.0}
    made = {"machine": {}, "peak": {}, "table": [row]}
    monkeypatch.setattr("vadistill.benchmark.speed.measure_speed", lambda *_: made)
    for _ in range(2):  # the second one replaces the first
        code, out, err = vadistill("benchmark", tmp_path / "speed.JSON")
        assert code == 0, err
        assert out.splitlines()[-1] == f"{tmp_path}/speed.JSON: JSON, {(tmp_path / 'speed.JSON').stat().st_size} bytes"


@pytest.mark.slow
def test_an_export_says_what_it_wrote(vadistill, model, tmp_path):
    code, out, err = vadistill("export", model, tmp_path / "Student.ONNX")
    assert code == 0, err
    size = (tmp_path / "Student.ONNX").stat().st_size / 1000
    assert re.fullmatch(rf".*/Student\.ONNX: ONNX in fp32, {size:.1f} kB, differs from torch by at most \S+\n", out), (
        out
    )
    backend = load_backend("onnx-fp32", tmp_path / "Student.ONNX", threads=1)
    assert backend.conditions == SETTINGS
    code, _, err = vadistill("export", model, tmp_path / "x.onnx", "--precision", "int8")
    assert code == 1 and "--precision int8: ONNX is written in fp32" in err and not (tmp_path / "x.onnx").exists()


def warnings_of(caplog, call):
    caplog.clear()
    caplog.set_level("INFO")
    made = call()
    return made, [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("fps", "height", "width", "told"),
    [
        (25.0, 60, 90, None),
        (27.0, 120, 180, None),
        (None, 60, 90, None),
        (50.0, 60, 90, "50 frames/s (training: 25); --match-rate keeps the time between frames"),
        (25.0, 90, 60, "60x90 portrait (training: 90x60 landscape)"),
        (None, 90, 90, "90x90 square (training: 90x60 landscape)"),
        (
            5.0,
            60,
            200,
            "5 frames/s (training: 25), 200x60 landscape (training: 90x60 landscape); --match-rate keeps the "
            "time between frames",
        ),
    ],
)
def test_one_warning_of_a_video_that_was_filmed_otherwise(model, tmp_path, caplog, fps, height, width, told):
    backend, path = load_backend("torch-fp32", model, threads=1), store(tmp_path, "a", fps, height, width)
    errors, warned = warnings_of(caplog, lambda: score_all([path], tmp_path / "out", backend, ScoreOptions(5)))
    assert errors == [] and warned == ([f"{path}: unlike the training clips: {told}"] if told else [])


@pytest.mark.parametrize("kind", ["video", "images"])
def test_the_shape_is_that_of_the_decoded_frames(model, tmp_path, caplog, kind):
    backend, path = load_backend("torch-fp32", model, threads=1), tmp_path / ("a.avi" if kind == "video" else "a")
    write_avi(path, frames(4, 90, 60)) if kind == "video" else write_images(path, frames(4, 90, 60), ".png")
    _, warned = warnings_of(caplog, lambda: score_all([path], tmp_path / "out", backend, ScoreOptions(5)))
    assert warned == [f"{path}: unlike the training clips: 60x90 portrait (training: 90x60 landscape)"]


def test_a_model_that_does_not_say_how_its_clips_were_filmed(old_model, tmp_path, caplog):
    backend, path = load_backend("torch-fp32", old_model, threads=1), store(tmp_path, "a", 3.0, 90, 60)
    errors, warned = warnings_of(caplog, lambda: score_all([path], tmp_path / "out", backend, ScoreOptions(5)))
    assert backend.conditions is None and errors == warned == []
    assert any("does not say how its training clips were filmed" in line for line in caplog.messages)
    with pytest.raises(
        InputError, match=r"--match-rate \(match_rate\): the model does not know the frames a second of its training"
    ):
        score_all([path], tmp_path / "out", backend, ScoreOptions(5, match_rate=True))


def test_a_matched_rate_sees_the_same_moments(vadistill, model, tmp_path, caplog):
    """A clip of twice the rate, every frame of it shown twice, scores like the clip itself."""
    images = frames(14)
    write_store(tmp_path / "once.h5", "once", "test", images, "png", fps=25.0)
    write_store(tmp_path / "twice.h5", "twice", "test", [image for image in images for _ in range(2)], "png", fps=50.0)
    paths = [tmp_path / "once.h5", tmp_path / "twice.h5"]
    backend = load_backend("torch-fp32", model, threads=1)
    _, warned = warnings_of(
        caplog, lambda: score_all(paths, tmp_path / "out", backend, ScoreOptions(5, match_rate=True))
    )
    assert warned == []
    line = f"{paths[1]}: 50 frames/s (training: 25), frame step 6 for 3: 0.12 s between frames for 0.12 s"
    assert line in caplog.messages
    once, twice = (scores_of(tmp_path / "out" / f"{name}.csv") for name in ("once", "twice"))
    np.testing.assert_allclose(twice[::2], once, atol=1e-6)
    code, _, err = vadistill("score", paths[1], "--model", model, "--output", tmp_path / "plain.csv")
    assert code == 0, err
    assert np.abs(scores_of(tmp_path / "plain.csv")[::2] - once).max() > 1e-3, "without it, other frames are seen"
    code, _, err = vadistill("score", paths[1], "--model", model, "--output", tmp_path / "m.csv", "--match-rate")
    assert code == 0, err
    np.testing.assert_allclose(scores_of(tmp_path / "m.csv"), twice, rtol=1e-5)


def test_a_source_without_a_rate_cannot_be_matched(model, tmp_path):
    write_images(tmp_path / "images", frames(4), ".png")
    backend = load_backend("torch-fp32", model, threads=1)
    paths = [tmp_path / "images", store(tmp_path, "a", 25.0)]
    errors = score_all(paths, tmp_path / "out", backend, ScoreOptions(5, match_rate=True))
    assert errors == [f"{tmp_path}/images: states no frames a second; expected them with --match-rate"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.csv"}


def test_test_clips_of_the_workflow_are_compared(tmp_path):
    settings = {KEY: json.loads(json.dumps(SETTINGS.record()))}
    paths = [
        store(tmp_path, name, fps, 60, width)
        for name, fps, width in (
            ("a", 25.0, 90),
            ("b", 10.0, 90),
            ("c", 10.0, 200),
            ("d", None, 90),
            ("e", 10.0, 90),
            ("f", 10.0, 90),
        )
    ]
    assert unlike_training(paths, settings) == [
        "4 of 6 clips (b, c, e ...) are unlike the training clips: 10 frames/s (training: 25)",
        "1 of 6 clips (c) are unlike the training clips: 200x60 landscape (training: 90x60 landscape)",
    ]
    assert unlike_training(paths, {}) == [] and unlike_training(paths[:1], settings) == []


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_images_of_more_than_8_bits_are_scored_in_the_range_of_training(vadistill, tmp_path, kind):
    depth, folder = (7320.0, 9040.0), tmp_path / "thermal"
    folder.mkdir()
    for t, frame in enumerate(frames()):
        values = (7000 + frame[..., 0].astype(float) * 10).astype(kind)
        assert cv2.imwrite(str(folder / f"{t:03d}.tif"), values)
    write_frames(tmp_path / "stored.h5", "thermal", "test", folder, "png", scale=depth)
    model = write_model(tmp_path / "student.pt", replace(SETTINGS, depth=depth))
    code, _, err = vadistill("score", folder, tmp_path / "stored.h5", "--model", model, "--output", tmp_path / "out")
    assert code in (0, None), err
    made, expected = (scores_of(tmp_path / "out" / f"{name}.csv") for name in ("thermal", "stored"))
    np.testing.assert_array_equal(made, expected)
    assert np.ptp(made) > 0


@pytest.mark.slow
def test_an_export_keeps_the_range_of_training(tmp_path):
    model = write_model(tmp_path / "student.pt", replace(SETTINGS, depth=(1.0, 2.0)))
    export_onnx(model, tmp_path / "student.onnx")
    assert load_backend("onnx-fp32", tmp_path / "student.onnx").conditions.depth == (1.0, 2.0)
