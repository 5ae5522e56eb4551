"""Rule distill_student: pre-trained backbone, frames and the teachers' maps in, the student out."""

import json
import logging
from pathlib import Path

import torch

from vadistill.evaluation.health import complaints_of_training
from vadistill.frame_level.registry import unscored
from vadistill.frame_level.student import StudentDetector
from vadistill.io.maps import maps_of_teachers
from vadistill.io.provenance import data_fingerprint
from vadistill.settings import canonical, section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run
from vadistill.student.distillation import Distiller
from vadistill.student.scoring import validation_windows, windows_of
from vadistill.student.training import distillation_phase
from vadistill.training.checkpoint import drop_state, file_stamp, fitting, load_model
from vadistill.training.device import pick_device
from vadistill.training.run import TrainingRun
from vadistill.windows.training_conditions import KEY, Conditions

log = logging.getLogger(__name__)


def main(args) -> None:
    """Distil the teachers into the student."""
    network = section("student", args.settings["student"])
    settings = section("distillation", args.settings["distillation"])
    resolutions = section("maps", args.settings["maps"]).resolutions
    maps, device = maps_of_teachers(args.maps, settings.teachers), pick_device(fixed_shapes=True)
    torch.manual_seed(settings.seed)
    held_out = args.settings["held_out_clips"]
    distiller = Distiller(network, settings, resolutions, device)
    inputs = [*args.frames, *args.maps, *args.validation, *args.boxes, *args.validation_maps]
    used, shortened = dict(args.settings), []
    if settings.pretrained:
        pretrained = load_model(args.pretrained, "autoencoder")
        with fitting(args.pretrained):
            distiller.load_backbone(pretrained["weights"])
            used["pretraining"] = json.loads(pretrained["settings"])["pretraining"]
        shortened += pretrained.get("shortened", [])
        inputs.append(args.pretrained)
        drop_state(args.pretrained)
    windows = windows_of(args.frames, network, held_out=held_out, keep=True, maps=maps, resolutions=resolutions)
    validation = None
    if settings.selection == "validation":
        drawn = maps_of_teachers(args.validation_maps, settings.teachers)
        validation = validation_windows(args.validation, args.boxes, network, drawn, resolutions)
    log.info("distilling %s on %s, %d frames", " and ".join(settings.teachers), device, len(windows.drawn))
    training = TrainingRun(args.output, file_stamp(canonical(args.settings), inputs), settings.seed)
    training.fit([distillation_phase(distiller, windows, validation)])
    used["training_data"] = data_fingerprint({store.clip: store.fingerprint for store in windows.stores})
    learned = [store for store in windows.stores if held_out.get(store.clip, 1.0) > 0]
    used[KEY] = Conditions.of(store for store in learned if store.split == "train").record()
    used["warnings"] = [*complaints_of_training(training.records[-1]), *shortened, *training.shortened]
    weights = {key: value.cpu() for key, value in distiller.result.state_dict().items()}
    training.finish({"kind": unscored(StudentDetector.name), "settings": canonical(used), "weights": weights})


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--pretrained", type=Path, nargs="?")
    add_paths(arguments, "output", many=("frames", "maps"))
    add_optional_paths(arguments, "validation", "boxes", "validation-maps")
    run(main, arguments, lambda given: "distillation")
