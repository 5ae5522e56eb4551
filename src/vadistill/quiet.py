"""No library calls out, counts its users or leaves identifiers in the home folder; imported before any of them.

Every telemetry of the dependencies is turned off here, and nowhere else. What a user has set in the environment stays.
"""

import atexit
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

# ONNX Runtime otherwise writes a device id and a database of events, and looks up the host that it sends them to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenVINO and NNCF otherwise do the same by this package; where it is missing, both go without, and no switch of theirs
# keeps its files from being written.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
ULTRALYTICS = {"YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false", "YOLO_AUTOINSTALL": "false"}
# Usage statistics, and services that are reported to if their packages are there.
REPORTED_TO = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune")


def quiet_ultralytics() -> None:
    """Keep ultralytics from writing into the home folder, from printing and from calling out; before it is imported."""
    for name, value in ULTRALYTICS.items():
        os.environ.setdefault(name, value)
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="ultralytics-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        settings = Path(folder, "Ultralytics", "settings.json")
        settings.parent.mkdir()
        settings.write_text(json.dumps(dict.fromkeys(REPORTED_TO, False)), encoding="utf-8")
