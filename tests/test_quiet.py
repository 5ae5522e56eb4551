"""No library calls out or leaves something in the home folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from students import write_student

ROOT = Path(__file__).parents[1]
CODE = """
import sys
from pathlib import Path
import numpy as np
import vadistill
from vadistill.inference.backends import load_backend
from vadistill.inference.export import export_onnx, export_openvino
model, folder = Path(sys.argv[1]), Path(sys.argv[2])
export_onnx(model, folder / "a.onnx", [])
export_openvino(model, folder / "a", "fp32", [])
for name, file in (("onnx-fp32", "a.onnx"), ("openvino-fp32", "a")):
    backend = load_backend(name, folder / file, threads=1)
    backend(np.zeros((1, 3 * len(backend.offsets), *backend.size), np.uint8))
import torch
from vadistill.detection.yolo import Detector
from vadistill.settings import DetectionConfig
Detector(Path(sys.argv[3]), DetectionConfig(image_size=160), torch.device("cpu"))(np.zeros((1, 90, 160, 3), np.uint8))
"""


@pytest.mark.slow
def test_exports_scores_and_detections_leave_nothing_at_home_and_call_nobody(tmp_path):
    """Calls of libraries in C are seen by strace, where it is installed; files are looked for in any case."""
    write_student(tmp_path / "student.pt")
    (tmp_path / "home").mkdir()
    (tmp_path / "made").mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "ORT_", "YOLO_", "CI", "PYTEST"))
    }
    environment = {**kept, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT / "src")}
    places = (tmp_path / "student.pt", tmp_path / "made", ROOT / "resources/weights/demo.pt")
    command = [sys.executable, "-c", CODE, *map(str, places)]
    calls = tmp_path / "calls"
    if strace := shutil.which("strace"):
        command = [strace, "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto", "-o", str(calls), *command]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left = [str(path.relative_to(tmp_path)) for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert left == []
    if strace:
        assert not re.findall(r".*AF_INET.*", calls.read_text())
