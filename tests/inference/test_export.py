import json
import re
import shutil

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from stored_clips import numbered_clip
from students import said_plainly, windows_of, write_student

from vadistill.errors import InputError
from vadistill.frame_level.registry import untrained
from vadistill.inference import export, onnx_graph
from vadistill.inference.backends import backend_for, load_backend
from vadistill.inference.export import export_onnx, export_openvino, windows_for
from vadistill.settings import StudentConfig, canonical

FRAMES = windows_of(5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A student and all its exports; the student itself is gone afterwards."""
    folder = tmp_path_factory.mktemp("export")
    write_student(folder / "student.pt")
    calibration = list(windows_of(20, seed=1))
    differences = {"fp32.onnx": export_onnx(folder / "student.pt", folder / "fp32.onnx", calibration)}
    with pytest.MonkeyPatch.context() as patch:  # torch's exporter takes seconds, and once is enough
        patch.setattr(onnx_graph, "to_onnx", lambda _: (folder / "fp32.onnx").read_bytes())
        for precision in ("fp32", "fp16", "int8"):
            differences[precision] = export_openvino(folder / "student.pt", folder / precision, precision, calibration)
    (folder / "student.pt").rename(folder / "hidden.pt")
    return folder, differences


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return said_plainly(write_student(tmp_path_factory.mktemp("plain") / "student.pt"), FRAMES)


@pytest.mark.parametrize(
    ("name", "backend", "bound"),
    [
        ("fp32.onnx", "onnx-fp32", 1e-5),
        ("fp32.onnx", "openvino-fp32", 1e-5),
        ("fp32", "openvino-fp32", 1e-5),
        ("fp16", "openvino-fp32", 1e-3),
        ("int8", "openvino-int8", 0.05),
    ],
)
def test_an_exported_file_is_enough(folder, plain, name, backend, bound):
    made = load_backend(backend, folder[0] / name, threads=1)
    assert (made.size, made.offsets, made.resolutions) == ((50, 70), (-3, 0, 3), (1, 4, 16))
    scores, maps = plain
    assert np.abs(made(FRAMES).score - scores).max() <= bound
    assert np.abs(made(FRAMES).maps[16] - maps[16]).max() <= 5 * bound


def test_every_runtime_scores_as_sdmae_does(tmp_path):
    settings = {"height": 32, "width": 48, "patch": 8, "encoder_width": 16, "decoder_width": 8, "heads": 2, "masks": 2}
    used = {"sdmae": {**settings, "encoder_depth": 1, "decoder_depth": 2}, "maps": {"resolutions": [1, 4]}}
    torch.manual_seed(0)
    weights = untrained("sdmae", used).build().state_dict()
    torch.save({"kind": "sdmae", "settings": canonical(used), "weights": weights}, tmp_path / "model.pt")
    export_onnx(tmp_path / "model.pt", tmp_path / "model.onnx")
    export_openvino(tmp_path / "model.pt", tmp_path / "folder")
    export_openvino(tmp_path / "model.pt", tmp_path / "int8", "int8", windows_of(8, 32, 48, seed=1))
    frames = windows_of(5, 32, 48)
    expected = load_backend("eager-fp32", tmp_path / "model.pt")(frames)
    assert np.ptp(expected.score) > 0.01
    for name, file in (("torch-fp32", "model.pt"), ("onnx-fp32", "model.onnx"), ("openvino-fp32", "folder")):
        made = load_backend(name, tmp_path / file, threads=1)(frames)
        np.testing.assert_allclose(made.score, expected.score, atol=1e-5)
        np.testing.assert_allclose(made.maps[4], expected.maps[4], atol=1e-5)
    made = load_backend("openvino-int8", tmp_path / "int8", threads=1)(frames)
    assert 0 < np.abs(made.score - expected.score).max() < 0.05


def test_the_difference_is_that_of_the_file(folder):
    made, differences = folder
    calibration = windows_of(20, seed=1)
    expected, _ = said_plainly(write_student(made / "again.pt"), calibration)
    for name, difference in differences.items():
        backend = "onnx-fp32" if name.endswith(".onnx") else f"openvino-{name.replace('fp16', 'fp32')}"
        score = load_backend(backend, made / name, threads=1)(calibration[[0, 19]]).score
        assert np.abs(score - expected[[0, 19]]).max() <= difference + 1e-6
    assert 0 < differences["fp32"] < 1e-4 < differences["fp16"] < differences["int8"]


def test_any_reader_finds_names_shapes_and_description(folder):
    proto = onnx.load(folder[0] / "fp32.onnx")
    onnx.checker.check_model(proto)
    description = json.loads(next(entry.value for entry in proto.metadata_props if entry.key == "vadistill"))
    assert description["settings"]["student"]["base_width"] == 4
    assert {key: description[key] for key in ("size", "offsets", "resolutions", "precision")} == {
        "size": [50, 70],
        "offsets": [-3, 0, 3],
        "resolutions": [1, 4, 16],
        "precision": "fp32",
    }
    session = onnxruntime.InferenceSession(folder[0] / "fp32.onnx")
    (frames,) = session.get_inputs()
    assert (frames.name, frames.shape, frames.type) == ("frames", ["batch", 9, 50, 70], "tensor(uint8)")
    shapes = {made.name: made.shape[1:] for made in session.get_outputs()}
    assert shapes == {"score": [], "map_1": [1, 1], "map_4": [4, 4], "map_16": [16, 16]}
    graph = openvino.Core().read_model(folder[0] / "int8" / "model.xml")
    assert json.loads(graph.get_rt_info(["framework", "vadistill"]).astype(str)) == {**description, "precision": "int8"}
    assert [made.get_any_name() for made in graph.outputs] == list(shapes)


def test_eight_bits_and_half_the_bytes(folder):
    sizes = {name: (folder[0] / name / "model.bin").stat().st_size for name in ("fp32", "fp16", "int8")}
    assert sizes["fp16"] < 0.6 * sizes["fp32"] and sizes["int8"] < 0.6 * sizes["fp32"]
    assert {path.name for path in (folder[0] / "int8").iterdir()} == {"model.xml", "model.bin"}


def test_a_file_that_differs_is_refused_and_the_old_one_stays(folder, tmp_path, monkeypatch):
    model = tmp_path / "student.pt"
    write_student(model, last_activation="relu")
    monkeypatch.setattr(onnx_graph, "to_onnx", lambda _: (folder[0] / "fp32.onnx").read_bytes())  # it has softplus
    earlier = (folder[0] / "fp32.onnx").read_bytes()
    (tmp_path / "made.onnx").write_bytes(earlier)
    shutil.copytree(folder[0] / "fp16", tmp_path / "made")
    weights = (tmp_path / "made" / "model.bin").read_bytes()
    for write, output in ((export_onnx, tmp_path / "made.onnx"), (export_openvino, tmp_path / "made")):
        refused = f"{re.escape(str(output))}: not written, differs from torch by \\S+; expected at most 0.0001"
        with pytest.raises(InputError, match=refused):
            write(model, output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "made.onnx", "student.pt"]
    assert (tmp_path / "made.onnx").read_bytes() == earlier
    assert (tmp_path / "made" / "model.bin").read_bytes() == weights


def test_what_cannot_be_exported(folder, tmp_path):
    model = folder[0] / "hidden.pt"
    with pytest.raises(InputError, match=r"student\.pt: unknown ending \.pt; known are \.onnx \(ONNX\), no ending "):
        export_onnx(model, tmp_path / "student.pt")
    with pytest.raises(InputError, match=r"made: expected a name that ends in \.onnx"):
        export_onnx(model, tmp_path / "made")
    with pytest.raises(InputError, match=r"made\.onnx: expected the name of a folder for OpenVINO"):
        export_openvino(model, tmp_path / "made.onnx")
    with pytest.raises(InputError, match="precision 'int4': unknown; expected one of fp32, fp16, int8"):
        export_openvino(model, tmp_path / "made", "int4")
    with pytest.raises(InputError, match="no calibration frames"):
        export_openvino(model, tmp_path / "made", "int8")
    for exported in (folder[0] / "fp32.onnx", folder[0] / "fp32"):
        with pytest.raises(InputError, match=f"{exported}: an exported student; expected the distilled one"):
            export_openvino(exported, tmp_path / "made", "int8")
    with pytest.raises(
        InputError, match="int8: holds 8-bit weights; expected float ones for the backend 'openvino-fp32'"
    ):
        load_backend("openvino-fp32", folder[0] / "int8")
    with pytest.raises(InputError, match=r"bare\.onnx: holds no description of a student"):
        bare = onnx.load(folder[0] / "fp32.onnx")
        del bare.metadata_props[:]
        onnx.save(bare, tmp_path / "bare.onnx")
        load_backend("onnx-fp32", tmp_path / "bare.onnx")


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def others(root, exported):
    """Make what is no export of ours, and must survive one."""
    for name in ("diary", "beside", "foreign", "half"):
        (root / name).mkdir()
    (root / "diary" / "diary.txt").write_text("dear diary")
    for name in ("model.xml", "model.bin"):
        shutil.copy(exported / "fp32" / name, root / "beside" / name)
    (root / "beside" / "video.mp4").write_bytes(b"video")
    core = openvino.Core()
    graph = core.read_model(exported / "fp32" / "model.xml")
    graph.set_rt_info("somebody else's", ["framework"])
    openvino.save_model(graph, root / "foreign" / "model.xml")
    (root / "half" / "model.bin").write_bytes(b"weights")
    (root / "file").write_text("a file")
    (root / "other.onnx").write_bytes(b"of another program")
    bare = onnx.load(exported / "fp32.onnx")
    del bare.metadata_props[:]
    onnx.save(bare, root / "yolo.ONNX")
    (root / "folder.onnx").mkdir()
    (root / "folder.onnx" / "video.mp4").write_bytes(b"video")


@pytest.mark.parametrize(
    "name", ["diary", "beside", "foreign", "half", "file", "other.onnx", "yolo.ONNX", "folder.onnx"]
)
def test_nothing_but_an_earlier_export_is_replaced(folder, tmp_path, name):
    others(tmp_path, folder[0])
    before = files_of(tmp_path)
    there = "a folder" if (tmp_path / name).is_dir() else "a file"
    with pytest.raises(InputError, match=f"{name}: {there} is there that is no earlier (ONNX|OpenVINO) export of a "):
        export.export_ending(folder[0] / "hidden.pt", tmp_path / name)
    assert files_of(tmp_path) == before


def test_an_earlier_export_is_replaced(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "to_onnx", lambda _: (folder[0] / "fp32.onnx").read_bytes())
    shutil.copytree(folder[0] / "fp16", tmp_path / "made")
    export_openvino(folder[0] / "hidden.pt", tmp_path / "made")
    assert (tmp_path / "made" / "model.bin").stat().st_size > 1.5 * (folder[0] / "fp16" / "model.bin").stat().st_size
    (tmp_path / "empty").mkdir()
    export_openvino(folder[0] / "hidden.pt", tmp_path / "empty")
    assert {path.name for path in (tmp_path / "empty").iterdir()} == {"model.xml", "model.bin"}
    shutil.copy(folder[0] / "fp32.onnx", tmp_path / "Made.ONNX")
    export_onnx(folder[0] / "hidden.pt", tmp_path / "Made.ONNX")


def test_what_comes_during_an_export_is_not_removed(folder, tmp_path, monkeypatch):
    def to_onnx(_):
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "video.mp4").write_bytes(b"video")
        return (folder[0] / "fp32.onnx").read_bytes()

    monkeypatch.setattr(onnx_graph, "to_onnx", to_onnx)
    with pytest.raises(InputError, match="made: a folder is there that is no earlier OpenVINO export"):
        export_openvino(folder[0] / "hidden.pt", tmp_path / "made")
    assert list(files_of(tmp_path).values()) == [b"video"]


@pytest.mark.parametrize("name", ["x.xml", "x.engine", "x.pt", "x.tflite", "x.Onnxx", ".torchscript"])
def test_unknown_endings_of_exports(folder, tmp_path, name):
    with pytest.raises(InputError, match=rf"{name}: unknown ending \.\w+; known are \.onnx \(ONNX\), no ending \(Open"):
        export.export_ending(folder[0] / "hidden.pt", tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [".onnx", ".ONNX"])
def test_an_ending_alone_is_no_name(folder, tmp_path, name):
    with pytest.raises(InputError, match=rf"{name}: expected a name for what is exported"):
        export.export_ending(folder[0] / "hidden.pt", tmp_path / name)


def test_the_backend_follows_from_the_model(folder, tmp_path):
    for source, target in (("fp32.onnx", "Student.ONNX"), ("hidden.pt", "Student.PT")):
        shutil.copy(folder[0] / source, tmp_path / target)
    shutil.copy(folder[0] / "fp32" / "model.xml", tmp_path / "Renamed.XML")
    shutil.copy(folder[0] / "fp32" / "model.bin", tmp_path / "Renamed.bin")
    expected = {
        folder[0] / "hidden.pt": "torch-fp32",
        tmp_path / "Student.PT": "torch-fp32",
        folder[0] / "fp32.onnx": "onnx-fp32",
        tmp_path / "Student.ONNX": "onnx-fp32",
        folder[0] / "fp32": "openvino-fp32",
        folder[0] / "fp16": "openvino-fp32",
        folder[0] / "int8": "openvino-int8",
        folder[0] / "fp16" / "model.xml": "openvino-fp32",
        tmp_path / "Renamed.XML": "openvino-fp32",
    }
    assert {model: backend_for(model) for model in expected} == expected
    score = load_backend("torch-fp32", folder[0] / "hidden.pt", threads=1)(FRAMES).score
    for model, name in expected.items():
        made = load_backend(name, model, threads=1)
        assert name.endswith("int8") or np.abs(made(FRAMES).score - score).max() <= 1e-3


def test_a_backend_that_contradicts_the_model(folder):
    refused = (
        r"fp32\.onnx: the backend 'torch-bf16' does not run such a file; expected one of onnx-fp32, openvino-fp32, "
    )
    with pytest.raises(InputError, match=refused):
        load_backend("torch-bf16", folder[0] / "fp32.onnx")
    for name in ("onnx-fp32", "eager-fp32"):
        with pytest.raises(
            InputError, match=f"fp32: the backend '{name}' does not run such a file; expected one of openv"
        ):
            load_backend(name, folder[0] / "fp32")


def test_windows_for_calibration_are_spread_over_the_clips(folder, tmp_path, monkeypatch):
    clip = numbered_clip(tmp_path).path
    monkeypatch.setattr(export, "CALIBRATION", 5)
    made = windows_for(folder[0] / "hidden.pt", [clip, clip])
    assert [window.shape for window in made] == [(9, 50, 70)] * 5
    # Two clips of 40 frames, numbered by their green channel: frames 0, 19, 39 of the first, 19 and 39 of the second.
    assert [int(window[4].mean()) for window in made] == [0, 19, 39, 19, 39]


def test_the_official_layout(tmp_path):
    model, output = tmp_path / "official.pt", tmp_path / "official.onnx"
    write_student(model, **vars(StudentConfig()))
    assert export_onnx(model, output) < 1e-4
