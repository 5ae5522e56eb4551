"""Rule pretrain_student: training frames in, the student's backbone as an auto-encoder of the middle frame out."""

import logging

import torch

from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.student.network import AutoEncoder
from vadistill.student.pretraining import pretraining_phase
from vadistill.student.scoring import windows_of
from vadistill.training.checkpoint import file_stamp
from vadistill.training.device import in_layout, pick_device
from vadistill.training.run import TrainingRun

log = logging.getLogger(__name__)


def main(args) -> None:
    """Train the auto-encoder."""
    student = section("student", args.settings["student"])
    settings = section("pretraining", args.settings["pretraining"])
    device = pick_device()
    torch.manual_seed(settings.seed)
    network = in_layout(AutoEncoder(student).to(device), torch.channels_last)
    windows = windows_of(args.frames, student, keep=True)
    log.info("pre-training on %s, %d frames of %d clips", device, len(windows), len(windows.stores))
    training = TrainingRun(args.output, file_stamp(canonical(args.settings), args.frames), settings.seed)
    training.fit([pretraining_phase(network, settings, windows, device)])
    weights = {key: value.cpu() for key, value in network.state_dict().items()}
    training.finish({"kind": "autoencoder", "settings": canonical(args.settings), "weights": weights})


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("frames",))
    run(main, arguments)
