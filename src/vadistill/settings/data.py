"""Settings of what is watched: the data set, its frames, detections and objects, and synthetic anomalies."""

from dataclasses import dataclass
from typing import Literal, get_args

from vadistill.settings.fields import interval, later, number, option, path

AnomalyKind = Literal[
    "pasted",
    "misplaced",
    "fast",
    "backward",
    "hurried",
    "halting",
    "turning",
    "cycling",
    "driving",
    "oversized",
    "several",
    "occluded",
]
ANOMALY_KINDS: tuple[AnomalyKind, ...] = get_args(AnomalyKind)
LEARNED_KINDS = ANOMALY_KINDS[:4]
# Together they rank detectors better than those above (docs/experiments/2026-11/judge.md).
JUDGING_KINDS: tuple[AnomalyKind, ...] = ("pasted", "cycling", "driving")
LEAST_FRAMES = 12  # of a training clip; a shorter one is left out
# Of data sets, each with the module of vadistill.datasets.layouts that reads it.
LAYOUTS = {
    "avenue": "avenue",
    "shanghaitech": "shanghaitech",
    "ucsd_ped1": "ucsd",
    "ucsd_ped2": "ucsd",
    "ubnormal": "ubnormal",
    "folder": "folder",
    "demo": "folder",
}
# The environment variable that names the hashes of trusted weights to the stages, with commas between them: as a param
# of its rule, a longer list would have everything detected anew.
TRUSTED_WEIGHTS = "VADISTILL_TRUSTED_WEIGHTS"
# The one that tells them the setting gpus, for the same reason: a training on more GPUs is no other training.
GPUS = "VADISTILL_GPUS"
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


@dataclass(frozen=True)
class DemoConfig:
    """The generated data set (layout ``demo``)."""

    seed: int = number(7, "everything is drawn from it")
    train_clips: int = number(10, "normal clips", 1)
    test_clips: int = number(8, "clips with anomalies", 1)
    frames: int = number(150, "frames a clip", LEAST_FRAMES)
    height: int = number(180, "pixels", 64)
    width: int = number(320, "pixels", 64)
    scenes: int = later(1, "places that take turns; with more than one, clips are named scene_2_train_08", minimum=1)


@dataclass(frozen=True)
class FramesConfig:
    """How extracted frames are stored."""

    encoding: Literal["jpeg", "png"] = option("jpeg", "jpeg (JPEG source frames are kept byte for byte) or png")
    quality: int = number(95, "JPEG quality", 1, 100)
    depth: Literal["full", "percentiles"] = later(
        "full",
        "what of images of more than 8 bits becomes 8: the full range of 16 bits, or percentiles 0.1 to 99.9 of the "
        "training images",
    )


@dataclass(frozen=True)
class DetectionConfig:
    """The object detector. Thresholds that the teachers use stand in ``objects``."""

    weights: str = path(
        "yolov8n.pt", "a file or OpenVINO folder in resources/weights or of an absolute path, or an official name"
    )
    image_size: int = number(640, "longer side of the detector's input in pixels", 32)
    confidence: float = number(0.05, "boxes below it are not stored", 0, 1)
    iou: float = number(0.6, "non-maximum suppression: boxes of one class that overlap more are merged", 0, 1)
    max_objects: int = number(300, "boxes kept a frame", 1)
    batch: int = number(8, "frames a batch", 1)
    frame_stride: int = later(1, "look at every n-th frame and the last; boxes between are interpolated", minimum=1)


@dataclass(frozen=True)
class ObjectsConfig:
    """Which stored boxes count as objects; changing it does not rerun the detector."""

    confidence: float = number(0.25, "least confidence", 0, 1)
    min_side: float = number(10.0, "drop boxes whose longer side is shorter, in pixels")
    max_overlap: float = number(0.9, "of two boxes with a larger IoU the less confident is dropped", 0, 1)
    drop_contained: bool = option(True, "drop boxes that lie strictly inside another")
    moving: bool = option(False, "moving regions that no box covers are objects, too")
    scene: str = option("", "regular expression whose first group names a clip's scene; empty: one scene")


@dataclass(frozen=True)
class MovingConfig:
    """Regions that move, for objects that the detector does not know."""

    step: int = number(3, "frames over which motion is measured", 1)
    speed: float = number(1.0, "least motion over these frames in pixels", 0.1)
    min_side: float = number(12.0, "drop regions whose longer side is shorter, in pixels")
    max_share: float = number(0.15, "drop regions that cover a larger share of the frame", 0, 1)


@dataclass(frozen=True)
class MotionConfig:
    """Dense flow (DIS) by cells of the frame, for what needs motion and no objects."""

    step: int = number(3, "frames between a frame and the earlier and the later one that flow leads to", 1)
    preset: Literal["ultrafast", "fast", "medium"] = option("medium", "of DIS: faster or more exact")
    rows: int = number(20, "of cells", 1)
    columns: int = number(30, "of cells", 1)
    height: int = number(0, "pixels of the frames that flow is measured on; 0: as they are stored", 0)


@dataclass(frozen=True)
class HeldOutConfig:
    """The training clips that no teacher is fitted on: they stop the training early and make the validation split."""

    share: float = number(0.15, "of the training clips, at least one; of a single clip its last part", 0, 0.5)


@dataclass(frozen=True)
class ValidationConfig:
    """Synthetic anomalies in held-out training clips: the split by which settings are chosen."""

    clips: int = number(6, "held-out clips used at most, each once for every kind", 1)
    frames: int = number(240, "frames of a clip at most", 24)
    kinds: tuple[AnomalyKind, ...] = option(JUDGING_KINDS, "of anomalies", minItems=1, uniqueItems=True)
    share: float = number(0.4, "of a made clip that is abnormal", 0.1, 0.9)
    pace: tuple[float, ...] = interval((3.0, 3.0), "speed of what is played fast or hurries, from .. to", 1.0)
    haste: tuple[float, ...] = interval(
        (2.0, 4.0), "speed of what is pasted or drawn, times the usual one, from .. to", 0.1
    )
    seed: int = number(0, "what is pasted where and when")


@dataclass(frozen=True)
class SyntheticConfig(ValidationConfig):
    """Synthetic anomalies in the other training clips, which the student may learn from (distillation.synthetic)."""

    clips: int = number(1000, "training clips used at most, each once for every kind", 1)
    frames: int = number(100, "frames of a clip at most", 24)
    kinds: tuple[AnomalyKind, ...] = option(LEARNED_KINDS, "of anomalies", minItems=1, uniqueItems=True)
    share: float = number(0.8, "of a made clip that is abnormal", 0.1, 1)
    pace: tuple[float, ...] = interval((1.25, 4.0), "speed of what is played fast or hurries, from .. to", 1.0)
    haste: tuple[float, ...] = interval(
        (1.0, 4.0), "speed of what is pasted or drawn, times the usual one, from .. to", 0.1
    )
    seed: int = number(1, "what is pasted where and when")
