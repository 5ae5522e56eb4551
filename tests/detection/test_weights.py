"""Files of weights: what is hashed is what is loaded, and a file is what its name or its record says."""

import hashlib
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
from test_yolo import WEIGHTS, exported

from vadistill.detection import yolo
from vadistill.detection.yolo import Detector
from vadistill.errors import InputError
from vadistill.io.files import sha256
from vadistill.settings import DetectionConfig
from vadistill.stages import fetch_detector
from vadistill.teachers.pretrained.weights import load_weights

CPU = torch.device("cpu")


def test_a_file_that_is_swapped_after_it_was_hashed_is_not_loaded(tmp_path, monkeypatch):
    weights = exported(tmp_path, torch.zeros(1, 6, 50))
    other = exported(tmp_path / "other", torch.zeros(1, 9, 50))
    trusted, guard = {sha256(weights)}, yolo._guard

    def swapped(*args):
        guard(*args)
        shutil.copy(other, weights)

    monkeypatch.setattr(yolo, "_guard", swapped)
    loaded = Detector(weights, DetectionConfig(), CPU, trusted)
    assert len(loaded.classes) == 2 and {loaded.sha256} == trusted
    assert len(Detector(other, DetectionConfig(), CPU, {sha256(other)}).classes) == 5


def test_weights_that_differ_from_what_was_downloaded_are_refused(tmp_path):
    weights = tmp_path / "yolov8n.pt"
    shutil.copy(WEIGHTS, weights)
    record = tmp_path / "yolov8n.pt.sha256"
    record.write_text(f"{sha256(weights)}  yolov8n.pt\n")
    assert Detector(weights, DetectionConfig(), CPU).sha256 == sha256(WEIGHTS)
    record.write_text(f"{'0' * 64}  yolov8n.pt\n")
    with pytest.raises(InputError, match=rf"{weights}: its SHA-256 is .*delete {record}"):
        Detector(weights, DetectionConfig(), CPU)


@pytest.fixture
def downloads(monkeypatch):
    """Stands for the network: what ultralytics' downloader puts where it is told."""
    content = {}

    def download(path):
        Path(path).parent.mkdir()
        Path(path).write_bytes(content["sent"])

    module = types.SimpleNamespace(attempt_download_asset=download)
    monkeypatch.setitem(sys.modules, "ultralytics.utils.downloads", module)
    monkeypatch.setenv("YOLO_OFFLINE", "false")
    return content


def fetch(path):
    fetch_detector.main(types.SimpleNamespace(output=path))


def test_a_download_is_recorded_and_another_one_later_is_refused(tmp_path, downloads):
    path, record = tmp_path / "yolov8n.pt", tmp_path / "yolov8n.pt.sha256"
    downloads["sent"] = b"first"
    fetch(path)
    assert record.read_text().split() == [hashlib.sha256(b"first").hexdigest(), "yolov8n.pt"]
    path.unlink()
    fetch(path)
    path.unlink()
    downloads["sent"] = b"second"
    with pytest.raises(InputError, match="records"):
        fetch(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["yolov8n.pt.sha256"]


def test_a_file_of_torchvision_is_what_its_name_says(tmp_path):
    network = torch.nn.Linear(2, 2)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    digits = sha256(tmp_path / "own.pth")[:8]
    shutil.copy(tmp_path / "own.pth", right := tmp_path / f"resnet50-{digits}.pth")
    shutil.copy(tmp_path / "own.pth", wrong := tmp_path / "resnet50-11ad3fa6.pth")
    for path in (tmp_path / "own.pth", right):
        load_weights(network, path, "network")
    with pytest.raises(InputError, match=rf"{wrong}: its SHA-256 begins with {digits}; expected 11ad3fa6"):
        load_weights(network, wrong, "network")
