"""Pre-training of the student: its backbone as an auto-encoder of the window's middle frame (arXiv 2211.15597)."""

import time

import torch
from torch.nn.functional import interpolate

from vadistill.settings import PretrainingConfig
from vadistill.student.losses import reconstruction_loss
from vadistill.student.network import AutoEncoder, scale_frames
from vadistill.training.device import autocast, loader_workers
from vadistill.training.meters import Averages, FiniteLosses
from vadistill.training.parallel import averaging, processes, share, whole_batch_norms
from vadistill.training.run import Stateful, TrainingPhase
from vadistill.training.schedule import set_rate, stepped
from vadistill.windows.loader import FrameWindows, batch_name, loader


def pretraining_phase(
    network: AutoEncoder, settings: PretrainingConfig, windows: FrameWindows, device: torch.device
) -> TrainingPhase:
    """Return the pre-training as the one phase of its training; the network is on the device."""
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)

    averaging(optimiser)
    whole_batch_norms(network)

    def train_epoch(epoch: int, generator: torch.Generator) -> dict[str, float]:
        set_rate(optimiser, settings.learning_rate * stepped(epoch, settings.decay_every, settings.decay))
        started, averages, finite = time.monotonic(), Averages(), FiniteLosses(device)
        order = windows.epoch_order(epoch, settings.frame_stride, generator, settings.frame_run)
        network.train()
        for step, (frames, _) in enumerate(loader(windows, *share(order, settings.batch), loader_workers())):
            scaled = scale_frames(frames.to(device, non_blocking=True))
            with autocast(device, on_processors=True, precision=settings.precision):
                made = network(scaled)
            loss = reconstruction_loss(made, middle_frame(scaled[:, : network.backbone.colours], made.shape[-2:]))
            optimiser.zero_grad(set_to_none=True)
            finite(loss, batch_name(windows, order, settings.batch, epoch, step)).backward()
            optimiser.step()
            averages.add({"train_loss": loss.detach()}, len(frames) * processes())
        finite.check()
        return {**averages.means(), "frames_per_second": averages.count / (time.monotonic() - started)}

    parts: dict[str, Stateful] = {"network": network, "optimiser": optimiser}
    return TrainingPhase("pretraining", settings.epochs, parts, train_epoch)


def middle_frame(frames: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Return the middle one of scaled frames (N, 3 * F, H, W) at ``size`` = (h, w), (N, 3, h, w), bicubic."""
    first = frames.shape[1] // 2 - 1
    return interpolate(frames[:, first : first + 3], size, mode="bicubic", align_corners=False)
