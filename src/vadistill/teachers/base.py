"""The interface that every teacher implements: Teacher, and the Batch and Phase that it uses."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vadistill.teachers.crops import CropRequest
from vadistill.training.parallel import Draws

Batch = dict[str, Tensor]
"""Objects, first axis N: the crops of a ``CropRequest``, and of each object its

- ``box`` (N, 4) float32, xyxy pixels of the stored frame,
- ``size`` (N, 2) float32, height and width of the frame in pixels,
- ``scene`` (N,) int64, its scene among the teacher's; their number where the scene is none of them,
- ``confidence`` (N,) and ``probabilities`` (N, C) float32, of the detector.
"""

PIXELS_AT_ONCE = 8 * 64 * 64
"""Of crops that a processor measures at once: what a network keeps of more would not stay in its cache."""

Loss = Callable[[Batch, Draws], dict[str, Tensor]]


@dataclass
class Phase:
    """One phase of a teacher's training.

    Attributes:
        name: For logs and the training state.
        epochs: At most so many.
        optimiser: Holds the parameters that the phase changes.
        train: Modules in training mode; all others are in evaluation mode.
        loss: Training loss of a batch, or of a process's share of it; ``loss`` is minimised, other entries are logged.
            Draws from the CPU generator only, so that equal states of it give equal losses.
        held_out_loss: The same of held-out objects, to be called without gradients in evaluation mode, each epoch
            with an equally seeded generator.
        early_stop: Whether the lowest held-out loss chooses the epoch; otherwise the phase keeps its last weights.
        start: Called once before the first epoch, not when training resumes within the phase.
        rate: The learning rate of an epoch, counted from 0; None: the optimiser's own throughout.
    """

    name: str
    epochs: int
    optimiser: torch.optim.Optimizer
    train: list[nn.Module]
    loss: Loss
    held_out_loss: Loss
    early_stop: bool = True
    start: Callable[[], None] = lambda: None
    rate: Callable[[int], float] | None = None


class Teacher(nn.Module, ABC):
    """Base class of all teachers: a model that measures how abnormal single objects are.

    Attributes:
        name: Name in config.yaml and in the registry.
        redraw: Whether training objects and their irregular sequences are drawn anew every epoch.
        terms: Names of the K terms that it measures.
        score_terms: Those of them whose mean is the object's score, unless ``calibration.terms`` chooses others.
        probabilities: Those of them that are probabilities.
    """

    name: ClassVar[str]
    redraw: ClassVar[bool] = False
    terms: tuple[str, ...]
    score_terms: tuple[str, ...]
    probabilities: tuple[str, ...] = ()

    @abstractmethod
    def __init__(self, settings: Any, classes: int, scenes: int = 1) -> None:
        """Make the networks for a detector of ``classes`` classes and objects of ``scenes`` scenes."""
        super().__init__()

    @abstractmethod
    def training_crops(self) -> CropRequest:
        """Return what the losses need of each object."""

    @abstractmethod
    def scoring_crops(self) -> CropRequest:
        """Return what the terms need of each object."""

    def load_network(self, path: Path | None) -> None:
        """Take the pre-trained network that the settings name (``network``) from a file, before ``prepare``.

        A teacher that wants none has nothing to take.

        Args:
            path: The file of its weights; None: none was found.

        Raises:
            InputError: The file does not hold it, or there is no file and the teacher cannot do without.
        """

    def prepare(self, objects: Batch) -> None:
        """Fit tables on the training objects; called in every process that trains, before a state is loaded."""

    def phases(self) -> list[Phase]:
        """Return the phases of training in their order, with new optimisers; none for a teacher without training."""
        return []

    def unseen_place(self, batch: Batch) -> Tensor:
        """Return True (N,) for objects at places without training objects; statistics of another place are used."""
        return torch.zeros(len(batch["box"]), dtype=torch.bool)

    @abstractmethod
    def measure(self, batch: Batch) -> Tensor:
        """Return the terms (N, K) of a batch; ``score`` calls it without gradients in evaluation mode."""

    @torch.no_grad()
    def score(self, batch: Batch) -> Tensor:
        """Return the terms (N, K) of the objects; leaves the teacher in evaluation mode.

        On a processor the batch is measured in pieces (``PIXELS_AT_ONCE``), on a GPU as a whole. An object's terms do
        not depend on the others of its piece but by the rounding of float32.
        """
        self.eval()
        pieces = [batch] if batch["box"].is_cuda else _pieces(batch, self.scoring_crops().side)
        return torch.cat([self.measure(piece) for piece in pieces])


def _pieces(batch: Batch, side: int) -> list[Batch]:
    """Return the objects (N, ...) with crops of a side in pixels, in their order, in pieces for a processor's cache."""
    count = max(1, PIXELS_AT_ONCE // side**2)
    pieces = zip(*(values.split(count) for values in batch.values()), strict=True)
    return [dict(zip(batch, piece, strict=True)) for piece in pieces]
