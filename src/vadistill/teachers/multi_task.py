"""Self-supervised multi-task learning on sequences of object crops (arXiv 2011.07491).

A shared 3D CNN sees a box in frames t-3 .. t+3. Four heads tell whether time runs backward, whether frames were left
out, what the middle crop shows when it is withheld, and what the detector sees. Trained on normal objects only, their
errors score the object.
"""

import logging
import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vadistill.settings import TASKS
from vadistill.teachers.base import Batch, CropRequest, Phase, Teacher
from vadistill.teachers.pretrained.resnet50 import load_resnet50
from vadistill.teachers.pretrained.weights import missing_weights
from vadistill.training.device import autocast, in_layout

log = logging.getLogger(__name__)
OFFSETS = (-3, -2, -1, 0, 1, 2, 3)
MIDDLE = 3
CONVOLUTIONS = {"shallow": 1, "deep": 2, "deeper": 3}
PROBABILITIES = ("arrow", "irregularity")
VIEWS = {
    "arrow": ("forward", "backward"),
    "irregularity": ("forward", "intermittent"),
    "middle_box": (),
    "distillation": ("forward", "backward"),
}
IMAGENET = 1000  # classes
IMAGENET_SAMPLE, CHUNK = 2000, 64  # objects


class SharedNetwork(nn.Module):
    """3D CNN: three stages of convolutions, each halving height and width; then the mean over time."""

    def __init__(self, widths: tuple[int, ...], convolutions: int) -> None:
        super().__init__()
        layers, before = [], 3
        for width in widths:
            for _ in range(convolutions):
                # Batch normalisation has its own bias.
                layers += [nn.Conv3d(before, width, 3, padding=1, bias=False), nn.BatchNorm3d(width), nn.ReLU()]
                before = width
            layers.append(nn.MaxPool3d((1, 2, 2)))
        self.layers = nn.Sequential(*layers)

    def forward(self, sequences: Tensor) -> Tensor:
        """Return features (N, D, S/8, S/8) of sequences (N, 3, L, S, S) of any length L."""
        return self.layers(sequences).mean(dim=2)


def _flat_head(features: int, width: int, cells: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(features, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(width * (cells // 2) ** 2, outputs),
    )


def _image_head(widths: tuple[int, ...]) -> nn.Sequential:
    stages = [
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1), nn.ReLU())
        for before, after in pairwise(widths)
    ]
    return nn.Sequential(*stages, nn.Conv2d(widths[-1], 3, 3, padding=1))


class MultiTask(Teacher):
    """The teacher ``multi_task``.

    Attributes:
        imagenet: Gives the outputs before softmax (N, 1000) of ResNet-50 for middle crops (N, 3, S, S), RGB in [0, 1].
            Where it is set before ``prepare`` and the settings have ``imagenet``, they are distilled in training, too.
    """

    name = "multi_task"
    redraw = True  # sequences are cheap to cut, and new gaps keep the network from learning them by heart
    imagenet_mean: Tensor
    imagenet_deviation: Tensor

    def __init__(self, settings: Any, classes: int, scenes: int = 1) -> None:
        super().__init__(settings, classes, scenes)
        self.settings, self.classes = settings, classes
        self.imagenet: Callable[[Tensor], Tensor] | None = None
        self.terms = self.score_terms = tuple(task for task in TASKS if task in settings.tasks)
        self.probabilities = tuple(task for task in self.terms if task in PROBABILITIES)
        wide = settings.width == "wide"
        widths = (32, 64, 64) if wide else (16, 32, 32)
        flat = partial(_flat_head, widths[-1], widths[-1], settings.crop // 8)
        self.shared = SharedNetwork(widths, CONVOLUTIONS[settings.depth])
        in_layout(self.shared, torch.channels_last_3d)  # nearly twice as fast on a CPU
        if "arrow" in self.terms:
            self.arrow = flat(2)
        if "irregularity" in self.terms:
            self.irregularity = flat(2)
        if "middle_box" in self.terms:
            self.middle_box = _image_head((64, 64, 32, 16) if wide else (32, 32, 16, 16))
        if "distillation" in self.terms:
            self.distillation = flat(classes + IMAGENET * settings.imagenet)
            self.register_buffer("imagenet_mean", torch.zeros(IMAGENET))
            self.register_buffer("imagenet_deviation", torch.ones(IMAGENET))

    def training_crops(self) -> CropRequest:
        """Return seven neighbouring crops and, for the irregularity, an intermittent sequence."""
        return self._crops(irregular=self.settings.max_skip if "irregularity" in self.terms else 0)

    def scoring_crops(self) -> CropRequest:
        """Return seven neighbouring crops."""
        return self._crops()

    def _crops(self, **options: Any) -> CropRequest:
        shape = {name: getattr(self.settings, name) for name in ("context", "aspect", "border")}
        return CropRequest(self.settings.crop, colour=OFFSETS, **shape, **options)

    def load_network(self, path: Path | None) -> None:
        """Take ResNet-50 from a file; it gives targets and does not become part of the teacher. Without one, warn.

        Raises:
            InputError: The file does not hold it.
        """
        if path:
            self.imagenet = load_resnet50(path)
        elif self.settings.network:
            log.warning("ImageNet targets are left out: %s", missing_weights(self.settings.network))

    def prepare(self, objects: Batch) -> None:
        """Take mean and deviation of ResNet-50's outputs over the training objects, if they are distilled."""
        imagenet = self._distilled()
        if imagenet is None:
            return
        middle = objects["colour"][:, MIDDLE : MIDDLE + 1]
        chosen = middle[:: -(-len(middle) // IMAGENET_SAMPLE)]
        device = self.imagenet_mean.device
        outputs = torch.cat([imagenet(_sequences(part.to(device))[:, :, 0]) for part in chosen.split(CHUNK)])
        self.imagenet_mean.copy_(outputs.mean(0))
        self.imagenet_deviation.copy_(outputs.std(0, correction=0).clamp_min(1e-3))

    def _distilled(self) -> Callable[[Tensor], Tensor] | None:
        """Return what gives ResNet-50's outputs, where they are distilled."""
        return self.imagenet if self.settings.imagenet and "distillation" in self.terms else None

    def phases(self) -> list[Phase]:
        """Return the one phase in which all tasks are learned together."""
        settings = self.settings
        optimiser = torch.optim.Adam(self.parameters(), lr=settings.learning_rate)
        losses = partial(self._loss, True), partial(self._loss, False)
        cosine = settings.schedule == "cosine"
        return [Phase("tasks", settings.epochs, optimiser, [self], *losses, rate=self._falling if cosine else None)]

    def _falling(self, epoch: int) -> float:
        """Return the learning rate of an epoch: half a cosine (arXiv 1608.03983, equation 5, without restarts)."""
        settings = self.settings
        return settings.learning_rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2

    def measure(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return of the chosen tasks P(backward), P(intermittent), mean absolute errors of middle crop and classes.

        The mean of the four, (N, 4), is the object's score (arXiv 2011.07491, inference). The features are the shared
        network's, their mean over the crop; with the middle box as the only task, those of the six other crops.
        """
        sequences = _sequences(batch["colour"])
        features = self._trunk(sequences) if any(VIEWS[task] for task in self.terms) else None
        measured = []
        for task in self.terms:
            if task in PROBABILITIES:
                measured.append(getattr(self, task)(features).softmax(1)[:, 1])
            elif task == "middle_box":
                target, made, of_others = self._middle(sequences)
                measured.append((target - made).abs().mean((1, 2, 3)))
            else:
                made = self.distillation(features)[:, : self.classes]
                measured.append((made - batch["probabilities"]).abs().mean(1))
        return torch.stack(measured, dim=1), (of_others if features is None else features).mean((2, 3))

    def _middle(self, sequences: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the middle crops (N, 3, S, S), their prediction from the six others, and the features of these."""
        others = torch.cat([sequences[:, :, :MIDDLE], sequences[:, :, MIDDLE + 1 :]], dim=2)
        features = self._trunk(others)
        return sequences[:, :, MIDDLE], self.middle_box(features), features

    def _trunk(self, sequences: Tensor) -> Tensor:
        """Return the shared features; in bfloat16 scores correlate to 0.99999 with those in float32."""
        with autocast(sequences.device, on_processors=True):
            return self.shared(sequences).float()

    def _loss(self, training: bool, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Joint loss L1 + L2 + L3 + w L4 (arXiv 2011.07491) of the chosen tasks."""
        sequences = {"colour": _sequences(batch["colour"])}
        if "irregularity" in self.terms:
            sequences["irregular"] = _sequences(batch["irregular"])
        if training:
            sequences = self._augmented(sequences, rng)
        features, losses, logged = self._features(**sequences), {}, {}
        for task in self.terms:
            seen = [features[view] for view in VIEWS[task]]
            if task in PROBABILITIES:
                logits = getattr(self, task)(torch.cat(seen))
                labels = torch.arange(2, device=logits.device).repeat_interleave(len(seen[0]))
                losses[task] = F.cross_entropy(logits, labels)
                logged[f"{task}_accuracy"] = (logits.argmax(1) == labels).float().mean()
            elif task == "middle_box":
                target, made, _ = self._middle(sequences["colour"])
                losses[task] = F.l1_loss(made, target)
            else:
                parts = self._distillation_losses(self.distillation(torch.cat(seen)), batch)
                losses[task] = torch.stack(list(parts.values())).sum()
                logged |= parts
        weights = {"distillation": self.settings.distillation_weight}
        loss = torch.stack([weights.get(name, 1.0) * part for name, part in losses.items()]).sum()
        return {"loss": loss, **{name: part.detach() for name, part in (losses | logged).items()}}

    def _features(self, colour: Tensor, irregular: Tensor | None = None) -> dict[str, Tensor]:
        """Return the features of the views that the tasks need, both classes of a binary task 1:1.

        One half of the batch is seen forward, the other backward and intermittently, all in one pass, so that batch
        statistics cannot tell the classes. An odd batch has its middle object in both halves.
        """
        half = (len(colour) + 1) // 2
        views = {"forward": colour[:half], "backward": colour[-half:].flip(2)}
        if irregular is not None:
            views["intermittent"] = irregular[-half:]
        needed = [view for view in views if any(view in VIEWS[task] for task in self.terms)]
        if not needed:
            return {}
        features = self.shared(torch.cat([views[view] for view in needed]))
        return dict(zip(needed, features.split(half), strict=True))

    def _distillation_losses(self, made: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the two parts of L4 (arXiv 2011.07491): mean absolute errors of class scores and ResNet-50's outputs.

        Targets are those of the objects as they are, not mirrored nor changed in brightness.
        """
        half = len(made) // 2

        def error(made: Tensor, target: Tensor) -> Tensor:
            return F.l1_loss(made, torch.cat([target[:half], target[-half:]]))

        losses = {"classes": error(made[:, : self.classes], batch["probabilities"])}
        if (imagenet := self._distilled()) is not None:
            outputs = imagenet(_sequences(batch["colour"][:, MIDDLE : MIDDLE + 1])[:, :, 0])
            standardised = (outputs - self.imagenet_mean) / self.imagenet_deviation
            losses["imagenet"] = error(made[:, self.classes :], standardised)
        return losses

    def _augmented(self, sequences: dict[str, Tensor], rng: torch.Generator) -> dict[str, Tensor]:
        """Mirror half of the objects and change brightness and contrast, alike in all sequences of an object."""
        colour = sequences["colour"]

        def draw() -> Tensor:
            return torch.rand(len(colour), 1, 1, 1, 1, generator=rng).to(colour.device)

        if self.settings.flip:
            mirrored = draw() < 0.5
            sequences = {name: torch.where(mirrored, part.flip(4), part) for name, part in sequences.items()}
        if self.settings.jitter:
            contrast, brightness = (self.settings.jitter * (2 * draw() - 1) for _ in range(2))
            sequences = {
                name: ((part - 0.5) * (1 + contrast) + 0.5 + brightness).clamp(0, 1) for name, part in sequences.items()
            }
        return sequences


def _sequences(crops: Tensor) -> Tensor:
    """Return crops (N, L, 3, S, S) uint8 BGR as (N, 3, L, S, S) float RGB in [0, 1]."""
    return crops.flip(2).transpose(1, 2).float() / 255
