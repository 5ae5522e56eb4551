"""YOLO with its own batching and its own non-maximum suppression, so that the class probabilities are kept.

Ultralytics' results carry only the confidence and the winning class of a box; the ``multi_task`` teacher needs the
whole vector. This module and the detection stages are the only ones that import ultralytics.

A ``.pt`` file is a pickle, which may run any code when it is loaded. It is loaded by ultralytics' restricted loader,
which knows the classes of networks and nothing else, unless the user trusts the very file by its hash. What is hashed
is what is loaded: a private copy of the file.
"""

import logging
import os
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read once, when ultralytics is imported.
os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "true")

import numpy as np
import torch

from vadistill.detection.letterbox import Letterbox
from vadistill.errors import InputError, in_one_line
from vadistill.io.files import checked_path, sha256
from vadistill.io.formats import ending
from vadistill.processors import cores
from vadistill.quiet import quiet_ultralytics
from vadistill.settings import DetectionConfig

log = logging.getLogger(__name__)
STRIDE = 32


@dataclass(frozen=True)
class Boxes:
    """The detections of one frame: box (n, 4) xyxy in pixels, confidence (n,), probabilities (n, C)."""

    box: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray


class Detector:
    """A YOLO network behind one call: frames in, boxes with class probabilities out.

    Args:
        weights: A .pt or .onnx file or an OpenVINO folder.
        settings: Thresholds and input size.
        device: Where the network runs, if its runtime can.
        trusted: SHA-256 of files that may run code when they are loaded.

    Attributes:
        device: Where it runs.
        sha256: Of the weights that were loaded.
        classes: Names of the classes, in the order of the probabilities.

    Raises:
        InputError: The weights do not load, could run code and are not trusted, or have the non-maximum suppression
            inside.
    """

    def __init__(
        self, weights: Path, settings: DetectionConfig, device: torch.device, trusted: Container[str] = frozenset()
    ) -> None:
        if not checked_path(weights).exists():
            raise InputError(f"{weights}: no such detector weights; expected a .pt or .onnx file or an OpenVINO folder")
        quiet_ultralytics()
        self.weights, self.settings, self.device = weights, settings, usable(weights, device)
        with _private_copy(weights) as copy:
            self.sha256 = sha256(copy.parent)  # of a single file that of its content
            check_recorded(weights, self.sha256)
            _guard(weights, self.sha256, trusted)
            self.network = self._load(copy)
        if self.network.task not in (None, "detect"):
            raise InputError(f"{weights}: made for the task '{self.network.task}'; expected a detection model")
        raw = self._raw(torch.zeros(1, 3, *self._input_size(STRIDE * 8, STRIDE * 8)[:2], device=self.device))
        self.classes = self._class_names(raw.shape[1] - 4)

    def _load(self, copy: Path) -> torch.nn.Module:
        """Return the network of a file, of which ``copy`` is the copy to be read."""
        from ultralytics.nn.autobackend import AutoBackend

        try:
            # The one-to-many head gives raw boxes; a head that picks its boxes itself keeps no class probabilities.
            network = AutoBackend(str(copy), device=self.device, verbose=False, end2end=False).eval()
            _limit_threads(network, copy)
            return network
        except Exception as error:  # each backend has exceptions of its own
            if isinstance(error.__cause__, pickle.UnpicklingError) and zipfile.is_zipfile(copy):
                raise untrusted(self.weights, self.sha256) from error
            reason = in_one_line(error).replace(str(copy), str(self.weights))
            if ending(copy) == ".pt" and "memory" not in reason:  # torch and ultralytics advise to load it unchecked
                reason = "cut off, damaged or not a YOLO network's; expected a whole .pt file that ultralytics wrote"
            raise InputError(f"{self.weights}: detector weights do not load ({reason})") from error

    def __call__(self, frames: np.ndarray) -> list[Boxes]:
        """Detect objects in a batch of equally large frames (N, H, W, 3) uint8 BGR."""
        count, height, width, _ = frames.shape
        letterbox = self.letterbox(height, width, count)
        return self.boxes(self.raw(letterbox(list(frames))), letterbox, height, width)

    def letterbox(self, height: int, width: int, batch: int) -> Letterbox:
        """Return what makes the network's input of at most ``batch`` frames of one height and width."""
        return Letterbox((height, width), self._input_size(height, width), batch)

    def raw(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's output (N, 4 + C, A) for images (N, 3, h, w) that a letterbox made."""
        return self._raw(images.to(self.device))

    def boxes(self, raw: torch.Tensor, letterbox: Letterbox, height: int, width: int) -> list[Boxes]:
        """Return the detections in the network's output for frames of this height and width, as a letterbox laid them.

        Torch gives it no threads of its own on a processor, so that it may run beside the network.
        """
        # Most anchors see nothing: only the others are worth turning into boxes, and taken by number, not by mask.
        scale, left, top = letterbox.scale, letterbox.left, letterbox.top
        rows = (row.index_select(1, _confident(row[4:], self.settings.confidence)) for row in raw)
        return [self._boxes(row, scale, left, top, height, width) for row in rows]

    def _raw(self, images: torch.Tensor) -> torch.Tensor:
        """Run the network: (N, 3, H, W) RGB in [0, 1] to (N, 4 + C, A): cx, cy, w, h in pixels, class scores."""
        with torch.inference_mode():
            output = self.network(images)
        output = output[0] if isinstance(output, list | tuple) else output
        if output.ndim != 3 or output.shape[-1] == 6 or output.shape[1] < 5 or output.shape[1] > output.shape[2]:
            raise InputError(
                f"{self.weights}: its output has the shape {tuple(output.shape)}; expected (N, 4 + classes, anchors), "
                f"{self._remedy(output.shape[-1])}"
            )
        # A graph that is bound to its outputs writes the next batch over them.
        return output.float().clone() if output.is_cuda else output.float()

    def _remedy(self, columns: int) -> str:
        """Say what to do about an output of so many columns that is not the raw one, by what the export tells."""
        if (getattr(self.network, "args", None) or {}).get("nms"):
            return "with the probabilities of all classes, which suppression inside drops: export without nms=True"
        if columns == 6 and getattr(self.network, "end2end", False):
            return "with the probabilities of all classes, which an end-to-end head drops: export with end2end=False"
        if columns == 6:
            return "with the probabilities of all classes: export with end2end=False and without nms=True"
        return "as ultralytics exports its detection models with end2end=False and without nms=True"

    def _boxes(self, raw: torch.Tensor, scale: float, left: int, top: int, height: int, width: int) -> Boxes:
        """Return the boxes of one frame, given the network's output (4 + C, n) at its confident anchors."""
        from torchvision.ops import batched_nms

        centre, size, probabilities = raw.T.split([2, 2, len(raw) - 4], 1)
        confidence, label = probabilities.max(1)
        corners = torch.cat([centre - size / 2, centre + size / 2], 1)
        order = batched_nms(corners, confidence, label, self.settings.iou)[: self.settings.max_objects]
        offset = torch.tensor([left, top, left, top], device=corners.device)
        box = ((corners[order] - offset) / scale).cpu().numpy().astype(np.float32)
        box[:, 0::2] = box[:, 0::2].clip(0, width)
        box[:, 1::2] = box[:, 1::2].clip(0, height)
        inside = (box[:, 2] - box[:, 0] >= 1) & (box[:, 3] - box[:, 1] >= 1)
        return Boxes(
            box[inside],
            confidence[order].cpu().numpy()[inside],
            probabilities[order].cpu().numpy()[inside],
        )

    def _input_size(self, height: int, width: int) -> tuple[int, int, float]:
        """Return the network's input height and width for a frame, and the frame's scale within it."""
        fixed = getattr(self.network, "imgsz", None)
        if self.network.format != "pt" and fixed and not getattr(self.network, "dynamic", True):
            scale = min(fixed[0] / height, fixed[1] / width)
            return int(fixed[0]), int(fixed[1]), scale
        scale = self.settings.image_size / max(height, width)
        rows, columns = (-(-round(side * scale) // STRIDE) * STRIDE for side in (height, width))
        return rows, columns, scale

    def _class_names(self, count: int) -> list[str]:
        names: Any = self.network.names
        return [str(names[index]) if index in names else f"class{index}" for index in range(count)]


def _confident(scores: torch.Tensor, least: float) -> torch.Tensor:
    """Return the numbers (n,) of the anchors with a class score of at least ``least``, of scores (C, A) float32."""
    if scores.is_cuda:
        return (scores.amax(0) >= least).nonzero()[:, 0]
    # Half of what the maximum over the classes takes on a processor, since few scores are so high.
    found = np.flatnonzero(scores.numpy() >= np.float32(least))
    return torch.from_numpy(np.unique(found % scores.shape[1]))


def usable(weights: Path, device: torch.device) -> torch.device:
    """Return where a detector runs: exports stay on the processors where their runtime knows no GPU, which is told."""
    graph = ending(weights) == ".onnx"
    if device.type == "cpu" or not (graph or weights.name.endswith("_openvino_model")):
        return device
    if graph:
        try:
            import onnxruntime
        except ImportError:  # said when it is loaded
            return device
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            return device
    log.warning(
        "%s: detects on the processors beside an idle GPU; .pt weights run on it, and .onnx ones where onnxruntime-gpu "
        "is installed in place of onnxruntime", weights,
    )  # fmt: skip
    return torch.device("cpu")


def _limit_threads(network: Any, copy: Path) -> None:
    """Give ONNX Runtime as many threads as this process may use.

    Left alone it takes one a core, whatever the scheduler says, and those that wait for work keep their cores busy.
    """
    session = getattr(network, "session", None)
    if session is None or session.get_providers() != ["CPUExecutionProvider"]:
        return
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    network.backend.session = onnxruntime.InferenceSession(str(copy), options, providers=session.get_providers())


@contextmanager
def _private_copy(weights: Path) -> Iterator[Path]:
    """Give a copy of a file or folder, alone in a folder that no other user can change before it is loaded.

    Large ONNX files keep their weights in a second one, ``<name>.data``.
    """
    with tempfile.TemporaryDirectory(prefix="detector-") as folder:
        copy = Path(folder, weights.name)
        (shutil.copytree if weights.is_dir() else shutil.copyfile)(weights, copy)
        if (data := weights.with_name(f"{weights.name}.data")).is_file():
            shutil.copyfile(data, copy.with_name(data.name))
        yield copy


def hash_file(weights: Path) -> Path:
    """Return where the SHA-256 of downloaded weights is recorded, as ``sha256sum`` writes it."""
    return weights.with_name(f"{weights.name}.sha256")


def check_recorded(weights: Path, found: str) -> None:
    """Refuse weights that differ from what was downloaded under this name."""
    record = hash_file(weights)
    if record.is_file() and (known := (record.read_text(encoding="utf-8").split() or [""])[0]) != found:
        raise InputError(
            f"{weights}: its SHA-256 is {found}, and {record.name} records {known} of the file that was downloaded; "
            f"delete {record} if you have put another file there, else delete both to download again"
        )


def untrusted(weights: Path, found: str) -> InputError:
    """Return the refusal of weights that could run code, with the line by which a user trusts them."""
    line = f"trusted_weights: {{{weights.name}: {found}}}"
    return InputError(
        f"{weights}: loading it could run any code; expected .onnx, OpenVINO or a .pt file of a YOLO network and "
        f"nothing else, or, if you trust this one, a line in the config: {line}"
    )


def _guard(weights: Path, found: str, trusted: Container[str]) -> None:
    """Let weights be loaded without running code, or not at all, unless they are trusted; ``found`` is their SHA-256.

    Raises:
        InputError: Their format, or the installed ultralytics or torch, knows no such way.
    """
    if ending(weights) == ".onnx" or weights.name.endswith("_openvino_model"):
        return
    if found in trusted:
        if ending(weights) == ".pt":
            os.environ["ULTRALYTICS_SAFE_LOAD"] = "false"
        return
    from ultralytics import utils

    # An older torch lacks what ultralytics restricts by, and it would load everything.
    restricted = getattr(utils, "SAFE_LOAD", False) and hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint")
    if ending(weights) != ".pt":
        raise untrusted(weights, found)
    if not restricted:
        raise InputError(
            f"{weights}: ULTRALYTICS_SAFE_LOAD is off, or ultralytics or torch is too old to load it without running "
            "code; expected ultralytics 8.4.190 and torch 2.6 or newer, or .onnx or OpenVINO weights"
        )
