"""Rule pretrain_student: training frames in, the student's backbone as an auto-encoder of the middle frame out."""

import logging
import time

import torch
from torch.nn.functional import interpolate

from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.student.loader import FrameWindows, loader, offsets
from vadistill.student.losses import reconstruction_loss
from vadistill.student.network import AutoEncoder, scale_frames
from vadistill.student.training import place
from vadistill.training.checkpoint import file_stamp
from vadistill.training.device import autocast, in_layout, loader_workers, pick_device
from vadistill.training.meters import Averages, finite
from vadistill.training.run import Stateful, TrainingRun

log = logging.getLogger(__name__)


def middle_frame(frames: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Return the middle one of scaled frames (N, 3 * F, H, W) at ``size`` = (h, w), (N, 3, h, w), bicubic."""
    first = frames.shape[1] // 2 - 1
    return interpolate(frames[:, first : first + 3], size, mode="bicubic", align_corners=False)


def main(args) -> None:
    """Train the auto-encoder."""
    student = section("student", args.settings["student"])
    settings = section("pretraining", args.settings["pretraining"])
    device = pick_device()
    torch.manual_seed(settings.seed)
    network = in_layout(AutoEncoder(student).to(device), torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, settings.decay_every, settings.decay)
    windows = FrameWindows(args.frames, (student.height, student.width), offsets(student.frames, student.frame_step))
    log.info("pre-training on %s, %d frames of %d clips", device, len(windows), len(windows.stores))
    training = TrainingRun(args.output, file_stamp(canonical(args.settings), args.frames), settings.seed)
    parts: dict[str, Stateful] = {"network": network, "optimiser": optimiser, "schedule": schedule}
    for epoch, generator in training.epochs("pretraining", settings.epochs, parts):
        started, averages = time.monotonic(), Averages()
        order = windows.epoch_order(epoch, settings.frame_stride, generator)
        network.train()
        for step, (frames, *_) in enumerate(loader(windows, order, settings.batch, loader_workers())):
            scaled = scale_frames(frames.to(device, non_blocking=True))
            with autocast(device, on_processors=True, precision=settings.precision):
                made = network(scaled)
            loss = reconstruction_loss(made, middle_frame(scaled, made.shape[-2:]))
            optimiser.zero_grad(set_to_none=True)
            finite(loss, place(windows, order, settings.batch, epoch, step)).backward()
            optimiser.step()
            averages.add({"train_loss": loss.detach()}, len(frames))
        schedule.step()
        rate = averages.count / (time.monotonic() - started)
        training.record("pretraining", epoch, {**averages.means(), "frames_per_second": rate})
    weights = {key: value.cpu() for key, value in network.state_dict().items()}
    training.finish({"kind": "autoencoder", "settings": canonical(args.settings), "weights": weights})


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("frames",))
    run(main, arguments)
