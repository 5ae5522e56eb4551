"""Rule distill_student: pre-trained backbone, training frames and the teachers' maps in, the student out."""

import json
import logging
import time
from pathlib import Path

import torch

from vadistill.averages import Averages
from vadistill.data.maps import MapStore
from vadistill.data.store import by_teacher
from vadistill.data.windows import FrameWindows, loader
from vadistill.distillation import Distiller
from vadistill.errors import InputError
from vadistill.machine import loader_workers, pick_device
from vadistill.models.student import scale_frames
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.training import TrainingRun, file_stamp, load_model

log = logging.getLogger(__name__)


def teacher_maps(paths: list[Path], names: tuple[str, ...]) -> dict[str, list[Path]]:
    """Return the map files by teacher, which must be just the ones that the settings name."""
    given = by_teacher(paths)
    if set(given) != set(names):
        raise InputError(f"maps are given of {', '.join(sorted(given))}; expected those of {', '.join(names)}")
    return {name: given[name] for name in names}


def main(args) -> None:
    """Distil the teachers into the student."""
    network = section("student", args.settings["student"])
    settings = section("distillation", args.settings["distillation"])
    resolutions = section("maps", args.settings["maps"]).resolutions
    paths, device = teacher_maps(args.maps, settings.teachers), pick_device()
    torch.manual_seed(settings.seed)
    distiller = Distiller(network, settings, resolutions, device)
    inputs, used = [*args.frames, *args.maps], dict(args.settings)
    if settings.pretrained:
        pretrained = load_model(args.pretrained, "autoencoder")
        distiller.student.load_backbone(pretrained["weights"])
        used["pretraining"] = json.loads(pretrained["settings"])["pretraining"]
        inputs.append(args.pretrained)
    stores = {name: MapStore(shards) for name, shards in paths.items()}
    windows = FrameWindows(args.frames, (network.height, network.width), network.frame_step, stores, resolutions)
    log.info("distilling %s on %s, %d frames", " and ".join(settings.teachers), device, len(windows))
    training = TrainingRun(args.output, file_stamp(canonical(args.settings), inputs), settings.seed)
    for epoch, generator in training.epochs("distillation", settings.epochs, distiller.parts()):
        started, averages = time.monotonic(), Averages()
        order = windows.epoch_order(epoch, settings.frame_stride, generator)
        for step, (frames, targets) in enumerate(loader(windows, order, settings.batch, loader_workers())):
            scaled = scale_frames(frames.to(device, non_blocking=True))
            targets = {name: {g: grid.to(device) for g, grid in maps.items()} for name, maps in targets.items()}
            averages.add(
                distiller.step(scaled, targets, generator, f"epoch {epoch + 1}, batch {step + 1}"), len(frames)
            )
        distiller.schedule.step()
        rate = averages.count / (time.monotonic() - started)
        training.record("distillation", epoch, {**averages.means(), "frames_per_second": rate})
    weights = {key: value.cpu() for key, value in distiller.student.state_dict().items()}
    training.finish({"kind": "student", "settings": canonical(used), "weights": weights})


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--pretrained", type=Path, nargs="?")
    add_paths(arguments, "output", many=("frames", "maps"))
    run(main, arguments)
