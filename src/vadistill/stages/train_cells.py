"""Rule train_cells: motion of the training clips in, a teacher of cells out."""

import logging
import time

import torch

from vadistill.datasets.splits import scene_of
from vadistill.io.motion import clip_names
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.teachers.cells import fitted_clips
from vadistill.teachers.registry import build_of_cells
from vadistill.training.checkpoint import save

log = logging.getLogger(__name__)


def main(args) -> None:
    """Fit a teacher to the motion of the training clips that are not held out."""
    settings, started = section(args.teacher, args.settings[args.teacher]), time.monotonic()
    share = section("held_out", args.settings["held_out"]).share
    scene_of_clip = {clip: scene_of(clip, args.settings["scene"]) for path in args.motion for clip in clip_names(path)}
    scenes = sorted(set(scene_of_clip.values()))
    weights = build_of_cells(args.teacher, settings, scenes).fit(fitted_clips(args.motion, scene_of_clip, share))
    content = {"kind": args.teacher, "settings": canonical(args.settings[args.teacher]), "scenes": scenes}
    save({**content, "weights": {name: torch.from_numpy(values) for name, values in weights.items()}}, args.output)
    shapes = ", ".join(f"{name} {values.shape}" for name, values in weights.items())
    log.info("%s: %s, in %.0f s", args.teacher, shapes, time.monotonic() - started)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--teacher", required=True)
    add_paths(arguments, "output", many=("motion",))
    run(main, arguments)
