"""The one JSON parameter of each rule: its stage's settings, and fingerprints of what it reads from outside.

They are the only param of the rule, so that it is run again when they change. The workflow asks for them while it is
parsed, so that this module imports nothing but the standard library.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vadistill.datasets import raw_files
from vadistill.datasets.catalogue import Dataset
from vadistill.datasets.raw_files import Wildcards
from vadistill.io.files import fingerprint
from vadistill.settings import OFFICIAL_WEIGHTS
from vadistill.settings.ablation import configured_variant


def rule_settings(data: Dataset, stage: str, wildcards: Wildcards) -> str:
    """Return the canonical JSON of what a stage reads, for the wildcards of its rule."""
    extra = EXTRA[stage](data, wildcards) if stage in EXTRA else {}
    return data.settings(stage, wildcards.get("teacher") or wildcards.get("detector", ""), **extra)


def _of_depth(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    return {"fingerprints": {path: fingerprint(path) for path in raw_files.training_clips(data, wildcards)}}


def _of_extraction(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    """A generated clip is known by its settings before it exists, any other one by its content."""
    known = data.settings("generate_demo") if data.generated else fingerprint(raw_files.clip(data, wildcards))
    return {"fingerprint": known} | ({"depth": f"results/{data.name}/depth.json"} if data.measures_depth else {})


def _of_synthetic(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    """Which anomaly is made, and the part of the clip that it may be made in."""
    clip = data.synthetic(wildcards["split"])[wildcards["clip"]]
    return {"kind": clip.kind, "part": clip.part, "scene": data.section("objects").scene}


def _of_detection(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    """Official weights are known by their name, since they may not be here yet; any other ones by their content."""
    path = Path(raw_files.detector_weights(data, wildcards))
    official = path.name in OFFICIAL_WEIGHTS or not path.exists()
    return {"fingerprint": "official" if official else fingerprint(path)}


def _of_training(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    """The content of what lies outside the data set."""
    pool, weights = (find(data, wildcards) for find in (raw_files.image_pool, raw_files.network_weights))
    folders = sorted({path.parent for path in Path(pool).rglob("*")}) if isinstance(pool, str) else []
    content = _fingerprints([*folders, *([weights] if isinstance(weights, str) else [])])
    return {"resources": content} if content else {}


def _of_cells(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    """Which scene a clip shows; what else counts as an object is nothing to cells."""
    return {"scene": data.section("objects").scene}


def _of_calibration(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    return {"fitted_on": data.calibrated_on}


def _of_detector(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    """The clips that it does not learn from."""
    return {"held_out_clips": data.held_out}


def _of_usual(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    """The clips that nothing was learned from, and which scene each clip shows."""
    return {"held_out_clips": data.held_out, "scene": data.section("objects").scene}


def _of_distillation(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    """The clips that it does not learn from, and how those with synthetic anomalies are made: for its provenance."""
    used = data.section("distillation")
    read = {"synthetic": used.synthetic, "validation": used.selection == "validation"}
    sections = {name: asdict(data.section(name)) for name in read if read[name]}
    return {"held_out_clips": data.held_out, **sections}


def _of_labels(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    """Where the data set lies, and what is in its labels; the split validation needs none."""
    if wildcards.get("split") == "validation":
        return {}
    content = {} if data.generated else _fingerprints(raw_files.labels(data, wildcards))
    return {"layout": data.entry["layout"], "path": data.folder, "labels": content}


def _of_evaluation(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    return _of_labels(data, wildcards) | ({"left_out_clips": data.left_out} if data.left_out else {})


def _of_regions(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    return {**_of_labels(data, wildcards), "tracks": _fingerprints(data.tracks)}


def _of_variants(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    return {"groups": data.catalogue.variant_groups(data.name, wildcards["who"])}


def _of_ablation(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    configured = configured_variant(data.catalogue.config, data.name)
    return {"groups": data.catalogue.ablation_groups("student", data.name), "configured": configured}


def _of_judge(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    configured = configured_variant(data.catalogue.config, data.name)
    return {"groups": data.catalogue.ablation_groups("judge", data.name), "configured": configured}


def _of_detector_ablation(data: Dataset, wildcards: Wildcards) -> dict[str, Any]:
    return {"groups": data.catalogue.ablation_groups(wildcards["detector"], data.name)}


def _fingerprints(paths: Iterable[str | Path]) -> dict[str, str]:
    """Content of raw files, as far as they are there: a new date alone changes nothing."""
    return {str(path): fingerprint(path) for path in paths if Path(path).exists()}


# Besides the settings that it reads, by stage.
EXTRA: dict[str, Callable[[Dataset, Wildcards], dict[str, Any]]] = {
    "measure_depth": _of_depth,
    "extract_frames": _of_extraction,
    "make_validation_clip": _of_synthetic,
    "make_synthetic_clip": _of_synthetic,
    "detect_objects": _of_detection,
    "train_teacher": _of_training,
    "fit_flow_by_row": _of_cells,
    "train_cells": _of_cells,
    "score_cells": _of_cells,
    "calibrate_teacher": _of_calibration,
    "distill_student": _of_distillation,
    "measure_usual": _of_usual,
    "train_detector": _of_detector,
    "pack_cells": _of_detector,
    "evaluate_teachers": _of_labels,
    "draw_teachers": _of_labels,
    "evaluate_student": _of_labels,
    "fit_alarms": _of_detector,
    "evaluate": _of_evaluation,
    "evaluate_detector": _of_evaluation,
    "evaluate_regions": _of_regions,
    "evaluate_detector_regions": _of_regions,
    "compare_detectors": _of_labels,
    "write_report": _of_labels,
    "draw_pictures": _of_labels,
    "draw_overlay": _of_labels,
    "compare_backends": _of_labels,
    "compare_variants": _of_variants,
    "compare_ablation": _of_ablation,
    "compare_detector_ablation": _of_detector_ablation,
    "judge_student": _of_judge,
}
