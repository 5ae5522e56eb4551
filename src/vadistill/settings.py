"""Typed settings: one frozen dataclass a section of config.yaml.

A data set may override any section. ``vadistill.schema`` makes a JSON schema of these classes, by which
``vadistill.config`` checks config.yaml.
"""

import json
import typing
from dataclasses import asdict, dataclass, field, fields
from typing import Any

ANOMALY_KINDS = ("pasted", "misplaced", "fast", "backward")
TASKS = ("arrow", "irregularity", "middle_box", "distillation")
MOTION_ANOMALIES = ("longer_gap", "affine", "rotated", "shuffled")
LEAST_FRAMES = 12  # of a training clip; a shorter one is left out
LAYOUTS = ("avenue", "shanghaitech", "ucsd_ped1", "ucsd_ped2", "ubnormal", "folder", "demo")


def option(default: Any, text: str, **schema: Any) -> Any:
    """Return a dataclass field with its description and JSON schema keywords."""
    return field(default=default, metadata={"text": text, "schema": schema})


def later(default: Any, text: str, **schema: Any) -> Any:
    """Return a field that stages are not told of while it has its default: it came later, and old results stand."""
    return field(default=default, metadata={"text": text, "schema": schema, "later": True})


def number(default: float, text: str, low: float = 0, high: float | None = None) -> Any:
    """Return a field for a number within [low, high]."""
    return option(default, text, minimum=low, **({} if high is None else {"maximum": high}))


def interval(default: tuple[float, float], text: str, low: float) -> Any:
    """Return a field for two numbers, neither below ``low``."""
    return option(default, text, minItems=2, maxItems=2, items={"minimum": low})


@dataclass(frozen=True)
class Demo:
    """The generated data set (layout ``demo``)."""

    seed: int = number(7, "everything is drawn from it")
    train_clips: int = number(10, "normal clips", 1)
    test_clips: int = number(8, "clips with anomalies", 1)
    frames: int = number(150, "frames a clip", LEAST_FRAMES)
    height: int = number(180, "pixels", 64)
    width: int = number(320, "pixels", 64)


@dataclass(frozen=True)
class Frames:
    """How extracted frames are stored."""

    encoding: str = option("jpeg", "jpeg (JPEG source frames are kept byte for byte) or png", enum=["jpeg", "png"])
    quality: int = number(95, "JPEG quality", 1, 100)
    depth: str = later(
        "full",
        "what of images of more than 8 bits becomes 8: the full range of 16 bits, or percentiles 0.1 to 99.9 of the "
        "training images",
        enum=["full", "percentiles"],
    )


@dataclass(frozen=True)
class Detection:
    """The object detector. Thresholds that the teachers use stand in ``objects``."""

    weights: str = option(
        "yolov8n.pt", "a file or OpenVINO folder in resources/weights or of an absolute path, or an official name"
    )
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
    moving: bool = option(False, "moving regions that no box covers are objects, too")
    scene: str = option("", "regular expression whose first group names a clip's scene; empty: one scene")


@dataclass(frozen=True)
class Moving:
    """Regions that move, for objects that the detector does not know."""

    step: int = number(3, "frames over which motion is measured", 1)
    speed: float = number(1.0, "least motion over these frames in pixels", 0.1)
    min_side: float = number(12.0, "drop regions whose longer side is shorter, in pixels")
    max_share: float = number(0.15, "drop regions that cover a larger share of the frame", 0, 1)


@dataclass(frozen=True)
class HeldOut:
    """The training clips that no teacher is fitted on: they stop the training early and make the validation split."""

    share: float = number(0.15, "of the training clips, at least one; of a single clip its last part", 0, 0.5)


@dataclass(frozen=True)
class Validation:
    """Synthetic anomalies in held-out training clips: the split by which settings are chosen."""

    clips: int = number(6, "held-out clips used at most, each once for every kind", 1)
    frames: int = number(240, "frames of a clip at most", 24)
    kinds: tuple[str, ...] = option(
        ANOMALY_KINDS, "of anomalies", minItems=1, uniqueItems=True, items={"enum": list(ANOMALY_KINDS)}
    )
    share: float = number(0.4, "of a made clip that is abnormal", 0.1, 0.9)
    pace: tuple[float, ...] = interval((3.0, 3.0), "speed of an interval that is played fast, from .. to", 1.0)
    haste: tuple[float, ...] = interval((2.0, 4.0), "speed of a pasted object, times the usual one, from .. to", 0.1)
    seed: int = number(0, "what is pasted where and when")


@dataclass(frozen=True)
class Synthetic(Validation):
    """Synthetic anomalies in the other training clips, which the student may learn from (distillation.synthetic)."""

    clips: int = number(1000, "training clips used at most, each once for every kind", 1)
    frames: int = number(100, "frames of a clip at most", 24)
    share: float = number(0.8, "of a made clip that is abnormal", 0.1, 1)
    pace: tuple[float, ...] = interval((1.25, 4.0), "speed of an interval that is played fast, from .. to", 1.0)
    haste: tuple[float, ...] = interval((1.0, 4.0), "speed of a pasted object, times the usual one, from .. to", 0.1)
    seed: int = number(1, "what is pasted where and when")


@dataclass(frozen=True)
class BackgroundAgnostic:
    """Teacher: auto-encoders, adversarial training on pseudo-anomalies, classifiers (arXiv 2008.12328)."""

    crop: int = option(64, "side of the crops in pixels", enum=[32, 64])
    step: int = number(3, "frames between the frame and its flow's other end", 1)
    normalise: str = option(
        "scene",
        "flow in units of: the box's diagonal, the usual speed where the box stands, or 20 pixels",
        enum=["box", "scene", "pixels"],
    )
    appearance: str = option("gray", "colour of the appearance crops", enum=["gray", "colour"])
    motion: str = option(
        "dis",
        "dense flow by DIS, Farneback or RAFT (resources/weights/raft_small*.pth), or image gradients",
        enum=["dis", "farneback", "raft", "gradient"],
    )
    context: float = number(0.0, "share of the box's sides that a crop adds on each side", 0, 2)
    aspect: str = option("stretch", "crops stretch the box to a square, or keep its shape", enum=["stretch", "keep"])
    border: str = option(
        "clamp", "windows at a clip's ends: moved inside, or end frames repeated", enum=["clamp", "repeat"]
    )
    max_objects: int = number(60000, "training objects held in memory; more are thinned out evenly", 1)
    batch: int = number(64, "objects a step", 2)
    autoencoder_epochs: int = number(20, "at most", 1)
    adversarial_epochs: int = number(8, "epochs with reversed gradients; 0 leaves them out", 0)
    classifier_epochs: int = number(15, "at most", 1)
    autoencoder_rate: float = number(1e-3, "learning rate of the auto-encoders")
    adversarial_rate: float = number(1e-4, "learning rate of the adversarial phase")
    classifier_rate: float = number(1e-4, "learning rate of the classifiers")
    adversarial: str = option(
        "reversal", "reversed gradients through a second decoder, or bounded ascent", enum=["reversal", "ascent"]
    )
    reversal: float = number(0.2, "weight of the reversed gradient or of the ascent (lambda)")
    motion_anomalies: tuple[str, ...] = option(
        ("longer_gap", "affine"),
        "kinds of pseudo-anomalies of motion",
        minItems=1,
        uniqueItems=True,
        items={"enum": list(MOTION_ANOMALIES)},
    )
    image_pool: str = option("", "folder of images for pseudo-anomalies of appearance; empty: procedural ones")
    patience: int = number(3, "epochs without a better held-out loss before a phase stops", 1)
    seed: int = number(0, "initial weights, order, pseudo-anomalies")

    @property
    def network(self) -> str:
        """The pre-trained network that it needs; empty for none."""
        return "raft_small" if self.motion == "raft" else ""


@dataclass(frozen=True)
class MultiTask:
    """Teacher: self-supervised multi-task learning on object sequences (arXiv 2011.07491)."""

    crop: int = option(64, "side of the crops in pixels", enum=[32, 64])
    width: str = option("wide", "channels of the shared 3D CNN", enum=["narrow", "wide"])
    depth: str = option("deep", "one, two or three convolutions a stage", enum=["shallow", "deep", "deeper"])
    context: float = number(0.0, "share of the box's sides that a crop adds on each side", 0, 2)
    aspect: str = option("stretch", "crops stretch the box to a square, or keep its shape", enum=["stretch", "keep"])
    border: str = option(
        "clamp", "windows at a clip's ends: moved inside, or end frames repeated", enum=["clamp", "repeat"]
    )
    tasks: tuple[str, ...] = option(
        TASKS, "what is learned and scored", minItems=1, uniqueItems=True, items={"enum": list(TASKS)}
    )
    imagenet: bool = option(True, "distil ResNet-50, too, where its ImageNet weights are at hand")
    max_objects: int = number(20000, "training objects held in memory, drawn anew every epoch", 1)
    batch: int = number(64, "objects a step", 2)
    epochs: int = number(30, "at most", 1)
    learning_rate: float = number(1e-3, "Adam")
    schedule: str = option(
        "constant", "of the learning rate; cosine falls with every epoch", enum=["constant", "cosine"]
    )
    distillation_weight: float = number(0.2, "weight of the distillation loss in the joint loss")
    max_skip: int = number(4, "irregular sequences skip 1 to this many frames a step", 1)
    flip: bool = option(True, "mirror half of the training objects")
    jitter: float = number(0.0, "random change of brightness and contrast of training objects", 0, 1)
    patience: int = number(4, "epochs without a better held-out loss before training stops", 1)
    seed: int = number(0, "initial weights, order, sequences")

    @property
    def network(self) -> str:
        """The pre-trained network that it learns from where its weights are at hand; empty for none."""
        return "resnet50" if self.imagenet and "distillation" in self.tasks else ""


@dataclass(frozen=True)
class FlowNeighbours:
    """Teacher without training: nearest normal neighbours of an object's motion and size."""

    crop: int = option(32, "side of the crops in pixels", enum=[32, 64])
    step: int = number(3, "frames between the frame and its flow's other end", 1)
    bins: int = number(8, "directions of the flow histogram", 2)
    size_weight: float = number(1.0, "weight of the box's size against its motion")
    neighbours: int = number(5, "nearest neighbours whose distances are averaged", 1)
    border: str = option(
        "clamp", "windows at a clip's ends: moved inside, or end frames repeated", enum=["clamp", "repeat"]
    )
    max_objects: int = number(20000, "normal objects kept; more are thinned out evenly", 1)
    seed: int = number(0, "which objects are kept")

    @property
    def network(self) -> str:
        """The pre-trained network that it wants: none."""
        return ""


@dataclass(frozen=True)
class Calibration:
    """From the terms of a teacher to object scores and map values, fitted on training clips."""

    clips: str = option("held_out", "training clips it is fitted on", enum=["held_out", "all"])
    terms: tuple[str, ...] = option(
        (), "the terms that count, as teacher.term; a teacher that is not named counts its own choice", uniqueItems=True
    )
    logits: bool = option(True, "terms that are probabilities enter as logits")
    standardise: str = option(
        "scene",
        "terms in standard deviations: of all objects, or of those at this place",
        enum=["none", "all", "scene"],
    )
    squash: bool = option(
        True, "scores pass through tanh, from 0 at their median to tanh(1) at their 99.9th percentile"
    )
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
    frames: int = option(3, "input frames, the judged one in the middle", enum=[1, 3, 5, 7])
    frame_step: int = number(3, "frames between the input frames", 1)
    stem: str = option(
        "full", "the first convolution keeps the full size, halves or quarters it", enum=["full", "half", "quarter"]
    )
    positions: bool = option(False, "tell the network the row and column of every pixel")
    base_width: int = number(16, "channels after the first convolution", 1)
    downsamplings: int = number(4, "strided convolutions", 1, 6)
    depth: int = number(5, "transformer blocks", 1)
    heads: int = number(5, "attention heads", 1)
    head_width: int = number(64, "channels of an attention head", 1)
    feed_forward: int = number(4, "expansion of the feed-forward", 1)
    last_activation: str = option("softplus", "of the map heads; relu can die", enum=["softplus", "relu"])
    pooling: str = option("max", "from features to a map's cells: the maximum or a smooth one", enum=["max", "soft"])


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
    precision: str = option(
        "auto", "bfloat16 where the hardware computes in it, or float32 everywhere", enum=["auto", "float32"]
    )
    seed: int = number(0, "initial weights and order")


@dataclass(frozen=True)
class Distillation:
    """From the teachers' maps to the student."""

    teachers: tuple[str, ...] = option(
        ("background_agnostic", "multi_task"), "names of teachers", minItems=1, uniqueItems=True
    )
    synthetic: bool = option(True, "learn from the split synthetic, too, with the teachers' maps as targets")
    pretrained: bool = option(True, "start from the pre-trained weights")
    epochs: int = number(35, "passes over the training frames", 1)
    batch: int = number(48, "frames a step", 1)
    learning_rate: float = number(1e-4, "Adam, student and discriminators")
    weight_decay: float = number(5e-6, "Adam")
    schedule: str = option("step", "of the student's learning rate; cosine rises, then falls", enum=["step", "cosine"])
    decay_every: int = number(10, "epochs after which the student's learning rate falls, with schedule step", 1)
    decay: float = number(0.5, "factor of the learning rate, with schedule step", 0, 1)
    object_weight: float = number(0.0, "cells with an object weigh 1 + this in the distillation loss")
    feature_weight: float = number(0.0, "of the loss between features, the student's and the teachers'; 0: none")
    adversarial_weight: float = number(0.1, "lambda of the adversarial loss; 0 trains no discriminator")
    adversarial: str = option(
        "cross_entropy", "form of the adversarial loss", enum=["cross_entropy", "hinge", "least_squares"]
    )
    discriminator: str = option(
        "plain", "it sees the maps alone, or the frames' means beside them", enum=["plain", "conditional"]
    )
    flip: bool = option(False, "mirror half of the samples")
    reverse: bool = option(False, "reverse the frames of half of the samples in time")
    jitter: float = number(
        0.0, "largest change of a sample's contrast, as a share, and of its brightness, in 128 grey levels", 0, 1
    )
    average: float = number(0.999, "decay of a moving average of the weights, which is kept; 0: none", 0, 1)
    selection: str = option(
        "last",
        "the student that is kept: of the last epoch, or the best one on the split validation",
        enum=["last", "validation"],
    )
    frame_stride: int = number(1, "train on every n-th frame, another phase every epoch", 1)
    precision: str = option(
        "auto", "bfloat16 where the hardware computes in it, or float32 everywhere", enum=["auto", "float32"]
    )
    seed: int = number(0, "initial weights and order")


@dataclass(frozen=True)
class Evaluation:
    """From frame scores to AUC."""

    filter_size: int = number(9, "side of the teachers' mean filter over frames, rows and columns of cells", 1)
    filter_cell: int = number(16, "side of its cells in pixels", 1)
    smoothing_sigma: float = number(21.0, "Gaussian over time, in frames; 0 leaves the scores as they are")


@dataclass(frozen=True)
class Localisation:
    """RBDC, TBDC and the AUC of all pixels."""

    tracks: str = option(
        "", "folder of <clip>.txt with tracks of abnormal regions; empty: they follow from pixel masks"
    )
    map_share: float = number(
        0.6, "of the 99th percentile of training maps' maxima: the student's regions lie above it"
    )
    filter_cell: int = number(4, "side of the cells of the teachers' mean filter in pixels", 1)
    filter_cells: int = number(3, "rows and columns of cells that it averages; 1: none", 1)
    filter_frames: int = number(1, "frames that it averages; 1: none", 1)


@dataclass(frozen=True)
class Ablation:
    """The student with one thing changed at a time (rule compare_ablation)."""

    seeds: tuple[int, ...] = option(
        (0, 1, 2), "seeds of the distillation", minItems=1, uniqueItems=True, items={"minimum": 0}
    )
    epochs: int = number(0, "of pre-training and distillation; 0: as configured")


SECTIONS: dict[str, type] = {
    "demo": Demo,
    "frames": Frames,
    "detection": Detection,
    "objects": Objects,
    "moving": Moving,
    "held_out": HeldOut,
    "validation": Validation,
    "synthetic": Synthetic,
    "background_agnostic": BackgroundAgnostic,
    "multi_task": MultiTask,
    "flow_neighbours": FlowNeighbours,
    "calibration": Calibration,
    "maps": Maps,
    "student": Student,
    "pretraining": Pretraining,
    "distillation": Distillation,
    "evaluation": Evaluation,
    "localisation": Localisation,
    "ablation": Ablation,
}
# What each teacher measures of an object; multi_task only what it has learned.
TERMS = {
    "background_agnostic": ("appearance", "past", "future", "appearance_error", "past_error", "future_error"),
    "multi_task": TASKS,
    "flow_neighbours": ("distance",),
}
TEACHERS = tuple(TERMS)
# The environment variable that names the hashes of trusted weights to the stages, with commas between them: as a param
# of its rule, a longer list would have everything detected anew.
TRUSTED_WEIGHTS = "VADISTILL_TRUSTED_WEIGHTS"
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


def section(name: str, values: dict[str, Any]) -> Any:
    """Return the typed section ``name`` with ``values`` over its defaults."""
    kind = SECTIONS[name]
    hints = typing.get_type_hints(kind)
    return kind(**{key: _typed(hints[key], value) for key, value in values.items()})


def _typed(kind: Any, value: Any) -> Any:
    """Return the value in its field's type, so that 20 and 20.0 are one setting."""
    if isinstance(value, list | tuple):
        return tuple(_typed(typing.get_args(kind)[0], one) for one in value)
    return kind(value) if kind in (int, float) else value


def told(settings: Any) -> dict[str, Any]:
    """Return the values of a section that its stages are told; see ``later``."""
    entries = [entry for entry in fields(settings) if "later" not in entry.metadata]
    changed = [entry for entry in fields(settings) if getattr(settings, entry.name) != entry.default]
    names = {entry.name for entry in (*entries, *changed)}
    return {name: value for name, value in asdict(settings).items() if name in names}


def canonical(content: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal for equal settings, whatever their order."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
