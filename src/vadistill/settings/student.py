"""Settings of the student: its layout, pre-training and distillation."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from vadistill.settings.data import AnomalyKind
from vadistill.settings.fields import later, number, option


@dataclass(frozen=True)
class StudentConfig:
    """The frame-level network (arXiv 2211.15597); the defaults are the official layout."""

    model: ClassVar[str] = "student.pt"
    calibrated_maps: ClassVar[bool] = True

    height: int = number(360, "input in pixels", 32)
    width: int = number(640, "input in pixels", 32)
    frames: Literal[1, 3, 5, 7] = option(3, "input frames, the judged one in the middle")
    frame_step: int = number(3, "frames between the input frames", 1)
    stem: Literal["full", "half", "quarter"] = option(
        "full", "the first convolution keeps the full size, halves or quarters it"
    )
    positions: bool = option(False, "tell the network the row and column of every pixel")
    flow: Literal["none", "ultrafast", "fast", "medium"] = option(
        "none", "preset of the DIS flow between the window's frames that the network gets beside them"
    )
    base_width: int = number(16, "channels after the first convolution", 1)
    downsamplings: int = number(4, "strided convolutions", 1, 6)
    depth: int = number(5, "transformer blocks", 1)
    heads: int = number(5, "attention heads", 1)
    head_width: int = number(64, "channels of an attention head", 1)
    feed_forward: int = number(4, "expansion of the feed-forward", 1)
    last_activation: Literal["softplus", "relu"] = option("softplus", "of the map heads; relu can die")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its input in pixels."""
        return self.height, self.width

    @property
    def offsets(self) -> tuple[int, ...]:
        """Distances of its input frames from the judged one: (-3, 0, 3) for three frames, three apart."""
        return tuple(self.frame_step * i for i in range(-(self.frames // 2), self.frames // 2 + 1))


@dataclass(frozen=True)
class PretrainingConfig:
    """The student as an auto-encoder of its middle frame."""

    epochs: int = number(35, "passes over the training frames", 1)
    batch: int = number(48, "frames a step", 1)
    learning_rate: float = number(1e-3, "Adam")
    weight_decay: float = number(5e-6, "Adam")
    decay_every: int = number(10, "epochs after which the learning rate falls", 1)
    decay: float = number(0.5, "factor of the learning rate", 0, 1)
    frame_stride: int = number(1, "train on every n-th frame, another phase every epoch", 1)
    frame_run: int = later(
        1, "neighbouring frames drawn together, each image of them decoded once; 1: single frames", minimum=1
    )
    precision: Literal["auto", "float32"] = option(
        "auto", "bfloat16 where the hardware computes in it, or float32 everywhere"
    )
    seed: int = number(0, "initial weights and order")


@dataclass(frozen=True)
class DistillationConfig:
    """From the teachers' maps to the student."""

    teachers: tuple[str, ...] = option(
        ("background_agnostic", "multi_task"), "names of teachers", minItems=1, uniqueItems=True
    )
    synthetic: bool = option(True, "learn from the split synthetic, too, with the teachers' maps as targets")
    unseen_kinds: tuple[AnomalyKind, ...] = later(
        (), "kinds of synthetic anomalies that it neither learns from nor is selected by", uniqueItems=True
    )
    pretrained: bool = option(True, "start from the pre-trained weights")
    epochs: int = number(35, "passes over the training frames", 1)
    batch: int = number(48, "frames a step", 1)
    learning_rate: float = number(1e-4, "Adam, student and discriminators")
    weight_decay: float = number(5e-6, "Adam")
    schedule: Literal["step", "cosine"] = option("step", "of the student's learning rate; cosine rises, then falls")
    decay_every: int = number(10, "epochs after which the student's learning rate falls, with schedule step", 1)
    decay: float = number(0.5, "factor of the learning rate, with schedule step", 0, 1)
    object_weight: float = number(0.0, "cells with an object weigh 1 + this in the distillation loss")
    adversarial_weight: float = number(0.1, "lambda of the adversarial loss; 0 trains no discriminator")
    average: float = number(0.999, "decay of a moving average of the weights, which is kept; 0: none", 0, 1)
    selection: Literal["last", "validation"] = option(
        "last",
        "the student that is kept: of the last epoch, or the best one on the split validation",
    )
    frame_stride: int = number(1, "train on every n-th frame, another phase every epoch", 1)
    frame_run: int = later(
        1, "neighbouring frames drawn together, each image of them decoded once; 1: single frames", minimum=1
    )
    precision: Literal["auto", "float32"] = option(
        "auto", "bfloat16 where the hardware computes in it, or float32 everywhere"
    )
    seed: int = number(0, "initial weights and order")


@dataclass(frozen=True)
class SurpriseConfig:
    """What is unusual on one camera in the student's own features and flow, beside what it learned of its teachers."""

    weight: float = number(0.5, "of features that are unusual at their place, beside the maps that it learned; 0: none")
    motion_weight: float = number(
        1.0, "of motion that is unusual in its row, likewise, where the student gets flow (student.flow); 0: none"
    )

    def weights(self, network: StudentConfig) -> dict[str, float]:
        """Return the weights of what there is of ``features`` and ``motion``; empty: the maps alone."""
        asked = {"features": self.weight, "motion": self.motion_weight if network.flow != "none" else 0.0}
        return {part: weight for part, weight in asked.items() if weight}
