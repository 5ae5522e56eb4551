"""Settings of the teachers, of the calibration of their scores and of the maps; the terms that each one measures."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, get_args

from vadistill.settings.fields import number, option, path

Task = Literal["arrow", "irregularity", "middle_box", "distillation"]
TASKS: tuple[Task, ...] = get_args(Task)
MotionAnomaly = Literal["longer_gap", "affine", "rotated", "shuffled"]
Judged = Literal["boxes", "cells"]


class TeacherSettings(Protocol):
    """The settings of a teacher: a dataclass.

    Attributes:
        terms: What it measures of an object.
        of: What its objects are: boxes of the detector, or moving cells of the frame.
    """

    terms: ClassVar[tuple[str, ...]]
    of: ClassVar[Judged]

    @property
    def network(self) -> str:
        """The pre-trained network that it wants; empty for none."""

    @property
    def flow(self) -> tuple[int, int, str] | None:
        """How it wants DIS flow cut to the boxes: crop, step and border; None: it wants none, or cut otherwise."""


@dataclass(frozen=True)
class ObjectFlowConfig:
    """Dense flow (DIS) cut to the objects' boxes, measured once for all teachers that cut it so."""

    kept: bool = option(
        False,
        "whether it is kept, 8 KB an object with crops of 32 pixels, 32 KB with 64; else every teacher measures it "
        "itself, with the same results",
    )
    crop: Literal[32, 64] = option(32, "side of the crops in pixels")
    step: int = number(3, "frames between the frame and its flow's other end", 1)
    border: Literal["clamp", "repeat"] = option(
        "clamp", "windows at a clip's ends: moved inside, or end frames repeated"
    )

    @property
    def cut(self) -> tuple[int, int, str]:
        """How it is cut, as ``TeacherSettings.flow``."""
        return self.crop, self.step, self.border


@dataclass(frozen=True)
class BackgroundAgnosticConfig:
    """Teacher: auto-encoders, adversarial training on pseudo-anomalies, classifiers (arXiv 2008.12328)."""

    of: ClassVar[Judged] = "boxes"
    terms: ClassVar[tuple[str, ...]] = (
        "appearance",
        "past",
        "future",
        "appearance_error",
        "past_error",
        "future_error",
    )

    crop: Literal[32, 64] = option(64, "side of the crops in pixels")
    step: int = number(3, "frames between the frame and its flow's other end", 1)
    normalise: Literal["box", "scene", "pixels"] = option(
        "scene",
        "flow in units of: the box's diagonal, the usual speed where the box stands, or 20 pixels",
    )
    appearance: Literal["gray", "colour"] = option("gray", "colour of the appearance crops")
    motion: Literal["dis", "farneback", "raft", "gradient"] = option(
        "dis",
        "dense flow by DIS, Farneback or RAFT (resources/weights/raft_small*.pth), or image gradients",
    )
    context: float = number(0.0, "share of the box's sides that a crop adds on each side", 0, 2)
    aspect: Literal["stretch", "keep"] = option("stretch", "crops stretch the box to a square, or keep its shape")
    border: Literal["clamp", "repeat"] = option(
        "clamp", "windows at a clip's ends: moved inside, or end frames repeated"
    )
    max_objects: int = number(60000, "training objects held in memory; more are thinned out evenly", 1)
    batch: int = number(64, "objects a step", 2)
    autoencoder_epochs: int = number(20, "at most", 1)
    adversarial_epochs: int = number(8, "epochs with reversed gradients; 0 leaves them out", 0)
    classifier_epochs: int = number(15, "at most", 1)
    autoencoder_rate: float = number(1e-3, "learning rate of the auto-encoders")
    adversarial_rate: float = number(1e-4, "learning rate of the adversarial phase")
    classifier_rate: float = number(1e-4, "learning rate of the classifiers")
    adversarial: Literal["reversal", "ascent"] = option(
        "reversal", "reversed gradients through a second decoder, or bounded ascent"
    )
    reversal: float = number(0.2, "weight of the reversed gradient or of the ascent (lambda)")
    motion_anomalies: tuple[MotionAnomaly, ...] = option(
        ("longer_gap", "affine"), "kinds of pseudo-anomalies of motion", minItems=1, uniqueItems=True
    )
    image_pool: str = path("", "folder of images for pseudo-anomalies of appearance; empty: procedural ones")
    patience: int = number(3, "epochs without a better held-out loss before a phase stops", 1)
    seed: int = number(0, "initial weights, order, pseudo-anomalies")

    @property
    def network(self) -> str:
        """The pre-trained network that it needs; empty for none."""
        return "raft_small" if self.motion == "raft" else ""

    @property
    def flow(self) -> tuple[int, int, str] | None:
        """How it wants DIS flow cut to the boxes; None where it wants other flow, or more than the boxes."""
        plain = self.motion == "dis" and self.context == 0 and self.aspect == "stretch"
        return (self.crop, self.step, self.border) if plain else None


@dataclass(frozen=True)
class MultiTaskConfig:
    """Teacher: self-supervised multi-task learning on object sequences (arXiv 2011.07491)."""

    of: ClassVar[Judged] = "boxes"
    terms: ClassVar[tuple[str, ...]] = TASKS

    crop: Literal[32, 64] = option(64, "side of the crops in pixels")
    width: Literal["narrow", "wide"] = option("wide", "channels of the shared 3D CNN")
    depth: Literal["shallow", "deep", "deeper"] = option("deep", "one, two or three convolutions a stage")
    context: float = number(0.0, "share of the box's sides that a crop adds on each side", 0, 2)
    aspect: Literal["stretch", "keep"] = option("stretch", "crops stretch the box to a square, or keep its shape")
    border: Literal["clamp", "repeat"] = option(
        "clamp", "windows at a clip's ends: moved inside, or end frames repeated"
    )
    tasks: tuple[Task, ...] = option(TASKS, "what is learned and scored", minItems=1, uniqueItems=True)
    imagenet: bool = option(True, "distil ResNet-50, too, where its ImageNet weights are at hand")
    max_objects: int = number(20000, "training objects held in memory, drawn anew every epoch", 1)
    batch: int = number(64, "objects a step", 2)
    epochs: int = number(30, "at most", 1)
    learning_rate: float = number(1e-3, "Adam")
    schedule: Literal["constant", "cosine"] = option("constant", "of the learning rate; cosine falls with every epoch")
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

    @property
    def flow(self) -> None:
        """It wants none."""


@dataclass(frozen=True)
class FlowNeighboursConfig:
    """Teacher without training: nearest normal neighbours of an object's motion and size."""

    of: ClassVar[Judged] = "boxes"
    terms: ClassVar[tuple[str, ...]] = ("distance",)

    crop: Literal[32, 64] = option(32, "side of the crops in pixels")
    step: int = number(3, "frames between the frame and its flow's other end", 1)
    bins: int = number(8, "directions of the flow histogram", 2)
    size_weight: float = number(1.0, "weight of the box's size against its motion")
    neighbours: int = number(5, "nearest neighbours whose distances are averaged", 1)
    border: Literal["clamp", "repeat"] = option(
        "clamp", "windows at a clip's ends: moved inside, or end frames repeated"
    )
    max_objects: int = number(20000, "normal objects kept; more are thinned out evenly", 1)
    seed: int = number(0, "which objects are kept")

    @property
    def network(self) -> str:
        """The pre-trained network that it wants: none."""
        return ""

    @property
    def flow(self) -> tuple[int, int, str]:
        """How it wants DIS flow cut to the boxes."""
        return self.crop, self.step, self.border


@dataclass(frozen=True)
class FlowCellsConfig:
    """Teacher without boxes and training: nearest normal neighbours of the motion of a cell."""

    calibrated_maps: ClassVar[bool] = True
    of: ClassVar[Judged] = "cells"
    model: ClassVar[str] = "packed.pt"  # of the frame-level detector of this name
    terms: ClassVar[tuple[str, ...]] = ("distance",)

    neighbours: int = number(5, "nearest neighbours whose distances are averaged", 1)
    max_cells: int = number(12000, "moving cells of training clips kept; more are thinned out evenly", 1)

    @property
    def network(self) -> str:
        """The pre-trained network that it wants: none."""
        return ""

    @property
    def flow(self) -> None:
        """It wants none of boxes."""


# By name, in the order of all tables. The class <Name> in vadistill.teachers.<name> belongs to <Name>Config;
# ``terms`` is what it measures of an object (multi_task only what it has learned), ``network`` names the pre-trained
# network that it wants, and a setting ``image_pool`` is a folder of images that it learns from.
TEACHERS: dict[str, type[TeacherSettings]] = {
    "background_agnostic": BackgroundAgnosticConfig,
    "multi_task": MultiTaskConfig,
    "flow_neighbours": FlowNeighboursConfig,
    "flow_cells": FlowCellsConfig,
}


def teachers_of(judged: Judged) -> list[str]:
    """Return the names of the teachers whose objects are boxes, or cells."""
    return [name for name, settings in TEACHERS.items() if settings.of == judged]


@dataclass(frozen=True)
class CalibrationConfig:
    """From the terms of a teacher to object scores and map values, fitted on training clips."""

    clips: Literal["held_out", "all"] = option("held_out", "training clips it is fitted on")
    terms: tuple[str, ...] = option(
        (), "the terms that count, as teacher.term; a teacher that is not named counts its own choice", uniqueItems=True
    )
    logits: bool = option(True, "terms that are probabilities enter as logits")
    standardise: Literal["none", "all", "scene"] = option(
        "scene",
        "terms in standard deviations: of all objects, or of those at this place",
    )
    squash: bool = option(
        True, "scores pass through tanh, from 0 at their median to tanh(1) at their 99.9th percentile"
    )
    low_percentile: float = number(0.5, "of the training scores", 0, 100)
    high_percentile: float = number(99.5, "of the training scores", 0, 100)
    low_value: float = number(0.05, "map value at the low percentile", 0, 1)
    high_value: float = number(0.6, "map value at the high percentile", 0, 1)


@dataclass(frozen=True)
class MapsConfig:
    """Anomaly maps, the student's targets."""

    resolutions: tuple[int, ...] = option(
        (1, 4, 16), "side of each square map in cells", minItems=1, uniqueItems=True, items={"minimum": 1}
    )
