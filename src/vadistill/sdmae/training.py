"""The two phases in which SDMAE is trained: encoder, first decoder and classifier; then the second decoder alone."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vadistill.sdmae.anomalies import moving_thing, pasted
from vadistill.sdmae.losses import even_weights, target_patches, token_weights, weighted_error
from vadistill.sdmae.network import MaskedAutoEncoder, scale_pixels
from vadistill.settings import SdmaeConfig
from vadistill.training.device import autocast, loader_workers, moved
from vadistill.training.meters import Averages, FiniteLosses
from vadistill.training.parallel import averaging, processes, rank, share, uniform, whole_batch_norms
from vadistill.training.run import Stateful, TrainingPhase
from vadistill.windows.loader import HELD_OUT_FRAMES, FrameWindows, batch_name, loader

BETAS = (0.9, 0.95)  # of AdamW, as in the released code
SETTLING = 512  # frames by which batch norms are measured behind an epoch


def training_offsets(settings: SdmaeConfig) -> tuple[int, ...]:
    """Return the frames of a training window: those of the input, and the neighbours that tell what changes."""
    return tuple(sorted({*settings.offsets, -1, 0, 1}))


@dataclass(frozen=True)
class Samples:
    """A batch of N training samples.

    Attributes:
        frames: (N, 9, H, W) scaled, some with an anomaly.
        target: (N, L, 4 * P * P) what is to be reconstructed.
        weights: (N, L) of the tokens.
        abnormal: (N,) 1 where an anomaly was pasted.
        order: (N, L) of the tokens; the first half is seen, where the network masks any.
    """

    frames: Tensor
    target: Tensor
    weights: Tensor
    abnormal: Tensor
    order: Tensor


def samples(windows: Tensor, settings: SdmaeConfig, generator: torch.Generator, device: torch.device) -> Samples:
    """Return training samples of windows (N, 3 * F, H, W) uint8 at ``training_offsets``.

    A share of them gets something that moves in another window of the batch.

    Args:
        windows: On the processor.
        settings: The share, the size of the tokens and how they are weighted.
        generator: Draws which samples, what is pasted where, and the orders.
        device: Where the samples go.
    """
    offsets = training_offsets(settings)
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)) + rank())
    pictures = windows.unflatten(1, (-1, 3)).permute(0, 1, 3, 4, 2).numpy()
    masks = np.zeros((len(windows), *windows.shape[2:]), np.float32)
    first, judged, last = (offsets.index(offset) for offset in settings.offsets)
    shown = windows.unflatten(1, (-1, 3))[:, [first, judged, last]]  # a copy
    chosen = np.flatnonzero(rng.random(len(windows)) < settings.synthetic_share)
    for i in chosen:
        other = pictures[(i + rng.integers(1, len(pictures))) % len(pictures)] if len(pictures) > 1 else pictures[i]
        thing = moving_thing(other[first], other[judged], other[last], rng)
        made, masks[i] = pasted(pictures[i][[first, judged, last]], settings.offsets, thing, rng)
        shown[i] = torch.from_numpy(made).permute(0, 3, 1, 2)
    mask = moved(torch.from_numpy(masks)[:, None], device)
    frames = windows.unflatten(1, (-1, 3))
    rows, columns = settings.tokens
    if settings.motion_weights:
        before, after = (moved(frames[:, offsets.index(step)], device) for step in (-1, 1))
        weights = token_weights(before, after, mask, settings.patch)
    else:
        weights = even_weights(len(windows), rows * columns, device)
    order = uniform((len(windows), rows * columns), generator).argsort(1)
    return Samples(
        frames=scale_pixels(moved(shown.flatten(1, 2), device)),
        target=target_patches(scale_pixels(moved(frames[:, judged], device)), mask, settings.patch),
        weights=weights,
        abnormal=mask.amax((1, 2, 3)),
        order=moved(order, device),
    )


class Trainer:
    """The network, its optimisers and the steps of both phases."""

    def __init__(self, network: MaskedAutoEncoder, settings: SdmaeConfig, windows: FrameWindows, device: torch.device):
        self.network, self.settings, self.windows, self.device = whole_batch_norms(network), settings, windows, device

    def phases(self) -> Iterator[TrainingPhase]:
        """Yield the phases, one after the other."""
        second = list(self.network.second.parameters())
        own = {id(parameter) for parameter in second}
        first = [parameter for parameter in self.network.parameters() if id(parameter) not in own]
        for name, parameters, epochs in (
            ("first", first, self.settings.epochs),
            ("second", second, self.settings.second_epochs),
        ):
            yield self._phase(name, parameters, epochs)

    def _phase(self, name: str, parameters: list[nn.Parameter], epochs: int) -> TrainingPhase:
        optimiser = optimiser_of(parameters, self.settings)
        averaging(optimiser)

        def train_epoch(epoch: int, generator: torch.Generator) -> dict[str, float]:
            self._set_mode(name)
            started, averages, finite = time.monotonic(), Averages(), FiniteLosses(self.device)
            order = self.windows.epoch_order(epoch, self.settings.frame_stride, generator, self.settings.frame_run)
            batches = loader(self.windows, *share(order, self.settings.batch), loader_workers())
            for step, (frames, _) in enumerate(batches):
                loss, log = self._loss(name, samples(frames, self.settings, generator, self.device))
                context = batch_name(self.windows, order, self.settings.batch, epoch, step)
                optimiser.zero_grad(set_to_none=True)
                finite(loss, f"{name} decoder, {context}").backward()
                optimiser.step()
                averages.add({"train_loss": loss.detach(), **log}, len(frames) * processes())
            finite.check()
            rate = averages.count / (time.monotonic() - started)
            self._settle_norms(name, order, generator)
            return {**averages.means(), **self._held_out(name), "frames_per_second": rate}

        parts: dict[str, Stateful] = {"network": self.network, "optimiser": optimiser}
        return TrainingPhase(f"{name} decoder", epochs, parts, train_epoch)

    def _set_mode(self, phase: str) -> None:
        """Train what the phase trains: in the second one all else stands still, its batch norms too."""
        self.network.train(phase == "first")
        self.network.second.train(phase == "second")
        for parameter in self.network.parameters():
            parameter.requires_grad_(phase == "first")
        for parameter in self.network.second.parameters():
            parameter.requires_grad_(phase == "second")

    @torch.no_grad()
    def _settle_norms(self, phase: str, order: list[int], generator: torch.Generator) -> None:
        """Have the batch norms that are trained keep the mean statistics of frames that all see the same weights.

        Gathered while weights move, they fit none of them: on Ped1, held-out frames then had up to four times the loss.
        """
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.training:
                module.momentum = None
                module.reset_running_stats()
        for frames, _ in loader(self.windows, *share(order[:SETTLING], self.settings.batch), loader_workers()):
            self._loss(phase, samples(frames, self.settings, generator, self.device))

    def _loss(self, phase: str, given: Samples) -> tuple[Tensor, dict[str, Tensor]]:
        with autocast(self.device, on_processors=True, precision=self.settings.precision):
            made = self.network(given.frames, given.order, second=phase == "second")
        if phase == "second":
            assert made.second is not None
            return weighted_error(made.second, made.first.detach(), given.weights), {}
        error = weighted_error(made.first, given.target, given.weights)
        if not self.settings.classifier_weight:
            return error, {"error": error.detach()}
        judged = functional.binary_cross_entropy_with_logits(made.logit.float(), given.abnormal)
        right = ((made.logit > 0) == (given.abnormal > 0)).float().mean()
        log = {"error": error.detach(), "classifier_loss": judged.detach(), "classifier_accuracy": right}
        return error + self.settings.classifier_weight * judged, log

    @torch.no_grad()
    def _held_out(self, phase: str) -> dict[str, float]:
        """Return the losses on frames that nothing is learned from; nothing where there are none."""
        order = self.windows.held_out_order(HELD_OUT_FRAMES)
        if not order:
            return {}
        generator, averages = torch.Generator().manual_seed(self.settings.seed), Averages()
        self.network.eval()
        for frames, _ in loader(self.windows, order, self.settings.batch, loader_workers()):
            loss, log = self._loss(phase, samples(frames, self.settings, generator, self.device))
            averages.add({"loss": loss, **log}, len(frames))
        return {f"held_out_{name}": value for name, value in averages.means().items()}


def optimiser_of(parameters: list[nn.Parameter], settings: SdmaeConfig) -> torch.optim.AdamW:
    """Return AdamW as the released code of arXiv 2306.12041 has it: weights decay, biases, norms and tokens do not."""
    decayed = [parameter for parameter in parameters if parameter.ndim in (2, 4)]  # of linear layers, of convolutions
    known = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in parameters if id(parameter) not in known]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, settings.learning_rate, BETAS)
