"""A trained detector as one folder that can be carried away: what is in it, and whether it is whole.

``vadistill pack`` writes it (``inference.pack``). Reading one needs neither torch nor the workflow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from vadistill.errors import InputError
from vadistill.evaluation.alarm_thresholds import Alarms
from vadistill.io.files import checked_path, read_json, sha256
from vadistill.io.json_records import JsonRecord, key, later

MANIFEST = "manifest.json"
FORMAT, ADAPTED_FORMAT = 1, 2  # the latter has places, which who does not know them must not leave out
DETECTOR, WEIGHTS = "detector.json", "weights.safetensors"
ONNX_FILE, OPENVINO_FOLDER, ALARMS, VIEW, PLACES, CARD = (
    "model.onnx", "openvino", "alarms.json", "view.safetensors", "places.safetensors", "README.md"
)  # fmt: skip
OPENVINO_GRAPH = f"{OPENVINO_FOLDER}/model.xml"
REMEDY = "copy or pack the folder again"


@dataclass(frozen=True, kw_only=True)
class Manifest(JsonRecord):
    """What ``manifest.json`` holds."""

    vadistill_detector: int = key("number of the folder's format")
    made_by: dict[str, Any] = key("`vadistill`, `git_revision` and `packages` that wrote it")
    files: dict[str, str] = key("SHA-256 of every other file, by its path in the folder")


@dataclass(frozen=True, kw_only=True)
class DetectorFile(JsonRecord):
    """What ``detector.json`` holds: all of a trained detector but its weights."""

    kind: str = key("name of the frame-level detector")
    settings: dict[str, Any] = key("it was trained with, by section, and how its training clips were filmed")
    source: dict[str, Any] = later("`dataset` and file that it was packed from, and videos it was adapted to", dict)
    scoring: dict[str, Any] = later("how its camera's videos are scored unless said otherwise", dict)


@dataclass(frozen=True)
class ScoringDefaults:
    """How videos of a detector's camera are scored, so that its thresholds hold.

    Attributes:
        every: Every so many frames one is scored.
        match_rate: Whether a window's frames lie as far apart in time as in training.
    """

    every: int = 1
    match_rate: bool = False


def is_packed(path: Path) -> bool:
    """Return whether a path is a folder with a manifest in it; ``PackedDetector.open`` says whether it is whole."""
    return (path / MANIFEST).is_file()


def replaceable(path: Path) -> bool:
    """Return whether a folder is one that ``vadistill pack`` wrote, with nothing else in it."""
    try:
        known = Manifest.read(path / MANIFEST).files.keys() | {MANIFEST}
    except InputError:
        return False
    return all(part.is_dir() or part.relative_to(path).as_posix() in known for part in path.rglob("*"))


@dataclass(frozen=True)
class PackedDetector:
    """A folder whose files are those that its manifest names.

    Attributes:
        folder: Where it lies.
        files: The paths in it.
    """

    folder: Path
    files: frozenset[str]

    @classmethod
    def open(cls, folder: str | Path, compare: bool = True) -> "PackedDetector":
        """Open a folder and compare its files with its manifest.

        Args:
            folder: Where it lies.
            compare: Not wanted where ``load_backend`` compares them, too.

        Raises:
            InputError: It is none, of a newer version, or a file is missing or damaged.
        """
        folder = checked_path(folder)
        if not folder.exists():
            raise InputError(f"{folder}: missing; expected a folder that 'vadistill pack' wrote, or starter")
        if not is_packed(folder):
            raise InputError(f"{folder}: no {MANIFEST} in it; expected a folder that 'vadistill pack' wrote")
        content = read_json(folder / MANIFEST)
        version = content.get("vadistill_detector") if isinstance(content, dict) else None
        if isinstance(version, int) and version > ADAPTED_FORMAT:
            raise InputError(
                f"{folder}: of format {version}, and this vadistill knows {ADAPTED_FORMAT}; expected a newer one"
            )
        manifest = Manifest.of(content if isinstance(content, dict) else {}, folder / MANIFEST)
        for name in (DETECTOR, WEIGHTS):
            if name not in manifest.files:
                raise InputError(f"{folder / MANIFEST}: does not name {name}; {REMEDY}")
        if compare:
            _check(folder, manifest.files)
        return cls(folder, frozenset(manifest.files))

    def model(self, backend: str) -> Path:
        """Return what a backend loads: an export, or the folder itself for torch.

        Raises:
            InputError: It holds no export of that kind.
        """
        if backend.startswith("openvino") and self.has_openvino:
            return self.folder / OPENVINO_FOLDER
        if backend.startswith(("onnx", "openvino")):
            if ONNX_FILE not in self.files:
                raise InputError(f"{self.folder}: holds no {ONNX_FILE}; expected one for the backend '{backend}'")
            return self.folder / ONNX_FILE
        return self.folder

    @property
    def is_adapted(self) -> bool:
        """Return whether its maps are measured by what is usual at each place of a camera."""
        return PLACES in self.files

    @property
    def has_onnx(self) -> bool:
        """Return whether ONNX Runtime can run it."""
        return ONNX_FILE in self.files

    @property
    def has_openvino(self) -> bool:
        """Return whether it holds a graph for OpenVINO."""
        return OPENVINO_GRAPH in self.files

    def detector(self) -> DetectorFile:
        """Return what is known of the detector."""
        return DetectorFile.read(self.folder / DETECTOR)

    def view(self) -> dict[str, np.ndarray] | None:
        """Return the arrays of its normal view (``inference.view``), where it has one."""
        return load_file(self.folder / VIEW) if VIEW in self.files else None

    def scoring(self) -> ScoringDefaults:
        """Return how its videos are scored unless said otherwise.

        Raises:
            InputError: It says so in other words than these.
        """
        kept = self.detector().scoring
        every, match_rate = kept.get("every", 1), kept.get("match_rate", False)
        if kept.keys() - {"every", "match_rate"} or type(every) is not int or every < 1 or type(match_rate) is not bool:
            raise InputError(f"{self.folder / DETECTOR}: scoring is {kept}; expected every and match_rate; {REMEDY}")
        return ScoringDefaults(every, match_rate)

    def places(self) -> dict[str, np.ndarray] | None:
        """Return the arrays of what is usual at each place (``inference.places``), where it says so."""
        return load_file(self.folder / PLACES) if PLACES in self.files else None

    def alarms(self) -> Alarms | None:
        """Return its thresholds, where it has some."""
        return Alarms.read(self.folder / ALARMS) if ALARMS in self.files else None


def _check(folder: Path, files: Mapping[str, str]) -> None:
    for name, expected in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{folder / MANIFEST}: names '{name}', which lies outside the folder; {REMEDY}")
        if not path.is_file():
            raise InputError(f"{path}: missing, and {MANIFEST} names it; {REMEDY}")
        if sha256(path) != expected:
            raise InputError(f"{path}: damaged, it differs from its checksum in {MANIFEST}; {REMEDY}")
