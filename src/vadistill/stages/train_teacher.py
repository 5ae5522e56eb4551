"""Rule train_teacher: training frames and detections in, a trained teacher out."""

import logging
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vadistill.detection.objects import index_objects
from vadistill.io.detections import class_names
from vadistill.io.frames import frame_stores
from vadistill.io.object_flow import flow_stores
from vadistill.processors import cores
from vadistill.settings import canonical, section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run
from vadistill.teachers.image_pool import read_image_pool
from vadistill.teachers.loader import TrainingObjects, hold_out
from vadistill.teachers.pretrained.weights import cached_weights
from vadistill.teachers.registry import build
from vadistill.teachers.training import fit
from vadistill.training.checkpoint import file_stamp
from vadistill.training.device import pick_device
from vadistill.training.parallel import processes
from vadistill.training.run import TrainingRun

log = logging.getLogger(__name__)


def network_weights(given: Path | None, network: str, device: torch.device) -> Path | None:
    """Return the file of the weights of the pre-trained network that the settings want, if any is there."""
    path = given or (cached_weights(network) if network else None)
    if path:
        log.info("%s with the weights in %s%s", network, path, "; slow on a CPU" if device.type == "cpu" else "")
    return path


def main(args) -> None:
    """Train a teacher on objects of the training clips."""
    settings = section(args.teacher, args.settings[args.teacher])
    chosen = section("objects", args.settings["objects"])
    share = section("held_out", args.settings["held_out"]).share
    clips = index_objects(args.detections, chosen, args.moving)
    scenes = sorted({clip.scene for clip in clips})
    classes, device = class_names(args.detections[0]), pick_device(fixed_shapes=True)
    teacher = build(args.teacher, settings, len(classes), len(scenes)).to(device)
    if args.image_pool:
        teacher.pool = torch.from_numpy(read_image_pool(args.image_pool, 2 * settings.crop))
    network = network_weights(args.network, settings.network, device)
    teacher.load_network(network)
    fitted, held = hold_out(clips, share)
    if share and not held:
        log.warning("no object in the held-out clips: every phase runs to its last epoch")
    drawn = partial(TrainingObjects, frame_stores(args.frames), objects=chosen, scenes=scenes,
                    request=teacher.training_crops(), threads=max(1, cores() // processes()),
                    kept=flow_stores(args.flow, settings.flow))  # fmt: skip
    limit, seed = settings.max_objects, settings.seed
    held_samples = drawn(parts=held, limit=max(1, round(limit * share)), seed=(seed, 1))
    inputs = [*args.frames, *args.detections, *args.moving, *([network] if network else [])]
    start = partial(TrainingRun, args.output, file_stamp(canonical(args.settings), inputs), seed)
    with closing(drawn(parts=fitted, limit=limit, seed=(seed, 0))) as samples:
        training, weights = fit(teacher, settings, samples, held_samples, start, device)
    content: dict[str, Any] = {"settings": canonical(args.settings[args.teacher]), "classes": classes, "scenes": scenes}
    content["network"] = network.name if network else None
    training.finish({"kind": args.teacher, **content, "weights": weights})


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--teacher", required=True)
    add_paths(arguments, "output", many=("frames", "detections"))
    add_optional_paths(arguments, "moving", "flow")
    for name in ("image-pool", "network"):
        arguments.add_argument(f"--{name}", type=Path, nargs="?")
    run(main, arguments, lambda given: given.teacher)
