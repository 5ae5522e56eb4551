"""Rule distill_student: pre-trained backbone, frames and the teachers' maps in, the student out."""

import json
import logging
from pathlib import Path

import numpy as np
import torch

from vadistill.data.labels import labels_of_boxes
from vadistill.data.maps import MapStore
from vadistill.data.store import by_teacher
from vadistill.data.windows import FrameWindows
from vadistill.distillation import Distiller
from vadistill.errors import InputError
from vadistill.machine import pick_device
from vadistill.settings import Student, canonical, section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run
from vadistill.student_scoring import validation_auc, windows_of
from vadistill.student_training import train_epoch
from vadistill.training import EarlyStopping, TrainingRun, file_stamp, fitting, load_model

log = logging.getLogger(__name__)


def teacher_maps(paths: list[Path], names: tuple[str, ...]) -> dict[str, list[Path]]:
    """Return the map files by teacher, which must be just the ones that the settings name."""
    given = by_teacher(paths)
    if set(given) != set(names):
        raise InputError(f"maps are given of {', '.join(sorted(given))}; expected those of {', '.join(names)}")
    return {name: given[name] for name in names}


def validation(args, network: Student, selection: str) -> tuple[FrameWindows, dict[str, np.ndarray]] | None:
    """Return the windows and labels of the split validation, where the student is selected by it."""
    if selection == "last":
        return None
    windows, labels = windows_of(args.validation, network), labels_of_boxes(args.boxes)
    if unpaired := sorted({store.clip for store in windows.stores} ^ labels.keys()):
        raise InputError(f"validation clip {unpaired[0]}: frames or boxes are missing; expected both for every clip")
    return windows, labels


def main(args) -> None:
    """Distil the teachers into the student."""
    network = section("student", args.settings["student"])
    settings = section("distillation", args.settings["distillation"])
    resolutions = section("maps", args.settings["maps"]).resolutions
    paths, device = teacher_maps(args.maps, settings.teachers), pick_device()
    torch.manual_seed(settings.seed)
    distiller = Distiller(network, settings, resolutions, device)
    inputs, used = [*args.frames, *args.maps, *args.validation, *args.boxes], dict(args.settings)
    if settings.pretrained:
        pretrained = load_model(args.pretrained, "autoencoder")
        with fitting(args.pretrained):
            distiller.load_backbone(pretrained["weights"])
            used["pretraining"] = json.loads(pretrained["settings"])["pretraining"]
        inputs.append(args.pretrained)
    windows = windows_of(
        args.frames,
        network,
        maps={name: MapStore(shards) for name, shards in paths.items()},
        resolutions=resolutions,
        held_out=args.settings["held_out_clips"],
    )
    judges = validation(args, network, settings.selection)
    best = EarlyStopping(distiller.result, patience=settings.epochs) if judges else None
    log.info("distilling %s on %s, %d frames", " and ".join(settings.teachers), device, len(windows.drawn))
    training = TrainingRun(args.output, file_stamp(canonical(args.settings), inputs), settings.seed)
    for epoch, generator in training.epochs("distillation", settings.epochs, distiller.parts(), best):
        metrics = train_epoch(distiller, windows, epoch, generator)
        if best:
            metrics["validation_auc"] = validation_auc(distiller.result, *judges, device)
            best.update(1 - metrics["validation_auc"])
        training.record("distillation", epoch, metrics)
    weights = {key: value.cpu() for key, value in distiller.result.state_dict().items()}
    training.finish({"kind": "student", "settings": canonical(used), "weights": weights})


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--pretrained", type=Path, nargs="?")
    add_paths(arguments, "output", many=("frames", "maps"))
    add_optional_paths(arguments, "validation", "boxes")
    run(main, arguments)
