"""Rule train_teacher: training frames and detections in, a trained teacher out."""

import logging
import time

import torch

from vadistill.data.detections import class_names, read_objects
from vadistill.data.objects import draw_objects, frame_stores, hold_out
from vadistill.machine import cores, pick_device
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.teachers import build
from vadistill.teachers.epoch import held_out_losses, train_one_epoch
from vadistill.training import EarlyStopping, TrainingRun, file_stamp

log = logging.getLogger(__name__)


def main(args) -> None:
    """Train a teacher, phase by phase, on objects of the training clips."""
    settings = section(args.teacher, args.settings[args.teacher])
    clips = list(read_objects(args.detections, section("objects", args.settings["objects"])))
    classes = class_names(args.detections[0])
    fitted, held = hold_out(clips, settings.held_out)
    stores, device = frame_stores(args.frames), pick_device()
    teacher = build(args.teacher, settings, len(classes)).to(device)
    started = time.monotonic()

    def draw(part: list, epoch: int) -> dict[str, torch.Tensor]:
        limit = settings.max_objects if part is fitted else max(1, round(settings.max_objects * settings.held_out))
        seed = (settings.seed, epoch, int(part is held))
        return draw_objects(stores, part, teacher.training_crops(), limit, seed, cores())

    objects = draw(fitted, 0)
    held_objects = draw(held, 0) if sum(map(len, held)) else None
    log.info("%s on %s: %d objects, %d held out, read in %.0f s", args.teacher, device, len(objects["box"]),
             len(held_objects["box"]) if held_objects else 0, time.monotonic() - started)  # fmt: skip
    teacher.prepare(objects)
    training = TrainingRun(
        args.output, file_stamp(canonical(args.settings), [*args.frames, *args.detections]), settings.seed
    )
    for phase in teacher.phases():
        early = EarlyStopping(teacher, settings.patience) if held_objects and phase.early_stop else None
        parts = {"teacher": teacher, "optimiser": phase.optimiser}
        for epoch, generator in training.epochs(phase.name, phase.epochs, parts, early):
            if epoch == 0:
                phase.start()
            elif teacher.redraw:
                objects = None  # two samples never lie in memory at a time
                objects = draw(fitted, epoch)
            begun = time.monotonic()
            metrics = train_one_epoch(teacher, phase, objects, settings.batch, generator, device)
            metrics["objects_per_second"] = len(objects["box"]) / (time.monotonic() - begun)
            if held_objects:
                metrics |= held_out_losses(teacher, phase, held_objects, settings.batch, training.seed, device)
            if early:
                early.update(metrics["held_out_loss"])
            training.record(phase.name, epoch, metrics)
    training.finish(
        {
            "kind": args.teacher,
            "settings": canonical(args.settings[args.teacher]),
            "classes": classes,
            "weights": {key: value.cpu() for key, value in teacher.state_dict().items()},
        }
    )


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--teacher", required=True)
    add_paths(arguments, "output", many=("frames", "detections"))
    run(main, arguments)
