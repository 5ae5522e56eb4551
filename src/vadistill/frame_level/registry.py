"""The frame-level detectors by name, and trained ones from their files."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vadistill.errors import InputError, in_one_line
from vadistill.frame_level.base import FrameLevelDetector, FrameTrainedDetector, NetworkDetector
from vadistill.frame_level.packed import REMEDY, WEIGHTS, PackedDetector
from vadistill.settings import DETECTORS
from vadistill.training.checkpoint import fitting, load_model
from vadistill.training.device import in_layout


class TrainedDetector(NamedTuple):
    """A frame-level detector and the weights that its file holds."""

    detector: FrameLevelDetector
    weights: dict[str, Tensor]


def detector_class(name: str) -> type[FrameLevelDetector]:
    """Return the class of a frame-level detector: <Name>Detector in the module of its name, for <Name>Config.

    Raises:
        InputError: There is no such detector.
    """
    if name not in DETECTORS:
        raise InputError(f"frame-level detector '{name}': unknown; expected one of {', '.join(DETECTORS)}")
    kind = DETECTORS[name].__name__.removesuffix("Config")
    return getattr(import_module(f"vadistill.frame_level.{name}"), f"{kind}Detector")


def unscored(name: str) -> str:
    """Return the kind of the files that a training leaves, before its score has what it needs of normal clips."""
    return f"{name} without its score"


def read_trained(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the settings and weights of a detector without its score, or of one that shall get another.

    Raises:
        InputError: The file is missing, damaged or of another detector.
    """
    model = load_model(path, unscored(name), name)
    with fitting(path):
        return json.loads(model["settings"]), model["weights"]


def untrained(name: str, settings: dict[str, Any]) -> FrameTrainedDetector:
    """Return a frame-level detector that the rule train_detector trains.

    Raises:
        InputError: There is no such detector, or it learns of more than frames.
    """
    detector = detector_class(name)(settings)
    if not isinstance(detector, FrameTrainedDetector):
        raise InputError(
            f"frame-level detector '{name}': has rules of its own; expected one that learns of frames alone"
        )
    return detector


def read_detector(path: Path) -> TrainedDetector:
    """Read a trained frame-level detector; which one it is stands in its file, or in the folder that was packed of it.

    Raises:
        InputError: The file is missing, damaged or no frame-level detector.
    """
    if path.is_dir():
        return _unpacked(PackedDetector.open(path))
    model = load_model(path, *DETECTORS)
    with fitting(path):
        settings: dict[str, Any] = json.loads(model["settings"])
        return TrainedDetector(detector_class(model["kind"])(settings), model["weights"])


def _unpacked(packed: PackedDetector) -> TrainedDetector:
    kept = packed.detector()
    with fitting(packed.folder):
        try:
            weights = load_file(packed.folder / WEIGHTS)
        except SafetensorError as error:
            raise InputError(f"{packed.folder / WEIGHTS}: no weights in it ({in_one_line(error)}); {REMEDY}") from error
        return TrainedDetector(detector_class(kept.kind)(kept.settings), weights)


def as_network(detector: FrameLevelDetector, path: Path) -> NetworkDetector:
    """Return the detector that a file holds, if other runtimes and compilers can take it.

    Raises:
        InputError: It is no network.
    """
    if not isinstance(detector, NetworkDetector):
        raise InputError(
            f"{path}: the network of {detector.name} is no graph that another runtime takes; expected a detector "
            "that is a network, or score with this file as it is"
        )
    return detector


def load_network(
    path: Path, device: torch.device, streamlined: torch.dtype | None = None, graph: bool = False
) -> tuple[FrameLevelDetector, nn.Module]:
    """Load a trained frame-level detector and its network, in evaluation mode.

    Args:
        path: Its file.
        device: Where the network goes.
        streamlined: Made ready for other runtimes in this type; None: as it is trained.
        graph: Refuse a detector that is no network (``as_network``).

    Raises:
        InputError: The file is missing, damaged or no frame-level detector, or not one that is asked for.
    """
    detector, weights = read_detector(path)
    if graph:
        as_network(detector, path)
    with fitting(path):
        network = detector.load(weights) if streamlined is None else detector.streamlined(weights, streamlined)
    return detector, in_layout(network.to(device), torch.channels_last)
