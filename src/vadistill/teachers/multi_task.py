"""Self-supervised multi-task learning on sequences of object crops (arXiv 2011.07491).

A shared 3D CNN sees a box in frames t-3 .. t+3. Four heads tell whether time runs backward, whether frames were left
out, what the middle crop shows when it is withheld, and what the detector sees. Trained on normal objects only, their
errors score the object.
"""

import logging
from collections.abc import Callable
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadistill.teachers.base import Batch, Phase, Teacher
from vadistill.teachers.crops import CropRequest
from vadistill.teachers.pooling import FramePool
from vadistill.teachers.pretrained.resnet50 import load_resnet50
from vadistill.teachers.pretrained.weights import missing_weights
from vadistill.teachers.proxy_tasks import IMAGENET, MIDDLE, PROXY_TASKS, Distillation, Task, without_middle
from vadistill.training.device import autocast, in_layout
from vadistill.training.parallel import Draws
from vadistill.training.schedule import cosine

log = logging.getLogger(__name__)
OFFSETS = (-3, -2, -1, 0, 1, 2, 3)
CONVOLUTIONS = {"shallow": 1, "deep": 2, "deeper": 3}
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
            # Pooled first, the last ReLU has a quarter of the values; the result is the same.
            layers.insert(-1, FramePool())
        layers[-2] = nn.MaxPool3d((1, 2, 2))  # in float32 on a processor, as is the mean over time
        self.layers = nn.Sequential(*layers)
        self._alike = min(2, convolutions)  # after so many, the six others still have frames in common with the seven

    def forward(self, sequences: Tensor) -> Tensor:
        """Return features (N, D, S/8, S/8) of sequences (N, 3, L, S, S) of any length L."""
        return self.layers(sequences).mean(dim=2)

    def forward_both(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of sequences (N, 3, 7, S, S), and of the six frames around their middle one.

        They equal those of two calls in evaluation mode. A convolution looks one frame to each side, so that with and
        without the middle frame the first one differs in one frame on each side of it, the second in two: these alone
        are computed twice.
        """
        whole, changed = sequences, sequences[:, :, :0]
        starts = [i for i, layer in enumerate(self.layers) if isinstance(layer, nn.Conv3d)]
        for seen, (start, end) in enumerate(islice(pairwise([*starts, len(self.layers)]), self._alike), 1):
            conv, rest = cast(nn.Conv3d, self.layers[start]), self.layers[start + 1 : end]
            before, behind = whole[:, :, 2 - seen : 4 - seen], whole[:, :, 3 + seen : 5 + seen]
            around = torch.cat([before, changed, behind], dim=2)
            changed = rest(functional.conv3d(around, conv.weight, padding=(0, 1, 1)))
            whole = rest(conv(whole))
        others = torch.cat([whole[:, :, : 3 - seen], changed, whole[:, :, 4 + seen :]], dim=2)
        remaining = self.layers[end:]
        return remaining(whole).mean(dim=2), remaining(others).mean(dim=2)


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
        self.settings = settings
        self.imagenet: Callable[[Tensor], Tensor] | None = None
        widths = (32, 64, 64) if settings.width == "wide" else (16, 32, 32)
        self.shared = SharedNetwork(widths, CONVOLUTIONS[settings.depth])
        in_layout(self.shared, torch.channels_last_3d)  # nearly twice as fast on a CPU
        self._tasks: dict[str, Task] = {
            task.name: task(settings, widths[-1], classes) for task in PROXY_TASKS if task.name in settings.tasks
        }
        for name, task in self._tasks.items():
            self.add_module(name, task)
        self._views = {view for task in self._tasks.values() for view in task.views}
        self.terms = self.score_terms = tuple(self._tasks)
        self.probabilities = tuple(name for name, task in self._tasks.items() if task.probability)
        if Distillation.name in self._tasks:
            self.register_buffer("imagenet_mean", torch.zeros(IMAGENET))
            self.register_buffer("imagenet_deviation", torch.ones(IMAGENET))

    def training_crops(self) -> CropRequest:
        """Return seven neighbouring crops and, for the irregularity, an intermittent sequence."""
        return self._crops(irregular=self.settings.max_skip if "intermittent" in self._views else 0)

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
        return self.imagenet if self.settings.network else None

    def phases(self) -> list[Phase]:
        """Return the one phase in which all tasks are learned together."""
        settings = self.settings
        optimiser = torch.optim.Adam(self.parameters(), lr=settings.learning_rate)
        losses = partial(self._loss, True), partial(self._loss, False)
        rate = self._falling if settings.schedule == "cosine" else None
        return [Phase("tasks", settings.epochs, optimiser, [self], *losses, rate=rate)]

    def _falling(self, epoch: int) -> float:
        return self.settings.learning_rate * cosine(epoch, self.settings.epochs)

    def measure(self, batch: Batch) -> Tensor:
        """Return of the chosen tasks P(backward), P(intermittent), mean absolute errors of middle crop and classes.

        The mean of the four, (N, 4), is the object's score (arXiv 2011.07491, inference).
        """
        sequences, features = _sequences(batch["colour"]), {}
        if {"forward", "others"} <= self._views:
            features = dict(zip(("forward", "others"), self._both_trunks(sequences), strict=True))
        elif "forward" in self._views:
            features["forward"] = self._trunk(sequences)
        else:
            features["others"] = self._trunk(without_middle(sequences))
        measured = [task.measure(features[task.views[0]], sequences, batch) for task in self._tasks.values()]
        return torch.stack(measured, dim=1)

    def _trunk(self, sequences: Tensor) -> Tensor:
        """Return the shared features; in bfloat16 scores correlate to 0.99999 with those in float32."""
        with autocast(sequences.device, on_processors=True):
            return self.shared(sequences).float()

    def _both_trunks(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shared features of whole sequences, and of those without their middle crop."""
        with autocast(sequences.device, on_processors=True):
            whole, others = self.shared.forward_both(sequences)
        return whole.float(), others.float()

    def _loss(self, training: bool, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        """Return the joint loss L1 + L2 + L3 + w L4 (arXiv 2011.07491) of the chosen tasks, and what is logged."""
        sequences = {"colour": _sequences(batch["colour"])}
        if "intermittent" in self._views:
            sequences["irregular"] = _sequences(batch["irregular"])
        if training:
            sequences = self._augmented(sequences, rng)
        features, batch = self._features(**sequences), batch | self._imagenet_targets(batch)
        losses: dict[str, Tensor] = {}
        logged: dict[str, Tensor] = {}
        for name, task in self._tasks.items():
            losses[name], parts = task.loss([features[view] for view in task.views], sequences["colour"], batch)
            logged |= parts
        loss = torch.stack([task.weight * losses[name] for name, task in self._tasks.items()]).sum()
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
        features, needed = {}, [view for view in views if view in self._views]
        if needed:
            together = self.shared(torch.cat([views[view] for view in needed]))
            features = dict(zip(needed, together.split(half), strict=True))
        if "others" in self._views:
            features["others"] = self._trunk(without_middle(colour))
        return features

    def _imagenet_targets(self, batch: Batch) -> Batch:
        """Return ResNet-50's outputs for the middle crops, standardised, as ``imagenet``, where they are distilled."""
        if (imagenet := self._distilled()) is None:
            return {}
        outputs = imagenet(_sequences(batch["colour"][:, MIDDLE : MIDDLE + 1])[:, :, 0])
        return {"imagenet": (outputs - self.imagenet_mean) / self.imagenet_deviation}

    def _augmented(self, sequences: dict[str, Tensor], rng: Draws) -> dict[str, Tensor]:
        """Mirror half of the objects and change brightness and contrast, alike in all sequences of an object."""
        colour = sequences["colour"]

        def draw() -> Tensor:
            return rng.rand(len(colour), 1, 1, 1, 1).to(colour.device)

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
