"""The four proxy tasks of the teacher ``multi_task``: what each sees of an object, its loss and its term.

All start from features of the shared network, and each is the head that reads them (arXiv 2011.07491). Which features
is said by views: the object's sequence of crops ``forward``, ``backward`` or ``intermittent``, or the six ``others``
around its middle crop.
"""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vadistill.settings import MultiTaskConfig
from vadistill.teachers.base import Batch

MIDDLE = 3
IMAGENET = 1000  # classes


class Task(nn.Sequential, ABC):
    """A task is its head: layers from features (N, D, S/8, S/8) to outputs.

    Attributes:
        name: In the settings, the terms and the state.
        views: What it learns from; what it measures, it measures on the first.
        probability: Whether that is a probability.
        weight: Of its loss in the joint loss.
    """

    name: ClassVar[str]
    views: ClassVar[tuple[str, ...]]
    probability: ClassVar[bool] = False
    weight: float = 1.0

    def __init__(self, settings: MultiTaskConfig, features: int, classes: int) -> None:
        """Make the head for ``features`` = D channels and a detector of ``classes`` classes."""
        super().__init__(*self._layers(settings, features, classes))

    @staticmethod
    @abstractmethod
    def _layers(settings: MultiTaskConfig, features: int, classes: int) -> list[nn.Module]: ...

    @abstractmethod
    def loss(self, seen: list[Tensor], colour: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and what else is to be logged.

        Args:
            seen: The features of each of ``views``. Forward ones are of the first half of the objects, backward and
                intermittent ones of the last, which shares the middle object where the number is odd.
            colour: The sequences (N, 3, 7, S, S) that they were made from, RGB in [0, 1].
            batch: The objects as they are; with ``imagenet`` (N, 1000), what ResNet-50 says, where it is distilled.
        """

    @abstractmethod
    def measure(self, features: Tensor, colour: Tensor, batch: Batch) -> Tensor:
        """Return the term (N,) of objects, given the features of the first view."""


class _TwoClasses(Task):
    """Tells usual sequences from unusual ones, which are seen equally often."""

    probability = True

    @staticmethod
    def _layers(settings: MultiTaskConfig, features: int, classes: int) -> list[nn.Module]:
        return _flat_head(settings, features, 2)

    def loss(self, seen: list[Tensor], colour: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross-entropy (L1 and L2) and the accuracy."""
        logits = self(torch.cat(seen))
        labels = torch.arange(2, device=logits.device).repeat_interleave(len(seen[0]))
        accuracy = (logits.argmax(1) == labels).float().mean()
        return F.cross_entropy(logits, labels), {f"{self.name}_accuracy": accuracy}

    def measure(self, features: Tensor, colour: Tensor, batch: Batch) -> Tensor:
        """Return the probability (N,) of the unusual class."""
        return self(features).softmax(1)[:, 1]


class Arrow(_TwoClasses):
    """Tells sequences that run backward from those that run forward."""

    name = "arrow"
    views = ("forward", "backward")


class Irregularity(_TwoClasses):
    """Tells sequences with frames left out from whole ones."""

    name = "irregularity"
    views = ("forward", "intermittent")


class MiddleBox(Task):
    """Draws the middle crop from the ones around it."""

    name = "middle_box"
    views = ("others",)

    @staticmethod
    def _layers(settings: MultiTaskConfig, features: int, classes: int) -> list[nn.Module]:
        widths = (features, features, features // 2, 16)
        stages = [
            nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1), nn.ReLU())
            for before, after in pairwise(widths)
        ]
        return [*stages, nn.Conv2d(widths[-1], 3, 3, padding=1)]

    def loss(self, seen: list[Tensor], colour: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean absolute error of the middle crop (L3)."""
        (others,) = seen
        return F.l1_loss(self(others), colour[:, :, MIDDLE]), {}

    def measure(self, features: Tensor, colour: Tensor, batch: Batch) -> Tensor:
        """Return the mean absolute error (N,) of the middle crop."""
        return (colour[:, :, MIDDLE] - self(features)).abs().mean((1, 2, 3))


class Distillation(Task):
    """Predicts the class scores of the detector and the outputs of ResNet-50."""

    name = "distillation"
    views = ("forward", "backward")

    def __init__(self, settings: MultiTaskConfig, features: int, classes: int) -> None:
        super().__init__(settings, features, classes)
        self.classes, self.weight = classes, settings.distillation_weight

    @staticmethod
    def _layers(settings: MultiTaskConfig, features: int, classes: int) -> list[nn.Module]:
        return _flat_head(settings, features, classes + IMAGENET * settings.imagenet)

    def loss(self, seen: list[Tensor], colour: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return L4 and its parts: the mean absolute errors of class scores and of ResNet-50's outputs.

        Targets are those of the objects as they are, not mirrored nor changed in brightness.
        """
        made, half = self(torch.cat(seen)), len(seen[0])

        def error(made: Tensor, target: Tensor) -> Tensor:
            return F.l1_loss(made, torch.cat([target[:half], target[-half:]]))

        parts = {"classes": error(made[:, : self.classes], batch["probabilities"])}
        if "imagenet" in batch:
            parts["imagenet"] = error(made[:, self.classes :], batch["imagenet"])
        return torch.stack(list(parts.values())).sum(), parts

    def measure(self, features: Tensor, colour: Tensor, batch: Batch) -> Tensor:
        """Return the mean absolute error (N,) of the class scores; ResNet-50 is not asked."""
        return (self(features)[:, : self.classes] - batch["probabilities"]).abs().mean(1)


PROXY_TASKS: tuple[type[Task], ...] = (Arrow, Irregularity, MiddleBox, Distillation)
"""In the order of the terms, in which their initial weights are drawn."""


def _flat_head(settings: MultiTaskConfig, features: int, outputs: int) -> list[nn.Module]:
    cells = settings.crop // 16  # along a side: the shared network leaves an eighth, the pooling half of that
    return [
        nn.Conv2d(features, features, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(features * cells**2, outputs),
    ]


def without_middle(sequences: Tensor) -> Tensor:
    """Return the six crops (N, 3, 6, S, S) around the middle one of sequences (N, 3, 7, S, S)."""
    return torch.cat([sequences[:, :, :MIDDLE], sequences[:, :, MIDDLE + 1 :]], dim=2)
