"""Self-supervised multi-task learning on sequences of object crops (arXiv 2011.07491).

A shared 3D CNN sees a box in frames t-3 .. t+3. Four heads tell whether time runs backward, whether frames were left
out, what the middle crop shows when it is withheld, and what the detector sees. Trained on normal objects only, their
errors score the object.
"""

from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vadistill.teachers.base import Batch, CropRequest, Phase, Teacher

OFFSETS = (-3, -2, -1, 0, 1, 2, 3)
MIDDLE = 3


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
    """The teacher ``multi_task``."""

    name = "multi_task"
    terms = ("arrow", "irregularity", "middle_box", "distillation")
    redraw = True  # sequences are cheap to cut, and new gaps keep the network from learning them by heart

    def __init__(self, settings: Any, classes: int) -> None:
        super().__init__(settings, classes)
        self.settings = settings
        wide = settings.width == "wide"
        widths = (32, 64, 64) if wide else (16, 32, 32)
        head, cells = widths[-1], settings.crop // 8
        self.shared = SharedNetwork(widths, 2 if settings.depth == "deep" else 1)
        self.shared.to(memory_format=torch.channels_last_3d)  # nearly twice as fast on a CPU
        self.arrow = _flat_head(widths[-1], head, cells, 2)
        self.irregularity = _flat_head(widths[-1], head, cells, 2)
        self.distillation = _flat_head(widths[-1], head, cells, classes)
        self.middle_box = _image_head((64, 64, 32, 16) if wide else (32, 32, 16, 16))

    def training_crops(self) -> CropRequest:
        """Return seven neighbouring crops and an intermittent sequence."""
        return CropRequest(self.settings.crop, colour=OFFSETS, irregular=self.settings.max_skip)

    def scoring_crops(self) -> CropRequest:
        """Return seven neighbouring crops."""
        return CropRequest(self.settings.crop, colour=OFFSETS)

    def phases(self) -> list[Phase]:
        """Return the one phase in which all tasks are learned together."""
        settings = self.settings
        optimiser = torch.optim.Adam(self.parameters(), lr=settings.learning_rate)
        losses = partial(self._loss, settings.flip), partial(self._loss, False)
        return [Phase("tasks", settings.epochs, optimiser, [self], *losses)]

    def measure(self, batch: Batch) -> Tensor:
        """Return P(backward), P(intermittent) and the mean absolute errors of middle crop and classes, (N, 4).

        Their mean is the object's score (arXiv 2011.07491, inference).
        """
        sequences = _sequences(batch["colour"])
        features = self.shared(sequences)
        target, made = self._middle(sequences)
        return torch.stack(
            [
                self.arrow(features).softmax(1)[:, 1],
                self.irregularity(features).softmax(1)[:, 1],
                (target - made).abs().mean((1, 2, 3)),
                (self.distillation(features) - batch["probabilities"]).abs().mean(1),
            ],
            dim=1,
        )

    def _middle(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """Return the middle crops (N, 3, S, S) and their prediction from the six other crops."""
        others = torch.cat([sequences[:, :, :MIDDLE], sequences[:, :, MIDDLE + 1 :]], dim=2)
        return sequences[:, :, MIDDLE], self.middle_box(self.shared(others))

    def _loss(self, flip: bool, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Joint loss L1 + L2 + L3 + w L4 (arXiv 2011.07491) with both classes of each binary task 1:1.

        One half of the batch is seen forward, the other backward and intermittently, all in one pass, so that batch
        statistics cannot tell the classes. An odd batch has its middle object in both halves.
        """
        sequences, irregular = _sequences(batch["colour"]), _sequences(batch["irregular"])
        if flip:
            mirrored = torch.rand(len(sequences), 1, 1, 1, 1, generator=rng).to(sequences.device) < 0.5
            sequences, irregular = (torch.where(mirrored, part.flip(4), part) for part in (sequences, irregular))
        half = (len(sequences) + 1) // 2
        forward, backward, intermittent = sequences[:half], sequences[-half:].flip(2), irregular[-half:]
        features = self.shared(torch.cat([forward, backward, intermittent]))
        labels = torch.arange(2, device=features.device).repeat_interleave(half)
        probabilities = torch.cat([batch["probabilities"][:half], batch["probabilities"][-half:]])
        target, made = self._middle(sequences)

        arrow = self.arrow(features[: 2 * half])
        irregularity = self.irregularity(torch.cat([features[:half], features[2 * half :]]))
        losses = {
            "arrow": F.cross_entropy(arrow, labels),
            "irregularity": F.cross_entropy(irregularity, labels),
            "middle_box": F.l1_loss(made, target),
            "distillation": F.l1_loss(self.distillation(features[: 2 * half]), probabilities),
        }
        weights = {"distillation": self.settings.distillation_weight}
        return {
            "loss": torch.stack([weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum(),
            **{name: loss.detach() for name, loss in losses.items()},
            "arrow_accuracy": (arrow.argmax(1) == labels).float().mean(),
            "irregularity_accuracy": (irregularity.argmax(1) == labels).float().mean(),
        }


def _sequences(crops: Tensor) -> Tensor:
    """Return crops (N, L, 3, S, S) uint8 BGR as (N, 3, L, S, S) float RGB in [0, 1]."""
    return crops.flip(2).transpose(1, 2).float() / 255
