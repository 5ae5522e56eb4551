"""Rule train_teacher: training frames and detections in, a trained teacher out."""

import logging
import time
from functools import partial
from pathlib import Path

import torch

from vadistill.data.detections import class_names, index_objects
from vadistill.data.images import read_image_pool
from vadistill.data.objects import TrainingObjects, frame_stores, hold_out
from vadistill.machine import cores, pick_device
from vadistill.models.imagenet import load_resnet50
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.teachers import build
from vadistill.teachers.epoch import held_out_losses, train_one_epoch
from vadistill.training import EarlyStopping, TrainingRun, file_stamp

log = logging.getLogger(__name__)


def main(args) -> None:
    """Train a teacher, phase by phase, on objects of the training clips."""
    settings = section(args.teacher, args.settings[args.teacher])
    chosen = section("objects", args.settings["objects"])
    share = section("held_out", args.settings["held_out"]).share
    clips = index_objects(args.detections, chosen, args.moving)
    scenes = sorted({clip.scene for clip in clips})
    classes, device = class_names(args.detections[0]), pick_device()
    teacher = build(args.teacher, settings, len(classes), len(scenes)).to(device)
    if args.image_pool:
        teacher.pool = torch.from_numpy(read_image_pool(args.image_pool, 2 * settings.crop))
    if args.imagenet:
        teacher.imagenet = load_resnet50(args.imagenet)
    request = teacher.training_crops()
    drawn = partial(TrainingObjects, frame_stores(args.frames), objects=chosen, scenes=scenes, request=request)
    fitted, held = hold_out(clips, share)
    limit, seed, started = settings.max_objects, settings.seed, time.monotonic()
    samples = drawn(parts=fitted, limit=limit, seed=(seed, 0), threads=cores())
    held_samples = drawn(parts=held, limit=max(1, round(limit * share)), seed=(seed, 1), threads=cores())
    objects = samples.sample(0)
    held_objects = held_samples.sample(0) if len(held_samples) else None
    log.info("%s on %s: %d of %d objects, %d held out, read in %.0f s", args.teacher, device, len(objects["box"]),
             len(samples), len(held_objects["box"]) if held_objects else 0, time.monotonic() - started)  # fmt: skip
    if share and not held_objects:
        log.warning("no object in the held-out clips: every phase runs to its last epoch")
    teacher.prepare(objects)
    inputs = [*args.frames, *args.detections, *args.moving]
    training = TrainingRun(args.output, file_stamp(canonical(args.settings), inputs), seed)
    for phase in teacher.phases():
        early = EarlyStopping(teacher, settings.patience) if held_objects and phase.early_stop else None
        parts = {"teacher": teacher, "optimiser": phase.optimiser}
        for epoch, generator in training.epochs(phase.name, phase.epochs, parts, early):
            waited = 0.0
            if epoch == 0:
                phase.start()
            elif teacher.redraw:
                objects, begun = None, time.monotonic()
                objects = samples.sample(epoch)
                waited = time.monotonic() - begun
            if teacher.redraw and epoch + 1 < phase.epochs:
                samples.read_ahead(epoch + 1)
            begun = time.monotonic()
            metrics = train_one_epoch(teacher, phase, objects, settings.batch, generator, device)
            metrics |= {"objects_per_second": len(objects["box"]) / (time.monotonic() - begun), "waited_s": waited}
            if held_objects:
                metrics |= held_out_losses(teacher, phase, held_objects, settings.batch, training.seed, device)
            if early:
                early.update(metrics["held_out_loss"])
            training.record(phase.name, epoch, metrics)
    weights = {key: value.cpu() for key, value in teacher.state_dict().items()}
    content = {"settings": canonical(args.settings[args.teacher]), "classes": classes, "scenes": scenes}
    training.finish({"kind": args.teacher, **content, "weights": weights})


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--teacher", required=True)
    add_paths(arguments, "output", many=("frames", "detections"))
    arguments.add_argument("--moving", type=Path, nargs="*", default=[])
    for name in ("image-pool", "imagenet"):
        arguments.add_argument(f"--{name}", type=Path, nargs="?")
    run(main, arguments)
