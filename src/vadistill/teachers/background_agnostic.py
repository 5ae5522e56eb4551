"""Auto-encoders, adversarial training on pseudo-anomalies, classifiers of objects (arXiv 2008.12328).

Three streams see an object: its gray crop, and dense flow in its box to the past and to the future. Each has an
auto-encoder and a classifier of its latent features and errors; the object's score is the mean probability of
"abnormal".
"""

from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vadistill.teachers import pseudo_anomalies
from vadistill.teachers.base import Batch, CropRequest, Phase, Teacher
from vadistill.teachers.scene import BoxUnit, SceneUnit, object_speed

BANK = 2048  # pseudo-anomalies of appearance drawn for training
HELD_OUT_BANK = 512  # others, for held-out losses
CLIP = 3.0  # flow beyond this many units is cut

Streams = dict[str, Tensor]


class _Reverse(torch.autograd.Function):
    """Identity whose gradient is multiplied by minus ``weight``."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None


def _stages(widths: tuple[int, ...], last: type[nn.Module], **options: Any) -> nn.Sequential:
    """Return convolution, ReLU and ``last`` for every pair of neighbouring widths."""
    layers = [
        (nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), last(**options)) for before, after in pairwise(widths)
    ]
    return nn.Sequential(*(layer for stage in layers for layer in stage))


def _decoder(channels: int, bounded: bool) -> nn.Sequential:
    """Return the way from latent features (N, 16, S/8, S/8) to (N, C, S, S); bounded: in (0, 1)."""
    return nn.Sequential(
        *_stages((16, 16, 32, 32), nn.Upsample, scale_factor=2),
        nn.Conv2d(32, channels, 3, padding=1),
        nn.Sigmoid() if bounded else nn.Identity(),
    )


class Classifier(nn.Module):
    """Normal or abnormal, from a stream's absolute errors and latent features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.errors = _stages((channels, 32, 32, 16), nn.MaxPool2d, kernel_size=2)
        self.head = nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2)
        )

    def forward(self, errors: Tensor, latent: Tensor) -> Tensor:
        """Return logits (N, 2) of errors (N, C, S, S) and latent features (N, 16, S/8, S/8); abnormal is class 1."""
        return self.head(torch.cat([self.errors(errors), latent], dim=1))


class Stream(nn.Module):
    """One view (N, C, S, S) of the objects: auto-encoder, second decoder for pseudo-anomalies, classifier."""

    def __init__(self, channels: int, bounded: bool = False) -> None:
        super().__init__()
        self.encoder = _stages((channels, 32, 32, 16), nn.MaxPool2d, kernel_size=2)
        self.decoder = _decoder(channels, bounded)
        self.adversary = _decoder(channels, bounded)
        self.classifier = Classifier(channels)

    def reconstruct(self, view: Tensor) -> Tensor:
        """Return the auto-encoder's output."""
        return self.decoder(self.encoder(view))

    def reconstruct_reversed(self, view: Tensor, weight: float) -> Tensor:
        """Return the second decoder's output; the encoder receives its gradient times minus ``weight``."""
        return self.adversary(_Reverse.apply(self.encoder(view), weight))

    def logits(self, view: Tensor) -> Tensor:
        """Return the classifier's logits (N, 2); no gradient reaches the auto-encoder."""
        with torch.no_grad():
            latent = self.encoder(view)
            errors = (view - self.decoder(latent)).abs()
        return self.classifier(errors, latent)


class BackgroundAgnostic(Teacher):
    """The teacher ``background_agnostic``."""

    name = "background_agnostic"
    terms = ("appearance", "past", "future")
    redraw = False  # dense flow of the training objects is the dearest part, so they are cut once

    def __init__(self, settings: Any, classes: int) -> None:
        super().__init__(settings, classes)
        self.settings = settings
        self.streams = nn.ModuleDict({"appearance": Stream(1, bounded=True), "past": Stream(2), "future": Stream(2)})
        self.streams.to(memory_format=torch.channels_last)  # faster on CPU and GPU
        self.unit = SceneUnit() if settings.normalise == "scene" else BoxUnit()
        # Drawn again from the seed by prepare(), so not worth a place in the state.
        self.register_buffer("bank", torch.zeros(0), persistent=False)
        self.register_buffer("held_out_bank", torch.zeros(0), persistent=False)

    def training_crops(self) -> CropRequest:
        """Return the gray crop and the flow to the past and to the future."""
        step = self.settings.step
        return CropRequest(self.settings.crop, gray=(0,), flow=(-step, step))

    def scoring_crops(self) -> CropRequest:
        """Return the same as for training."""
        return self.training_crops()

    def prepare(self, objects: Batch) -> None:
        """Fit the unit of speed to the training objects and draw the pseudo-anomalies of appearance."""
        self.unit.fit(object_speed(objects["flow"]), objects["box"].float(), objects["size"].float())
        rng = torch.Generator().manual_seed(self.settings.seed)
        side, device = self.settings.crop, self.bank.device
        self.bank = pseudo_anomalies.appearance(BANK, side, rng).to(device)
        self.held_out_bank = pseudo_anomalies.appearance(HELD_OUT_BANK, side, rng).to(device)

    def phases(self) -> list[Phase]:
        """Return auto-encoders, adversarial training (unless it has no epochs) and classifiers."""
        settings, streams = self.settings, self.streams.values()
        encoders, decoders, adversaries, classifiers = (
            [getattr(stream, part) for stream in streams] for part in ("encoder", "decoder", "adversary", "classifier")
        )

        def phase(name: str, epochs: int, rate: float, train: list[nn.Module], loss: Any, **options: Any) -> Phase:
            optimiser = torch.optim.Adam(nn.ModuleList(train).parameters(), lr=rate)
            losses = partial(self._loss, loss, False), partial(self._loss, loss, True)
            return Phase(name, epochs, optimiser, train, *losses, **options)

        autoencoders = encoders + decoders
        made = [
            phase("autoencoders", settings.autoencoder_epochs, settings.autoencoder_rate, autoencoders, _both),
            phase(
                "adversarial",
                settings.adversarial_epochs,
                settings.adversarial_rate,
                autoencoders + adversaries,
                partial(_reversed, settings.reversal),
                # A game has no loss to be lowest: its two sides pull apart.
                early_stop=False,
                start=self._copy_decoders,
            ),
            phase("classifiers", settings.classifier_epochs, settings.classifier_rate, classifiers, _classified),
        ]
        return [part for part in made if part.epochs > 0]

    def measure(self, batch: Batch) -> Tensor:
        """Return P(abnormal) (N, 3) of the three classifiers."""
        views = _views(*self._normal(batch))
        return torch.stack([self.streams[name].logits(views[name]).softmax(1)[:, 1] for name in self.terms], dim=1)

    def _normal(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return gray crops (N, 1, S, S) in [0, 1] and flow (N, 2, 2, S, S) in units, not cut."""
        unit = self.unit(batch["box"], batch["size"])
        return batch["gray"].float() / 255, batch["flow"].float() / unit[:, None, None, None, None]

    def _pseudo(self, crops: Tensor, flow: Tensor, held_out: bool, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return one pseudo-anomaly for each object; half move too fast, half (and slow ones) show affine motion."""
        bank = self.held_out_bank if held_out else self.bank
        fast = pseudo_anomalies.longer_gap(flow, self.settings.step, rng)
        chosen = (torch.rand(len(flow), generator=rng) < 0.5).to(flow.device) & (object_speed(fast) > 1)
        moved = torch.where(chosen[:, None, None, None, None], fast, pseudo_anomalies.affine_flow(flow, rng))
        return pseudo_anomalies.unlike(crops, bank, rng), moved

    def _loss(self, loss: Any, held_out: bool, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Return ``loss(stream, normal view, pseudo-abnormal view)``, summed over the streams, and its parts."""
        normal = self._normal(batch)
        views, pseudo = _views(*normal), _views(*self._pseudo(*normal, held_out, rng))
        parts = {name: loss(self.streams[name], views[name], pseudo[name]) for name in self.terms}
        logged = {f"{name}_{key}": part[key].detach() for name, part in parts.items() for key in part if key != "loss"}
        return {"loss": torch.stack([part["loss"] for part in parts.values()]).sum(), **logged}

    def _copy_decoders(self) -> None:
        for stream in self.streams.values():
            stream.adversary.load_state_dict(stream.decoder.state_dict())


def _views(crops: Tensor, flow: Tensor) -> Streams:
    """Return each stream's input (N, C, S, S)."""
    flow = flow.clamp(-CLIP, CLIP)
    return {"appearance": crops, "past": flow[:, 0], "future": flow[:, 1]}


def _both(stream: Stream, normal: Tensor, pseudo: Tensor) -> dict[str, Tensor]:
    """Step A, arXiv 2008.12328: reconstruct both; rec(X) + rec(Z)."""
    made = stream.reconstruct(torch.cat([normal, pseudo]))
    losses = [F.mse_loss(part, view) for part, view in zip(made.chunk(2), (normal, pseudo), strict=True)]
    return {"loss": losses[0] + losses[1], "normal": losses[0], "pseudo": losses[1]}


def _reversed(weight: float, stream: Stream, normal: Tensor, pseudo: Tensor) -> dict[str, Tensor]:
    """Step B: descent on X; on Z descent of the second decoder and, weighted, ascent of the encoder."""
    real = F.mse_loss(stream.reconstruct(normal), normal)
    made = F.mse_loss(stream.reconstruct_reversed(pseudo, weight), pseudo)
    return {"loss": real + made, "normal": real, "pseudo": made}


def _classified(stream: Stream, normal: Tensor, pseudo: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of normal (class 0) and pseudo-abnormal (class 1) objects, and the share that is right."""
    logits = stream.logits(torch.cat([normal, pseudo]))
    labels = torch.arange(2, device=logits.device).repeat_interleave(len(normal))
    return {"loss": F.cross_entropy(logits, labels), "accuracy": (logits.argmax(1) == labels).float().mean()}
