"""Rule measure_usual: the distilled student and training frames in, the student with what is usual out."""

import logging

from vadistill.datasets.splits import scene_of
from vadistill.frame_level.registry import read_trained
from vadistill.frame_level.student import StudentDetector
from vadistill.io.frames import FrameStore
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.training.checkpoint import drop_state, fitting, save
from vadistill.training.device import pick_device

log = logging.getLogger(__name__)


def main(args) -> None:
    """Measure what is usual on the one camera, where that is asked for."""
    used, weights = read_trained(args.model, StudentDetector.name)
    scenes = {scene_of(FrameStore(path).clip, args.settings["scene"]) for path in args.frames}
    wanted = section("surprise", args.settings["surprise"]).weights(section("student", used["student"]))
    if wanted and len(scenes) > 1:
        line = (
            f"surprise: the training clips show {len(scenes)} scenes, and what is usual is known of one; frames are "
            "scored by the maps alone, as with surprise.weight and surprise.motion_weight 0"
        )
        log.warning(line)
        used["warnings"] = [*used.get("warnings", []), line]  # which auc.json repeats
    elif wanted:
        used["surprise"] = args.settings["surprise"]
        device = pick_device(fixed_shapes=True)
        log.info("measuring what is usual on %s, in %d clips", device, len(args.frames))
        with fitting(args.model):
            weights = StudentDetector(used).with_usual(weights, args.frames, args.settings["held_out_clips"], device)
    save({"kind": StudentDetector.name, "settings": canonical(used), "weights": weights}, args.output)
    drop_state(args.model)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "model", "output", many=("frames",))
    run(main, arguments)
