"""Typed settings: one frozen dataclass a section of config.yaml, and what each stage reads of them.

``config.yaml`` is checked against the JSON schema that ``schema()`` makes of these classes. A data set may override
any section. A stage gets one canonical JSON string of just the settings that it uses (``stage_settings``): this
string is the only param of its rule, so that a changed setting reruns exactly the stages that read it.
"""

import json
import types
import typing
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from vadistill.errors import InputError

LAYOUTS = ("avenue", "shanghaitech", "ucsd_ped1", "ucsd_ped2", "ubnormal", "folder", "demo")


def option(default: Any, text: str, **schema: Any) -> Any:
    """Return a dataclass field with its description and JSON schema keywords."""
    return field(default=default, metadata={"text": text, "schema": schema})


def number(default: float, text: str, low: float = 0, high: float | None = None) -> Any:
    """Return a field for a number within [low, high]."""
    return option(default, text, minimum=low, **({} if high is None else {"maximum": high}))


@dataclass(frozen=True)
class Demo:
    """The generated data set (layout ``demo``)."""

    seed: int = number(7, "everything is drawn from it")
    train_clips: int = number(10, "normal clips", 1)
    test_clips: int = number(8, "clips with anomalies", 1)
    frames: int = number(150, "frames a clip", 8)
    height: int = number(180, "pixels", 64)
    width: int = number(320, "pixels", 64)


@dataclass(frozen=True)
class Frames:
    """How extracted frames are stored."""

    encoding: str = option("jpeg", "jpeg (JPEG source frames are kept byte for byte) or png", enum=["jpeg", "png"])
    quality: int = number(95, "JPEG quality", 1, 100)


@dataclass(frozen=True)
class Detection:
    """The object detector. Thresholds that the teachers use stand in ``objects``."""

    weights: str = option("yolov8n.pt", "a file or OpenVINO folder in resources/weights, or an official name")
    image_size: int = number(640, "longer side of the detector's input in pixels", 32)
    confidence: float = number(0.05, "boxes below it are not stored", 0, 1)
    iou: float = number(0.6, "non-maximum suppression: boxes of one class that overlap more are merged", 0, 1)
    max_objects: int = number(300, "boxes kept a frame", 1)
    batch: int = number(8, "frames a batch", 1)


@dataclass(frozen=True)
class Objects:
    """Which stored boxes count as objects; changing it does not rerun the detector."""

    confidence: float = number(0.25, "least confidence", 0, 1)
    min_side: float = number(10.0, "drop boxes whose longer side is shorter, in pixels")
    max_overlap: float = number(0.9, "of two boxes with a larger IoU the less confident is dropped", 0, 1)
    drop_contained: bool = option(True, "drop boxes that lie strictly inside another")


@dataclass(frozen=True)
class BackgroundAgnostic:
    """Teacher: auto-encoders, adversarial training on pseudo-anomalies, classifiers (arXiv 2008.12328)."""

    crop: int = option(64, "side of the crops in pixels", enum=[32, 64])
    step: int = number(3, "frames between the frame and its flow's other end", 1)
    normalise: str = option("box", "flow in units of: box diagonal, or scene speed at the box", enum=["box", "scene"])
    max_objects: int = number(60000, "training objects held in memory; more are thinned out evenly", 1)
    held_out: float = number(0.15, "share of the training clips that only stop the training early", 0, 0.5)
    batch: int = number(64, "objects a step", 2)
    autoencoder_epochs: int = number(20, "at most", 1)
    adversarial_epochs: int = number(8, "epochs with reversed gradients; 0 leaves them out", 0)
    classifier_epochs: int = number(15, "at most", 1)
    autoencoder_rate: float = number(1e-3, "learning rate of the auto-encoders")
    adversarial_rate: float = number(1e-4, "learning rate of the adversarial phase")
    classifier_rate: float = number(1e-4, "learning rate of the classifiers")
    reversal: float = number(0.2, "weight of the reversed gradient (lambda)")
    patience: int = number(3, "epochs without a better held-out loss before a phase stops", 1)
    seed: int = number(0, "initial weights, order, pseudo-anomalies")


@dataclass(frozen=True)
class MultiTask:
    """Teacher: self-supervised multi-task learning on object sequences (arXiv 2011.07491)."""

    crop: int = option(64, "side of the crops in pixels", enum=[32, 64])
    width: str = option("wide", "channels of the shared 3D CNN", enum=["narrow", "wide"])
    depth: str = option("deep", "one or two convolutions a stage", enum=["shallow", "deep"])
    max_objects: int = number(20000, "training objects held in memory, drawn anew every epoch", 1)
    held_out: float = number(0.15, "share of the training clips that only stop the training early", 0, 0.5)
    batch: int = number(64, "objects a step", 2)
    epochs: int = number(30, "at most", 1)
    learning_rate: float = number(1e-3, "Adam")
    distillation_weight: float = number(0.2, "weight of the distillation loss in the joint loss")
    max_skip: int = number(4, "irregular sequences skip 1 to this many frames a step", 1)
    flip: bool = option(True, "mirror half of the training objects")
    patience: int = number(4, "epochs without a better held-out loss before training stops", 1)
    seed: int = number(0, "initial weights, order, sequences")


@dataclass(frozen=True)
class Calibration:
    """The affine map from object scores to map values, fitted on training clips."""

    low_percentile: float = number(0.5, "of the training scores", 0, 100)
    high_percentile: float = number(99.5, "of the training scores", 0, 100)
    low_value: float = number(0.05, "map value at the low percentile", 0, 1)
    high_value: float = number(0.6, "map value at the high percentile", 0, 1)


@dataclass(frozen=True)
class Maps:
    """Anomaly maps, the student's targets."""

    resolutions: tuple[int, ...] = option(
        (1, 4, 16), "side of each square map in cells", minItems=1, uniqueItems=True, items={"minimum": 1}
    )


@dataclass(frozen=True)
class Student:
    """The frame-level network (arXiv 2211.15597); the defaults are the official layout."""

    height: int = number(360, "input in pixels", 32)
    width: int = number(640, "input in pixels", 32)
    frame_step: int = number(3, "frames between the three input frames", 1)
    base_width: int = number(16, "channels after the first convolution", 1)
    downsamplings: int = number(4, "strided convolutions", 1, 6)
    depth: int = number(5, "transformer blocks", 1)
    heads: int = number(5, "attention heads", 1)
    head_width: int = number(64, "channels of an attention head", 1)
    feed_forward: int = number(4, "expansion of the feed-forward", 1)
    last_activation: str = option("softplus", "of the map heads; relu can die", enum=["softplus", "relu"])


@dataclass(frozen=True)
class Pretraining:
    """The student as an auto-encoder of its middle frame."""

    epochs: int = number(35, "passes over the training frames", 1)
    batch: int = number(48, "frames a step", 1)
    learning_rate: float = number(1e-3, "Adam")
    weight_decay: float = number(5e-6, "Adam")
    decay_every: int = number(10, "epochs after which the learning rate falls", 1)
    decay: float = number(0.5, "factor of the learning rate", 0, 1)
    frame_stride: int = number(1, "train on every n-th frame, another phase every epoch", 1)
    seed: int = number(0, "initial weights and order")


@dataclass(frozen=True)
class Distillation:
    """From the teachers' maps to the student."""

    teachers: tuple[str, ...] = option(
        ("background_agnostic", "multi_task"), "names of teachers", minItems=1, uniqueItems=True
    )
    pretrained: bool = option(True, "start from the pre-trained weights")
    epochs: int = number(35, "passes over the training frames", 1)
    batch: int = number(48, "frames a step", 1)
    learning_rate: float = number(1e-4, "Adam, student and discriminators")
    weight_decay: float = number(5e-6, "Adam")
    decay_every: int = number(10, "epochs after which the student's learning rate falls", 1)
    decay: float = number(0.5, "factor of the learning rate", 0, 1)
    adversarial_weight: float = number(0.1, "lambda of the adversarial loss; 0 trains no discriminator")
    frame_stride: int = number(1, "train on every n-th frame, another phase every epoch", 1)
    seed: int = number(0, "initial weights and order")


@dataclass(frozen=True)
class Evaluation:
    """From frame scores to AUC."""

    smoothing_sigma: float = number(21.0, "Gaussian over time, in frames; 0 leaves the scores as they are")


SECTIONS: dict[str, type] = {
    "demo": Demo,
    "frames": Frames,
    "detection": Detection,
    "objects": Objects,
    "background_agnostic": BackgroundAgnostic,
    "multi_task": MultiTask,
    "calibration": Calibration,
    "maps": Maps,
    "student": Student,
    "pretraining": Pretraining,
    "distillation": Distillation,
    "evaluation": Evaluation,
}
TEACHERS = ("background_agnostic", "multi_task")
# Detection weights that ultralytics' own downloader fetches by name.
OFFICIAL_WEIGHTS = (
    frozenset(
        f"{family}{size}.pt"
        for family, sizes in (("yolov8", "nsmlx"), ("yolo11", "nsmlx"), ("yolo12", "nsmlx"), ("yolo26", "nsmlx"))
        for size in sizes
    )
    | frozenset(f"yolov5{size}u.pt" for size in "nsmlx")
    | frozenset({"yolov3u.pt"})
)

# What each stage reads; {teacher} is the name of the teacher it is run for. A version is raised by an intended
# change of the stage's algorithm, which then reruns it.
STAGES: dict[str, tuple[int, tuple[str, ...]]] = {
    "generate_demo": (1, ("demo",)),
    "extract_frames": (1, ("frames",)),
    "detect_objects": (1, ("detection",)),
    "train_teacher": (1, ("objects", "{teacher}")),
    "score_objects": (1, ("objects",)),
    "calibrate_teacher": (1, ("calibration",)),
    "build_maps": (1, ("maps",)),
    "pretrain_student": (1, ("student", "pretraining")),
    "distill_student": (1, ("student", "distillation", "maps")),
    "score_frames": (1, ()),
    "evaluate": (1, ("evaluation",)),
    "draw_pictures": (1, ("evaluation",)),
}


def section(name: str, values: dict[str, Any]) -> Any:
    """Return the typed section ``name`` with ``values`` over its defaults."""
    kind = SECTIONS[name]
    hints = typing.get_type_hints(kind)
    return kind(**{key: _typed(hints[key], value) for key, value in values.items()})


def _typed(kind: Any, value: Any) -> Any:
    """Return the value in its field's type, so that 20 and 20.0 are one setting."""
    if isinstance(value, list | tuple):
        return tuple(value)
    return kind(value) if kind in (int, float) else value


def dataset_section(config: dict[str, Any], dataset: str, name: str) -> Any:
    """Return section ``name`` as it holds for ``dataset``: its own overrides first, then the general section."""
    return section(name, {**config.get(name, {}), **dataset_config(config, dataset).get(name, {})})


def dataset_config(config: dict[str, Any], dataset: str) -> dict[str, Any]:
    """Return the config of one data set.

    Raises:
        InputError: There is no such data set.
    """
    known = config["datasets"]
    if dataset not in known:
        raise InputError(f"config.yaml: no data set '{dataset}' under datasets; it has {', '.join(sorted(known))}")
    return known[dataset]


def canonical(content: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal for equal settings, whatever their order."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stage_settings(config: dict[str, Any], dataset: str, stage: str, teacher: str = "", **extra: Any) -> str:
    """Return the canonical JSON of the settings that ``stage`` reads, with its version and ``extra`` values."""
    version, names = STAGES[stage]
    names = tuple(name.format(teacher=teacher) for name in names)
    content = {name: asdict(dataset_section(config, dataset, name)) for name in names}
    return canonical({"version": version, **content, **extra})


def _type_schema(kind: Any) -> dict[str, Any]:
    if typing.get_origin(kind) is tuple:
        return {"type": "array", "items": _type_schema(typing.get_args(kind)[0])}
    return {"type": {int: "integer", float: "number", bool: "boolean", str: "string"}[kind]}


def _section_schema(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    properties = {}
    for entry in fields(kind):
        assert entry.default is not MISSING and not isinstance(hints[entry.name], types.UnionType)
        made = _type_schema(hints[entry.name])
        extra = dict(entry.metadata["schema"])
        if "items" in extra:
            extra["items"] = {**made["items"], **extra["items"]}
        default = list(entry.default) if isinstance(entry.default, tuple) else entry.default
        properties[entry.name] = {**made, **extra, "default": default, "description": entry.metadata["text"]}
    return {
        "type": "object",
        "description": (kind.__doc__ or "").splitlines()[0],
        "properties": properties,
        "additionalProperties": False,
    }


def schema() -> dict[str, Any]:
    """Return the JSON schema of config.yaml; workflow/schemas/config.schema.json is its written form."""
    sections = {name: {"$ref": f"#/$defs/{name}"} for name in SECTIONS}
    shards = {"type": "integer", "minimum": 1, "description": "jobs that detection, scoring and maps fan out to"}
    dataset = {
        "type": "object",
        "properties": {
            "layout": {"enum": list(LAYOUTS), "description": "how the folder is laid out"},
            "path": {"type": "string", "description": "folder of the data set"},
            "shards": shards,
            **sections,
        },
        "required": ["layout"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config.yaml of vadistill",
        "type": "object",
        "$defs": {name: _section_schema(kind) for name, kind in SECTIONS.items()},
        "properties": {
            "shards": {**shards, "default": 16},
            **sections,
            "datasets": {
                "type": "object",
                "propertyNames": {"pattern": r"^\w[\w.-]*$"},
                "additionalProperties": dataset,
            },
        },
        "required": ["datasets"],
        "additionalProperties": False,
    }
