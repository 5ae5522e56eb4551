"""A trained detector out of the results of a data set, as one folder: see ``frame_level.packed``."""

from itertools import chain, islice
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from vadistill import __version__
from vadistill.errors import InputError
from vadistill.evaluation.alarm_thresholds import Alarms
from vadistill.extras import installed
from vadistill.frame_level.base import NetworkDetector
from vadistill.frame_level.packed import (
    ALARMS,
    CARD,
    DETECTOR,
    ONNX_FILE,
    OPENVINO_FOLDER,
    VIEW,
    WEIGHTS,
    DetectorFile,
    replaceable,
)
from vadistill.frame_level.registry import TrainedDetector, read_detector
from vadistill.inference.export import export_onnx, export_openvino
from vadistill.inference.manifest import write_manifest
from vadistill.inference.model_card import Facts, card
from vadistill.inference.view import ONE_VIEW, Background, NormalView, small_picture
from vadistill.io.files import read_json, sha256, whole_folder, write_json
from vadistill.io.formats import refuse_to_replace
from vadistill.io.frames import FrameStore
from vadistill.io.provenance import git_revision
from vadistill.settings import DETECTORS

VIEW_CLIPS, VIEW_FRAMES = 50, 250  # training clips, and frames of each, that make the normal view
COMPARED = 10  # frames of a clip whose median is compared with other clips'


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
        missing += _write_view(results, made)
        if facts.alarms:
            write_json(made / ALARMS, facts.alarms.content())
        text = card(trained.detector, facts, sorted(path.name for path in made.iterdir()), __version__, git_revision())
        (made / CARD).write_text(text, encoding="utf-8")
        write_manifest(made)
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
        results.resolve().name,
        name,
        found.get("auc"),
        found.get("localisation"),
        found.get("speed"),
        alarms,
        missing,
        (results / "clips/train").is_dir(),
    )


def _write_detector(trained: TrainedDetector, results: Path, model: Path, folder: Path) -> None:
    weights = {name: values.contiguous().numpy() for name, values in trained.weights.items()}
    (folder / WEIGHTS).write_bytes(save(weights))
    source = {"dataset": results.resolve().name, "sha256": sha256(model)}
    kept = DetectorFile(kind=trained.detector.name, settings=trained.detector.settings, source=source)
    write_json(folder / DETECTOR, kept.content())


def _write_view(results: Path, folder: Path) -> list[str]:
    """Write what the camera usually shows, from stored training clips; return a line where there is no such thing."""
    without = "no view.safetensors, so that a moved or covered camera is not noticed"
    paths = sorted((results / "frames/train").glob("*.h5"))
    if not paths:
        return [f"{without}: no {results}/frames/train/*.h5"]
    chosen = [FrameStore(paths[i]) for i in _spread(len(paths), VIEW_CLIPS)]
    first, *others = (
        np.median([small_picture(store.read(t)) for t in _spread(len(store), COMPARED)], axis=0) for store in chosen
    )
    likeness = min(map(Background(first).likeness, others), default=1.0)
    if likeness < ONE_VIEW:
        return [
            f"{without}: training clips show several views (likeness {likeness:.2f}; of one view {ONE_VIEW} or more)"
        ]
    view = NormalView.of(chain.from_iterable(islice(store, VIEW_FRAMES) for store in chosen))
    (folder / VIEW).write_bytes(save(view.to_arrays()))
    return []


def _spread(count: int, most: int) -> list[int]:
    """Return at most so many of the numbers below ``count``, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).astype(int).tolist()


def _write_exports(trained: TrainedDetector, model: Path, folder: Path) -> list[str]:
    """Write what other runtimes take; return what could not be had, a line each."""
    if not isinstance(trained.detector, NetworkDetector):
        return [f"no exports: {trained.detector.name} is no graph, and needs vadistill with its extra 'train' to run"]
    export_onnx(model, folder / ONNX_FILE)
    if not installed("openvino"):
        return ["no OpenVINO graph: OpenVINO is not installed here"]
    export_openvino(model, folder / OPENVINO_FOLDER)
    return []
