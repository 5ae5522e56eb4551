import json
import re
import sys
from dataclasses import replace

import numpy as np
import openvino
import pytest
import torch
from students import SMALL, said_plainly, surprised_plainly, usual_of, windows_of, write_student
from torch.nn import functional

from vadistill.errors import InputError
from vadistill.inference import openvino_graph, torch_backend
from vadistill.inference.backends import BACKENDS, load_backend
from vadistill.inference.description import Description
from vadistill.inference.onnx_graph import to_onnx
from vadistill.maps.grid_pool import GridPool
from vadistill.processors import cores
from vadistill.settings import StudentConfig, SurpriseConfig, section
from vadistill.student.graph import ScoringNetwork, streamlined
from vadistill.student.network import Student
from vadistill.student.usual_motion import PROTOTYPES

# Highest difference of a score from the plain student's, whose scores go from 0.82 to 0.97 here.
BOUNDS = {"fp32": 1e-5, "bf16": 0.03, "int8": 0.05}
# Compiling takes a minute, and float16 a GPU.
QUICK = [name for name in BACKENDS if not name.startswith("torch-compile") and not name.endswith("fp16")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("student") / "student.pt"
    write_student(path)
    return path


@pytest.fixture(scope="module")
def graph(model):
    """The student as ONNX: to write it takes seconds."""
    path = model.with_suffix(".onnx")
    path.write_bytes(to_onnx(model))
    return path


@pytest.fixture(scope="module")
def plain(model):
    frames = windows_of(13)
    return frames, *said_plainly(write_student(model), frames)


@pytest.fixture(scope="module")
def loaded(model, graph):
    made = {}

    def load(name):
        if name == "openvino-bf16" and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            pytest.skip("a processor without bfloat16")
        if name not in made:
            source = graph if name.startswith("openvino") else model
            made[name] = load_backend(name, source, threads=1, calibration=windows_of(20, seed=1))
        return made[name]

    return load


@pytest.mark.parametrize("size", [(23, 40), (9, 16), (5, 3), (12, 16)])
@pytest.mark.parametrize("side", [1, 2, 4, 8, 16])
def test_pooling_is_torchs(size, side):
    cells = torch.randn(2, 3, *size)
    assert torch.equal(GridPool(size, side)(cells), functional.adaptive_max_pool2d(cells, side))


@pytest.mark.parametrize("name", QUICK)
def test_every_backend_says_what_the_student_says(loaded, plain, name):
    frames, expected, grids = plain
    backend, bound = loaded(name), BOUNDS[name.rpartition("-")[2]]
    assert (backend.name, backend.size, backend.offsets, backend.resolutions) == (
        name,
        (50, 70),
        (-3, 0, 3),
        (1, 4, 16),
    )
    made = backend(frames)
    assert made.score.dtype == np.float32 and np.abs(made.score - expected).max() <= bound
    assert np.corrcoef(made.score, expected)[0, 1] > 0.98
    assert list(made.maps) == [1, 4, 16]
    for g, grid in grids.items():
        assert made.maps[g].dtype == np.float32 and np.abs(made.maps[g] - grid).max() <= 5 * bound


@pytest.mark.parametrize("name", QUICK)
def test_any_number_of_frames_and_the_same_again(loaded, plain, name):
    frames, backend = plain[0], loaded(name)
    whole, again = backend(frames), backend(frames)
    assert np.array_equal(whole.score, again.score)
    assert all(np.array_equal(whole.maps[g], again.maps[g]) for g in whole.maps)
    for count in (0, 1, 5):
        made = backend(frames[:count])
        assert made.score.shape == (count,) and made.maps[4].shape == (count, 4, 4)
        np.testing.assert_allclose(made.score, whole.score[:count], atol=BOUNDS[name.rpartition("-")[2]] / 10)
    frames = frames[::2]
    frames.flags.writeable = False
    np.testing.assert_array_equal(backend(frames).score, backend(frames.copy()).score)
    with pytest.raises(ValueError, match=r"expected windows \(N, 9, 50, 70\) uint8, got \(7, 9, 50, 70\) float32"):
        backend(frames.astype(np.float32))


@pytest.mark.parametrize(("size", "piece"), [((32, 48), 8), ((144, 256), 8), ((240, 360), 2), ((360, 640), 1)])
def test_large_frames_come_in_small_pieces(tmp_path, size, piece):
    write_student(tmp_path / "student.pt", height=size[0], width=size[1])
    backend = load_backend("torch-fp32", tmp_path / "student.pt", threads=1)
    backend.run, seen = (lambda frames, run=backend.run: seen.append(len(frames)) or run(frames)), []
    backend(windows_of(11, *size))
    assert seen == [piece] * (11 // piece) + [11 % piece] * (11 % piece > 0)


def test_frames_are_padded_for_compiled_graphs():
    seen = []

    def run(frames):
        seen.append(len(frames))
        return frames[:, 0, 0, 0].float(), frames[:, 0].float()

    captured = torch_backend._in_powers_of_two(run, captures=2)
    for count in (2, 3, 3):
        captured(torch.zeros(count, 3, 2, 2))
    assert seen == [2, 2, 2, 4, 4, 4, 4], "a size is run until its graph is recorded, once"
    seen.clear()
    padded = torch_backend._in_powers_of_two(run)
    for count in (1, 2, 3, 5, 8):
        frames = torch.arange(count * 12, dtype=torch.uint8).reshape(count, 3, 2, 2)
        score, grid = padded(frames)
        assert torch.equal(score, frames[:, 0, 0, 0].float()) and torch.equal(grid, frames[:, 0].float())
    assert seen == [1, 2, 4, 8, 8]


@pytest.mark.slow
def test_no_size_of_a_compiled_backend_runs_eagerly(model, monkeypatch):
    """Torch keeps so many compiled forms of a function, and runs further ones eagerly unless told otherwise."""
    torch._dynamo.reset()
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 1)
    compile_for_real, graphs, runs = torch.compile, [], []

    def backend(graph, _):
        graphs.append(graph)
        return lambda *given: runs.append(len(given)) or graph(*given)

    def compiled(run, **options):
        return compile_for_real(run, backend=backend, dynamic=options["dynamic"], fullgraph=options["fullgraph"])

    monkeypatch.setattr(torch, "compile", compiled)
    loaded = load_backend("torch-compile-bf16", model, threads=1)
    for count in (1, 2):
        loaded(windows_of(count))
    assert len(graphs) == 3 and len(runs) == 3, "the first piece, and two sizes"
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 3)
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        loaded(windows_of(4))
    torch._dynamo.reset()


def test_threads_are_those_that_were_asked_for(model, graph, monkeypatch):
    before, seen = torch.get_num_threads(), []
    backend = load_backend("torch-fp32", model, threads=before + 1)
    run = backend.run
    monkeypatch.setattr(backend, "run", lambda frames: seen.append(torch.get_num_threads()) or run(frames))
    backend(windows_of(1))
    assert seen == [before + 1] and torch.get_num_threads() == before
    session = load_backend("onnx-fp32", graph, threads=3)._session
    assert session.get_session_options().intra_op_num_threads == 3
    backend = load_backend("openvino-fp32", graph, threads=2)
    compiled = backend._single.get_compiled_model()
    used = (compiled.get_property("INFERENCE_NUM_THREADS"), compiled.get_property("NUM_STREAMS"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # which OpenVINO does not look at
    assert used == (min(2, cores()), 1), "OpenVINO takes no more threads than there are processors"
    assert len(backend._queue) == 2 and backend._piece == 4
    frames = windows_of(13)
    np.testing.assert_allclose(backend(frames).score, load_backend("onnx-fp32", graph)(frames).score, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": {"weight": 1.0}, "stem": "half"},
        {"surprise": {"weight": 0.5, "motion_weight": 0.7}, "flow": "fast", "resolutions": (2, 8)},
        {"surprise": {"weight": 0.0}, "flow": "fast", "stem": "half"},
        {"stem": "half", "positions": True},
        {"stem": "quarter", "downsamplings": 1, "flow": "fast"},
        {"last_activation": "relu", "frames": 5, "resolutions": (2, 8)},
        {"height": 97, "width": 131, "downsamplings": 3, "resolutions": (1, 16)},
    ],
)
def test_layouts_of_the_network(tmp_path, changes):
    path, exported = tmp_path / "student.pt", tmp_path / "student.onnx"
    student = write_student(path, **changes)
    exported.write_bytes(to_onnx(path))
    planes = 4 if "flow" in changes else 0
    shape = (changes.get("height", 50), changes.get("width", 70), 3 * changes.get("frames", 3) + planes)
    frames = windows_of(3, *shape)
    if surprise := changes.get("surprise"):
        settings = section("student", {name: changes[name] for name in ("stem", "flow") if name in changes} | SMALL)
        weights = SurpriseConfig(**surprise).weights(settings)
        expected, grids = surprised_plainly(student, frames, usual_of(settings, weights), weights)
    else:
        expected, grids = said_plainly(student, frames)
    for name, source in (("torch-fp32", path), ("onnx-fp32", exported), ("openvino-fp32", exported)):
        made = load_backend(name, source, threads=1)(frames)
        np.testing.assert_allclose(made.score, expected, atol=1e-5)
        for g, grid in grids.items():
            np.testing.assert_allclose(made.maps[g], grid, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_unusual_motion_is_told_in_every_precision(tmp_path, precision):
    """What is faster than usual scores higher, and near to the exact score."""
    path = tmp_path / "student.pt"
    write_student(path, flow="fast", surprise={"weight": 0.0})
    content = torch.load(path)
    name = "surprise.parts.motion."
    usual = torch.full_like(content["weights"][name + "usual"], 0.01)
    cell = torch.tensor([2.0, 0, 2, 0, 2, 2])  # usual speeds: all to the right
    rows = torch.arange(len(usual)) / len(usual)
    normal = torch.cat([torch.cat([cell, cell]).expand(len(usual), 12), rows[:, None]], 1)
    normal = normal[torch.arange(PROTOTYPES) % len(usual)]
    content["weights"] |= {name + "usual": usual, name + "squares": normal.square().sum(1)}
    content["weights"] |= {name + "factors": -2 * normal[:, :, None, None], "surprise.calm": torch.zeros(1)}
    content["weights"] |= {
        "surprise.rare": torch.full((1,), 20.0),
        "surprise.highest": torch.tensor(1000.0),
    }  # motion alone
    torch.save(content, path)
    frames = np.full((8, 13, 50, 70), 127, np.uint8)
    for number, speed in enumerate((2, 2, 2, 2, 3, 4, 6, 8)):  # usual ones first
        frames[number, [9, 11], 16:40, 20:52] = 127 + round(speed * 0.01 * 8 * 128)
    fastest = np.where(frames == 127, frames, 255)  # 8 bits are for all that may come
    exact = load_backend("torch-fp32", path)(frames).score
    made = load_backend(f"openvino-{precision}", path, calibration=np.concatenate([frames, fastest]))(frames).score
    assert (np.diff(exact[3:]) > 0).all() and (np.diff(made[3:]) > 0).all()
    np.testing.assert_allclose(made, exact, atol=0.05 * (exact.max() - exact.min()))


def test_eight_bits_leave_out_the_prototypes_of_motion(tmp_path, monkeypatch):
    path, kept = tmp_path / "student.pt", []
    write_student(path, flow="fast", surprise={"weight": 0.0})
    whole = openvino_graph._kept_in_float

    def spied(graph):
        kept.append((graph, whole(graph)))
        return kept[0][1]

    monkeypatch.setattr(openvino_graph, "_kept_in_float", spied)
    load_backend("openvino-int8", path, calibration=windows_of(4, channels=13))
    ((graph, names),) = kept
    convolutions = [node for node in graph.get_ordered_ops() if node.get_type_name() == "Convolution"]
    of_motion = [node for node in convolutions if "factors" in node.input_value(1).get_node().get_friendly_name()]
    assert len(of_motion) == 1 and of_motion[0].get_friendly_name() in names and len(names) < len(convolutions)


def test_the_official_layout_without_its_norms():
    torch.manual_seed(0)
    student = Student(StudentConfig(), (1, 4, 16)).eval()
    frames = windows_of(1, 360, 640)
    expected, _ = said_plainly(student, frames)
    network = streamlined(ScoringNetwork(student), (9, 360, 640))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in student.modules()), (
        "the student is left as it was"
    )
    with torch.inference_mode():
        np.testing.assert_allclose(network(torch.from_numpy(frames))[0], expected, atol=1e-6)


def test_what_cannot_be_loaded(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="backend 'fast': unknown; expected one of eager-fp32, torch-fp32"):
        load_backend("fast", model)
    with pytest.raises(InputError, match="no calibration frames"):
        load_backend("openvino-int8", model)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="backend 'torch-compile-fp16': there is no GPU; expected one for float16"):
            load_backend("torch-compile-fp16", model)
    other, graph = tmp_path / "other.pt", tmp_path / "other.onnx"
    other.write_bytes(b"nothing")
    graph.write_bytes(b"nothing")
    for name in ("torch-fp32", "onnx-fp32", "openvino-fp32"):
        with pytest.raises(InputError, match=r"other\.pt: not a model of this project"):
            load_backend(name, other)
    for name in ("onnx-fp32", "openvino-fp32"):
        with pytest.raises(InputError, match=r"other\.onnx: (OpenVINO cannot read it|ONNX Runtime cannot load it)"):
            load_backend(name, graph)
    with pytest.raises(InputError, match=f"{re.escape(str(tmp_path))}: OpenVINO cannot read it"):
        load_backend("openvino-fp32", tmp_path)
    (tmp_path / "student").write_bytes(b"nothing")
    known = r"\.pt \(a distilled student\), \.xml \(OpenVINO\), \.onnx \(ONNX\), no ending \(OpenVINO, a folder "
    for path, reason in {
        "missing.onnx": "missing; expected",
        "missing": "missing; expected",
        "student": "a file without an ending; known are",
        "student.engine": r"unknown ending \.engine; known are",
    }.items():
        for name in ("torch-fp32", "onnx-fp32", "openvino-fp32"):
            with pytest.raises(InputError, match=f"{path}: {reason} {known}"):
                load_backend(name, tmp_path / path)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.delitem(sys.modules, "vadistill.inference.onnx_graph", raising=False)
    lacking = "the package onnxscript is missing; install vadistill with its extra 'train'"
    with pytest.raises(InputError, match=lacking):
        load_backend("onnx-fp32", model)


def test_a_student_of_flow_that_was_measured_otherwise_is_refused(tmp_path):
    kept = tmp_path / "student.pt"
    write_student(kept, flow="fast")
    content = torch.load(kept)
    used = json.loads(content["settings"])
    of_before = Description((50, 70), (-3, 0, 3), (1, 4, 16), "fp32", {**used, "version": 3}, "fast")
    torch.save({**content, "settings": json.dumps({**used, "version": 3})}, tmp_path / "before.pt")
    with pytest.raises(InputError, match=r"before\.pt: student: learned from flow that led from the middle frame"):
        load_backend("torch-fp32", tmp_path / "before.pt")
    with pytest.raises(InputError, match=r"before\.onnx: learned from flow .* a student that this version has trained"):
        Description.read(tmp_path / "before.onnx", of_before.text())
    for same in (replace(of_before, flow="none"), replace(of_before, settings={**used, "version": 4})):
        assert Description.read(tmp_path / "now.onnx", same.text()) == same
