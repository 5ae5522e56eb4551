"""Auto-encoders, adversarial training on pseudo-anomalies, classifiers of objects (arXiv 2008.12328).

Three streams see an object: its crop, and its motion to the past and to the future. Each has an auto-encoder and a
classifier of its latent features and errors; the object's score is the mean probability of "abnormal".
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vadistill.errors import InputError
from vadistill.teachers import pseudo_anomalies
from vadistill.teachers.autoencoder import Stream, bounded_ascent, classify, reconstruct_both, reverse_gradient
from vadistill.teachers.base import Batch, Phase, Teacher
from vadistill.teachers.crops import CropRequest
from vadistill.teachers.motion_units import SceneUnit, make_unit, object_speed
from vadistill.teachers.pretrained.raft import Raft
from vadistill.teachers.pretrained.weights import missing_weights
from vadistill.training.device import in_layout
from vadistill.training.parallel import Draws

BANK = 2048  # pseudo-anomalies of appearance drawn for training
HELD_OUT_BANK = 512  # others, for held-out losses
CLIP = 3.0  # flow beyond this many units is cut; units of pixels (normalise: pixels) are cut at one
BGR_TO_GRAY = (0.114, 0.587, 0.299)  # ITU-R BT.601
STREAMS = ("appearance", "past", "future")


class BackgroundAgnostic(Teacher):
    """The teacher ``background_agnostic``.

    Its terms are of each stream P(abnormal) and the auto-encoder's mean squared error.

    Attributes:
        pool: (P, 3, S', S') uint8 BGR images from which pseudo-anomalies of appearance are cut, to be set before
            ``prepare``; None: they are procedural.
        raft: The network that gives the flow, if the settings name it; its weights are to be loaded before training.
    """

    name = "background_agnostic"
    redraw = False  # dense flow takes most of the time, so that training objects are cut once
    terms = (*STREAMS, *(f"{name}_error" for name in STREAMS))
    # The paper's score is the mean of the first three; the validation split prefers the motion errors beside them.
    score_terms = (*STREAMS, "past_error", "future_error")
    probabilities = STREAMS
    bank: Tensor
    held_out_bank: Tensor

    def __init__(self, settings: Any, classes: int, scenes: int = 1) -> None:
        super().__init__(settings, classes, scenes)
        self.settings = settings
        self.pool: Tensor | None = None
        adversary = settings.adversarial == "reversal"
        appearance = Stream(3 if settings.appearance == "colour" else 1, bounded=True, adversary=adversary)
        motion = {name: Stream(2, adversary=adversary) for name in STREAMS[1:]}
        self.streams = nn.ModuleDict({"appearance": appearance, **motion})
        in_layout(self.streams, torch.channels_last)  # faster on CPU and GPU
        self.unit = None if settings.motion == "gradient" else make_unit(settings.normalise, scenes)
        self.raft = Raft() if settings.motion == "raft" else None
        # What prepare() finds anew is not worth a place in the state.
        self.usual_speed = 1.0
        self.register_buffer("bank", torch.zeros(0), persistent=False)
        self.register_buffer("held_out_bank", torch.zeros(0), persistent=False)

    def training_crops(self) -> CropRequest:
        """Return the crop in gray or colour and the flow, or the gray crops, to the past and to the future."""
        settings = self.settings
        sides, colour, gradient = (-settings.step, settings.step), settings.appearance == "colour", self.unit is None
        return CropRequest(
            settings.crop,
            colour=(0,) if colour else (),
            gray=(() if colour else (0,)) + (sides if gradient else ()),
            flow=() if gradient else sides,
            context=settings.context,
            aspect=settings.aspect,
            border=settings.border,
            flow_method=self.raft.flow if self.raft else "dis" if gradient else settings.motion,
        )

    def scoring_crops(self) -> CropRequest:
        """Return the same as for training."""
        return self.training_crops()

    def load_network(self, path: Path | None) -> None:
        """Take RAFT's weights from a file, where it gives the flow; they become part of the teacher's own.

        Raises:
            InputError: There is no file, or it does not hold them.
        """
        if self.raft is None:
            return
        if path is None:
            missing = missing_weights(self.settings.network)
            raise InputError(f"background_agnostic.motion is raft, but {missing}; expected torchvision's weights")
        self.raft.load(path)

    def prepare(self, objects: Batch) -> None:
        """Fit the unit of speed to the training objects and draw the pseudo-anomalies of appearance."""
        if self.unit is not None:
            speed = object_speed(objects["flow"])
            self.unit.fit(speed, objects)
            if self.settings.normalise == "pixels":  # the other units are fitted, so that the usual speed is one
                self.usual_speed = max(torch.quantile(speed / self.unit(objects), 0.95).item(), 1e-3)
        rng = Draws(torch.Generator().manual_seed(self.settings.seed))
        self.bank, self.held_out_bank = (bank.to(self.bank.device) for bank in self._draw_banks(rng))

    def _draw_banks(self, rng: Draws) -> tuple[Tensor, Tensor]:
        """Return the pseudo-anomalies of appearance (B, C, S, S) in [0, 1] for training and, others, held-out ones."""
        counts, side, colour = (BANK, HELD_OUT_BANK), self.settings.crop, self.settings.appearance == "colour"
        if self.pool is not None:
            parts = pseudo_anomalies.split_pool(self.pool, HELD_OUT_BANK / sum(counts), rng)
            banks = [pseudo_anomalies.from_pool(*part, side, rng) for part in zip(parts, counts, strict=True)]
            first, held_out = (bank if colour else _gray(bank) for bank in banks)
            return first, held_out
        if self.settings.image_pool:
            raise ValueError("the settings name an image pool; expected its images in the attribute pool")
        banks = [pseudo_anomalies.appearance(count, side, rng) for count in counts]
        first, held_out = (pseudo_anomalies.coloured(bank, rng) if colour else bank for bank in banks)
        return first, held_out

    def phases(self) -> list[Phase]:
        """Return auto-encoders, adversarial training (unless it has no epochs) and classifiers."""
        settings, streams = self.settings, self.streams.values()
        encoders, decoders, adversaries, classifiers = (
            [part for part in (getattr(stream, name) for stream in streams) if part is not None]
            for name in ("encoder", "decoder", "adversary", "classifier")
        )

        def phase(name: str, epochs: int, rate: float, train: list[nn.Module], loss: Any, **options: Any) -> Phase:
            optimiser = torch.optim.Adam(nn.ModuleList(train).parameters(), lr=rate)
            losses = partial(self._loss, loss, False), partial(self._loss, loss, True)
            return Phase(name, epochs, optimiser, train, *losses, **options)

        networks = encoders + decoders
        made = [
            phase("autoencoders", settings.autoencoder_epochs, settings.autoencoder_rate, networks, reconstruct_both),
            phase(
                "adversarial",
                settings.adversarial_epochs,
                settings.adversarial_rate,
                networks + adversaries,
                partial(reverse_gradient if adversaries else bounded_ascent, settings.reversal),
                # The two sides of an adversarial game have no common loss whose lowest value would say when to stop.
                early_stop=False,
                start=self._copy_decoders,
            ),
            phase("classifiers", settings.classifier_epochs, settings.classifier_rate, classifiers, classify),
        ]
        return [part for part in made if part.epochs > 0]

    def unseen_place(self, batch: Batch) -> Tensor:
        """Return which objects (N,) stand where no training object stood, so that a table of another place is used."""
        return self.unit.unseen_place(batch) if isinstance(self.unit, SceneUnit) else super().unseen_place(batch)

    def measure(self, batch: Batch) -> Tensor:
        """Return P(abnormal) of the three classifiers and the errors of the three auto-encoders (N, 6)."""
        views = self._views(*self._normal(batch))
        logits, errors = zip(*(self._stream(name).predict(views[name]) for name in STREAMS), strict=True)
        return torch.stack([*(values.softmax(1)[:, 1] for values in logits), *errors], dim=1)

    def _stream(self, name: str) -> Stream:
        stream = self.streams[name]
        assert isinstance(stream, Stream)
        return stream

    def _normal(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return crops (N, C, S, S) in [0, 1] and what moves: flow (N, 2, 2, S, S) in units, not cut.

        With gradients in place of flow, what moves are the gray crops (N, 2, S, S) of the past and of the future.
        """
        colour = self.settings.appearance == "colour"
        crops = (batch["colour"][:, 0] if colour else batch["gray"][:, :1]).float() / 255
        if self.unit is None:
            return crops, batch["gray"][:, -2:].float() / 255
        return crops, batch["flow"].float() / self.unit(batch)[:, None, None, None, None]

    def _pseudo(self, crops: Tensor, motion: Tensor, held_out: bool, rng: Draws) -> tuple[Tensor, Tensor]:
        """Return one pseudo-anomaly for each object, in the form of ``_normal``."""
        bank = self.held_out_bank if held_out else self.bank
        if self.unit is None:
            moved = pseudo_anomalies.unlike(motion, bank if bank.shape[1] == 1 else _gray(bank), rng)
        else:
            kinds, step = self.settings.motion_anomalies, self.settings.step
            moved = self.usual_speed * pseudo_anomalies.motion(motion / self.usual_speed, kinds, step, rng)
        return pseudo_anomalies.unlike(crops, bank, rng), moved

    def _views(self, crops: Tensor, motion: Tensor) -> dict[str, Tensor]:
        """Return each stream's input (N, C, S, S)."""
        if self.unit is None:
            motion = _gradients(motion)
        else:
            limit = 1.0 if self.settings.normalise == "pixels" else CLIP
            motion = motion.clamp(-limit, limit)
        return {"appearance": crops, "past": motion[:, 0], "future": motion[:, 1]}

    def _loss(self, loss: Any, held_out: bool, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        """Return ``loss(stream, normal view, pseudo-abnormal view)``, summed over the streams, and its parts."""
        normal = self._normal(batch)
        views, pseudo = self._views(*normal), self._views(*self._pseudo(*normal, held_out, rng))
        parts = {name: loss(self.streams[name], views[name], pseudo[name]) for name in STREAMS}
        logged = {f"{name}_{key}": part[key].detach() for name, part in parts.items() for key in part if key != "loss"}
        return {"loss": torch.stack([part["loss"] for part in parts.values()]).sum(), **logged}

    def _copy_decoders(self) -> None:
        for stream in map(self._stream, STREAMS):
            if stream.adversary is not None:
                stream.adversary.load_state_dict(stream.decoder.state_dict())


def _gray(images: Tensor) -> Tensor:
    """Return the gray values (N, 1, S, S) of BGR images (N, 3, S, S)."""
    return (images * images.new_tensor(BGR_TO_GRAY)[:, None, None]).sum(dim=1, keepdim=True)


def _gradients(gray: Tensor) -> Tensor:
    """Return the differences (N, K, 2, S, S) along x and y of gray crops (N, K, S, S) in [0, 1].

    Each is that of the two neighbours, so within [-1, 1]; at the rim a pixel stands for its missing neighbour.
    """
    padded = nn.functional.pad(gray, (1, 1, 1, 1), mode="replicate")
    along_x = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    along_y = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    return torch.stack([along_x, along_y], dim=2)
