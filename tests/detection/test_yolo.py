import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from vadistill.datasets.demo.clips import render_clip
from vadistill.detection import yolo
from vadistill.detection.letterbox import Letterbox
from vadistill.detection.yolo import Detector, usable
from vadistill.errors import InputError
from vadistill.io.files import sha256
from vadistill.settings import DemoConfig, DetectionConfig
from vadistill.stages.detect_objects import detected

WEIGHTS = Path(__file__).parents[2] / "resources/weights/demo.pt"
CPU = torch.device("cpu")


class Fixed(torch.nn.Module):
    """A network with a known raw output, exported as TorchScript like a user's own weights."""

    def __init__(self, output):
        super().__init__()
        self.register_buffer("output", output)

    def forward(self, images):
        return self.output.expand(images.shape[0], -1, -1) + 0 * images.mean()


def exported(folder, output):
    folder.mkdir(exist_ok=True)
    path = folder / "own.torchscript"
    torch.jit.trace(Fixed(output), torch.zeros(1, 3, 64, 64)).save(str(path))
    return path


def trusting(path, settings):
    return Detector(path, settings, CPU, {sha256(path)})


def raw_output(boxes, probabilities, anchors=50):
    output = torch.zeros(1, 4 + probabilities.shape[1], anchors)
    output[0, :4, : len(boxes)] = boxes.T
    output[0, 4:, : len(boxes)] = probabilities.T
    return output


def test_boxes_of_the_frame_with_their_whole_class_vectors(tmp_path):
    # A 120x240 frame becomes 320x640 pixels: scale 8/3, no padding at this size.
    boxes = torch.tensor([[320.0, 160, 80, 160], [322, 160, 80, 160], [320, 160, 80, 160], [600, 300, 200, 200]])
    probabilities = torch.tensor([[0.9, 0.05, 0.0], [0.6, 0.3, 0.0], [0.1, 0.8, 0.0], [0.0, 0.0, 0.3]])
    detector = trusting(exported(tmp_path, raw_output(boxes, probabilities)), DetectionConfig())
    made = detector(np.zeros((2, 120, 240, 3), np.uint8))
    assert len(made) == 2 and len(detector.classes) == 3
    np.testing.assert_allclose(made[0].probabilities, probabilities[[0, 2, 3]], atol=1e-6)
    np.testing.assert_allclose(made[0].confidence, [0.9, 0.8, 0.3], atol=1e-6)
    scale = 640 / 240
    np.testing.assert_allclose(made[0].box[0] * scale, [280, 80, 360, 240], atol=1e-3)
    np.testing.assert_allclose(made[0].box[2], [500 / scale, 200 / scale, 240, 120], atol=1e-3)  # cut to the frame


def test_padding_is_taken_off_again(tmp_path):
    # 100x200 becomes 320x640 with the height padded from 320; 90x200 becomes 288 in 288.
    boxes, probabilities = torch.tensor([[64.0, 48, 32, 32]]), torch.tensor([[0.7, 0.1]])
    detector = trusting(exported(tmp_path, raw_output(boxes, probabilities)), DetectionConfig(image_size=128))
    (made,) = detector(np.zeros((1, 50, 128, 3), np.uint8))  # 50 rows padded to 64: 7 above
    np.testing.assert_allclose(made.box[0], [48, 25, 80, 50], atol=1e-3)


def test_thresholds(tmp_path):
    boxes = torch.tensor([[100.0 * i + 50, 60, 40, 40] for i in range(6)])
    probabilities = torch.linspace(0.05, 0.9, 6)[:, None].expand(6, 2) * torch.tensor([1.0, 0.5])
    path = exported(tmp_path, raw_output(boxes, probabilities))
    frames = np.zeros((1, 320, 640, 3), np.uint8)
    assert len(trusting(path, DetectionConfig(confidence=0.5))(frames)[0].box) == 3
    (few,) = trusting(path, DetectionConfig(confidence=0.01, max_objects=2))(frames)
    np.testing.assert_allclose(few.confidence, [0.9, 0.73], atol=1e-6)
    assert len(trusting(path, DetectionConfig(confidence=0.95))(frames)[0].box) == 0


@pytest.mark.parametrize("size", [(50, 128), (128, 50), (64, 128), (37, 41), (180, 320)])
def test_a_letterbox_lays_frames_out_as_resized_padded_and_scaled_one_after_the_other(size):
    frames = np.random.default_rng(0).integers(0, 256, (5, *size, 3), np.uint8)
    scale = 128 / max(size)
    height, width = (-(-round(side * scale) // 32) * 32 for side in size)
    inner = round(size[0] * scale), round(size[1] * scale)
    expected = np.full((5, height, width, 3), 114, np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    for frame, target in zip(frames, expected, strict=True):
        target[top : top + inner[0], left : left + inner[1]] = cv2.resize(frame, inner[::-1])
    expected = torch.from_numpy(expected[..., ::-1].transpose(0, 3, 1, 2).copy()).float() / 255
    letterbox = Letterbox(size, (height, width, scale), 3)
    assert torch.equal(letterbox(frames[:3]), expected[:3])
    before = letterbox(frames[3:])
    letterbox(frames[:1])
    assert torch.equal(before, expected[3:]), "it holds until the next but one call"


def test_frames_read_ahead_have_the_boxes_of_their_own_batch(tmp_path):
    detector = Detector(WEIGHTS, DetectionConfig(image_size=160, confidence=0.05, batch=4), CPU)
    drawn = render_clip(DemoConfig(height=90, width=160, frames=11), "train", "train_01")
    frames = np.stack([frame for frame, *_ in drawn])
    made = detected(iter(frames), (90, 160), detector)
    expected = [boxes for start in (0, 4, 8) for boxes in detector(frames[start : start + 4])]
    assert len(made) == 11 and sum(len(boxes.box) for boxes in made) > 11
    for one, other in zip(made, expected, strict=True):
        np.testing.assert_array_equal(one.box, other.box)
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


@pytest.mark.parametrize("classes", [1, 80])
def test_anchors_with_any_score_that_is_high_enough_are_confident(classes):
    least = 0.05
    scores = torch.rand(classes, 3000, generator=torch.Generator().manual_seed(0)) ** 40
    scores[0, :2] = torch.tensor([least, np.nextafter(np.float32(least), np.float32(0))])
    scores[1:, :2] = 0
    found = yolo._confident(scores, least)
    assert torch.equal(found, (scores.amax(0) >= least).nonzero()[:, 0]) and found[0] == 0 and found[1] != 1
    assert len(yolo._confident(scores * 0, least)) == 0


@pytest.mark.parametrize("shape", [(1, 300, 6), (1, 6, 6), (1, 3, 100), (1, 100)])
def test_exports_with_suppression_inside_are_refused(tmp_path, shape):
    path = tmp_path / "nms.torchscript"

    class Ended(torch.nn.Module):
        def forward(self, images):
            return torch.zeros(shape) + 0 * images.mean()

    torch.jit.trace(Ended(), torch.zeros(1, 3, 64, 64)).save(str(path))
    with pytest.raises(InputError, match=r"nms\.torchscript.*expected \(N, 4 \+ classes, anchors\)"):
        trusting(path, DetectionConfig())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "options", "told"),
    [
        ("yolo26n", {"nms": False}, "export with end2end=False"),  # this asks for the end-to-end head
        ("yolov8n", {"nms": True}, "export without nms=True"),
        ("yolo26n", {"end2end": False}, None),
        ("yolov8n", {}, None),
    ],
)
def test_the_remedy_for_an_export_that_drops_probabilities_is_the_right_one(tmp_path, architecture, options, told):
    from ultralytics import YOLO

    YOLO(f"{architecture}.yaml").save(tmp_path / "best.pt")
    path = Path(YOLO(str(tmp_path / "best.pt")).export(format="onnx", imgsz=64, simplify=False, **options))
    if told is None:
        assert len(Detector(path, DetectionConfig(image_size=64), CPU).classes) == 80
        return
    with pytest.raises(InputError, match=rf"best\.onnx: .* \(1, \d+, 6\); .*: {told}$"):
        Detector(path, DetectionConfig(image_size=64), CPU)


@pytest.mark.slow
def test_onnx_runtime_takes_no_more_threads_than_the_process_may(tmp_path, monkeypatch):
    """Equal boxes with one and with three; what it has of its own would be a thread a core."""
    from ultralytics import YOLO

    shutil.copy(WEIGHTS, tmp_path)
    path = Path(YOLO(str(tmp_path / "demo.pt")).export(format="onnx", imgsz=160, dynamic=True, simplify=False))
    drawn = render_clip(DemoConfig(height=90, width=160, frames=4), "train", "train_01")
    frames, found = np.stack([frame for frame, *_ in drawn]), []
    for threads in (1, 3):
        monkeypatch.setattr(yolo, "cores", lambda: threads)  # noqa: B023
        detector = Detector(path, DetectionConfig(image_size=160, confidence=0.05), CPU)
        assert detector.network.session.get_session_options().intra_op_num_threads == threads
        found.append(detector(frames))
    assert sum(len(boxes.box) for boxes in found[0]) > 4
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.box, other.box)


def test_an_export_that_tells_nothing_gets_both_remedies(tmp_path):
    with pytest.raises(InputError, match=r"export with end2end=False and without nms=True"):
        trusting(exported(tmp_path, torch.zeros(1, 300, 6)), DetectionConfig())


@pytest.mark.parametrize("name", ["text.pt", "cut.pt", "network.pt"])
def test_detector_weights_that_do_not_load_never_advise_to_load_them_unchecked(tmp_path, name):
    if name == "network.pt":
        torch.save({"weights": torch.nn.Linear(1, 1).state_dict()}, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(WEIGHTS.read_bytes()[:9999] if name == "cut.pt" else b"no weights")
    with pytest.raises(InputError, match=r"expected a whole .pt file that ultralytics wrote") as caught:
        Detector(tmp_path / name, DetectionConfig(), CPU)
    assert "weights_only" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["broken.pt", "broken.onnx"])
def test_weights_that_do_not_load_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(InputError, match=name) as error:
        Detector(tmp_path / name, DetectionConfig(), CPU)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="no such detector weights"):
        Detector(tmp_path / "missing.pt", DetectionConfig(), CPU)


class Harm:
    """Pickled, it makes the folder ``path`` when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["own.pt", "own.torchscript", "own.engine", "own_saved_model"])
def test_weights_that_could_run_code_are_not_loaded(tmp_path, name):
    weights, harm = tmp_path / name, tmp_path / "harm"
    if weights.suffix == ".torchscript":
        exported(tmp_path, torch.zeros(1, 6, 50))
    elif weights.suffix:
        torch.save({"model": Harm(harm)}, weights)
    else:
        weights.mkdir()
    with pytest.raises(InputError) as error:
        Detector(weights, DetectionConfig(), CPU)
    told = str(error.value)
    assert str(weights) in told and f"trusted_weights: {{{name}: {sha256(weights)}}}" in told and "\n" not in told
    assert not harm.exists()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["yolov8n", "yolo26n"])
def test_weights_as_users_train_them_need_no_trust(tmp_path, architecture):
    from ultralytics import YOLO

    YOLO(f"{architecture}.yaml").save(tmp_path / "best.pt")
    assert len(Detector(tmp_path / "best.pt", DetectionConfig(image_size=320), CPU).classes) == 80


@pytest.mark.slow
def test_trusted_weights_are_loaded_whatever_they_hold(tmp_path):
    """In a process of its own, as in a stage: what ultralytics restricts is decided when it is imported."""
    content = torch.load(WEIGHTS, weights_only=False)
    content["train_args"]["harm"] = Harm(tmp_path / "harm")
    torch.save(content, tmp_path / "own.pt")
    code = f"""
import sys
from pathlib import Path
from vadistill.detection.yolo import Detector, torch
from vadistill.settings import DetectionConfig
print(len(Detector(Path({str(tmp_path / "own.pt")!r}), DetectionConfig(), torch.device("cpu"), sys.argv[1:]).classes))
"""
    for trusted, loaded in ((["0" * 64], False), ([sha256(tmp_path / "own.pt")], True)):
        done = subprocess.run([sys.executable, "-c", code, *trusted], capture_output=True, text=True)
        assert (done.returncode == 0) == loaded == (tmp_path / "harm").exists(), done.stderr
        assert loaded or "trusted_weights: {own.pt: " in done.stderr


@pytest.mark.slow
def test_exports_say_that_they_leave_a_gpu_idle(monkeypatch, caplog):
    gpu, names = torch.device("cuda", 0), ("a.pt", "a.torchscript", "a.onnx", "a_openvino_model")
    known = [["CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]]
    for providers, idle in zip(known, (names[2:], names[3:]), strict=True):
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda providers=providers: providers)
        caplog.clear()
        assert [name for name in names if usable(Path(name), gpu) == CPU] == list(idle)
        assert [line.partition(":")[0] for line in caplog.messages] == list(idle)
        assert all(usable(Path(name), CPU) == CPU for name in names) and len(caplog.messages) == len(idle)


def test_openvino_gives_the_boxes_of_torch(tmp_path):
    """An export by ultralytics itself, as a user would make it."""
    from ultralytics import YOLO

    shutil.copy(WEIGHTS, tmp_path / "demo.pt")
    folder = YOLO(str(tmp_path / "demo.pt")).export(format="openvino", imgsz=(192, 320), dynamic=True)
    frames = np.stack([frame for frame, _, _ in render_clip(DemoConfig(frames=9), "train", "train_01")][::4])
    made = [
        Detector(Path(path), DetectionConfig(image_size=320, confidence=0.3), CPU)(frames) for path in (WEIGHTS, folder)
    ]
    for one, other in zip(*made, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=1.5)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=0.03)
    assert sum(len(boxes.box) for boxes in made[0]) > 3


def test_the_shipped_detector_finds_the_demo_pedestrians():
    """One real prediction: it also proves that torch and torchvision fit together."""
    detector = Detector(WEIGHTS, DetectionConfig(image_size=320), CPU)
    frames = [(frame, boxes) for frame, _, boxes in render_clip(DemoConfig(frames=40), "train", "train_01")][::13]
    found = wanted = 0
    for (_, boxes), made in zip(frames, detector(np.stack([frame for frame, _ in frames])), strict=True):
        truth = torch.tensor([box[1:] for box in boxes], dtype=torch.float32)
        truth = truth[(truth[:, 3] - truth[:, 1]) > 12]
        wanted += len(truth)
        confident = torch.from_numpy(made.box[made.confidence > 0.25])
        found += int((box_iou(truth, confident).max(1).values > 0.5).sum()) if len(confident) else 0
    assert found / wanted > 0.7
    assert detector.classes[0] == "person"
    assert cv2.resize(frames[0][0], (32, 32)).std() > 5
