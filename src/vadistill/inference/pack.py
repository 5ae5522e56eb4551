"""A trained detector out of the results of a data set, as one folder: see ``frame_level.packed``."""

import logging
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from vadistill import __version__
from vadistill.errors import InputError
from vadistill.evaluation.alarm_thresholds import Alarms
from vadistill.frame_level.base import NetworkDetector
from vadistill.frame_level.packed import (
    ALARMS,
    CARD,
    DETECTOR,
    FORMAT,
    MANIFEST,
    ONNX_FILE,
    OPENVINO_FOLDER,
    VIEW,
    WEIGHTS,
    DetectorFile,
    Manifest,
    replaceable,
)
from vadistill.frame_level.registry import TrainedDetector, read_detector
from vadistill.inference.export import export_onnx, export_openvino
from vadistill.inference.model_card import Facts, card
from vadistill.inference.view import NormalView
from vadistill.io.files import read_json, sha256, whole_folder, write_json
from vadistill.io.formats import refuse_to_replace
from vadistill.io.frames import FrameStore
from vadistill.io.provenance import git_revision, package_versions
from vadistill.settings import DETECTORS

log = logging.getLogger(__name__)
VIEW_CLIPS, VIEW_FRAMES = 50, 250  # training clips, and frames of each, that make the normal view


def pack(results: Path, folder: Path, name: str = "student") -> list[str]:
    """Write a trained detector with its exports, thresholds and model card, whole or not at all.

    What the results do not have is left out, and the card says so.

    Args:
        results: ``results/<dataset>``.
        folder: To be written; one that was packed earlier is replaced.
        name: Of the frame-level detector.

    Returns:
        What is left out and how to make it, a line each.

    Raises:
        InputError: There is no such detector in the results, or something else is in the folder's place.
    """
    if name not in DETECTORS:
        raise InputError(f"frame-level detector '{name}': unknown; expected one of {', '.join(DETECTORS)}")
    model = results / name / DETECTORS[name].model
    if not model.exists():
        raise InputError(f"{model}: missing; expected a trained detector: snakemake --cores 8 {model}")
    if results.resolve().is_relative_to(folder.resolve()) or folder.name in ("", ".."):
        raise InputError(f"{folder}: holds the results; expected a new folder, such as my_detector")
    refuse_to_replace(folder, replaceable, "packed detector, or holds other files, too")
    trained, facts = read_detector(model), read_facts(results, name)
    with whole_folder(folder) as made:
        _write_detector(trained, results, model, made)
        missing = _write_exports(trained, model, made) + facts.missing
        missing += _write_view(results, made, several_scenes(facts.auc))
        if facts.alarms:
            write_json(made / ALARMS, facts.alarms.content())
        text = card(trained.detector, facts, sorted(path.name for path in made.iterdir()), __version__, git_revision())
        (made / CARD).write_text(text, encoding="utf-8")
        names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
        made_by = {"vadistill": __version__, "git_revision": git_revision(), "packages": package_versions()}
        files = {name: sha256(made / name) for name in names}
        write_json(made / MANIFEST, Manifest(vadistill_detector=FORMAT, made_by=made_by, files=files).content())
    return missing


def read_facts(results: Path, name: str) -> Facts:
    """Return what the results of a data set say of a detector, and which of it is missing.

    Raises:
        InputError: A file is damaged.
    """
    own = results if name == "student" else results / name
    paths = {
        "alarms": results / name / "alarms.json",
        "auc": own / "auc.json",
        "localisation": own / "localisation.json",
        "speed": results / "speed.json",
    }
    if name != "student":
        del paths["speed"]
    found = {kind: read_json(path) for kind, path in paths.items() if path.exists()}
    missing = [f"no {path.name}: snakemake --cores 8 {path}" for kind, path in paths.items() if kind not in found]
    alarms = Alarms.of(found["alarms"], paths["alarms"]) if "alarms" in found else None
    return Facts(
        results.resolve().name, name, found.get("auc"), found.get("localisation"), found.get("speed"), alarms, missing
    )


def several_scenes(auc: dict[str, Any] | None) -> bool:
    """Return whether a data set's clips are told apart by scenes, by the settings in its ``auc.json``."""
    return bool(((auc or {}).get("settings", {}).get("objects") or {}).get("scene"))


def _write_detector(trained: TrainedDetector, results: Path, model: Path, folder: Path) -> None:
    weights = {name: values.contiguous().numpy() for name, values in trained.weights.items()}
    (folder / WEIGHTS).write_bytes(save(weights))
    source = {"dataset": results.resolve().name, "sha256": sha256(model)}
    kept = DetectorFile(kind=trained.detector.name, settings=trained.detector.settings, source=source)
    write_json(folder / DETECTOR, kept.content())


def _write_view(results: Path, folder: Path, several: bool) -> list[str]:
    """Write what the camera usually shows, from stored training clips; return a line where there is no such thing.

    Args:
        results: Of the data set.
        folder: Of the detector.
        several: Whether the clips show several scenes.
    """
    paths = sorted((results / "frames/train").glob("*.h5"))
    if not paths:
        return [
            f"no view.safetensors, so that a moved or covered camera is not noticed: no {results}/frames/train/*.h5"
        ]
    if several:
        return ["no view.safetensors, so that a moved or covered camera is not noticed: its clips show several scenes"]
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(len(paths), VIEW_CLIPS)).astype(int)]
    frames = chain.from_iterable(islice(FrameStore(path), VIEW_FRAMES) for path in chosen)
    (folder / VIEW).write_bytes(save(NormalView.of(frames).to_arrays()))
    return []


def _write_exports(trained: TrainedDetector, model: Path, folder: Path) -> list[str]:
    """Write what other runtimes take; return what could not be had, a line each."""
    if not isinstance(trained.detector, NetworkDetector):
        return [f"no exports: {trained.detector.name} is no graph, and needs vadistill with its extra 'train' to run"]
    export_onnx(model, folder / ONNX_FILE)
    if not find_spec("openvino"):
        return ["no OpenVINO graph: OpenVINO is not installed here"]
    export_openvino(model, folder / OPENVINO_FOLDER)
    return []
