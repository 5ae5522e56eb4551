"""Rule fit_score: a trained frame-level detector and training frames in, the detector with its score out."""

import logging

from vadistill.frame_level.registry import read_trained, untrained
from vadistill.settings import canonical
from vadistill.stages._run import add_paths, parser, run
from vadistill.training.checkpoint import drop_state, fitting, save
from vadistill.training.device import pick_device

log = logging.getLogger(__name__)


def main(args) -> None:
    """Give a trained detector the settings of its score, and what that needs to know of normal clips."""
    device, name = pick_device(fixed_shapes=True), args.detector
    used, weights = read_trained(args.trained, name)
    with fitting(args.trained):
        used |= {**args.settings, name: {**used[name], **args.settings[name]}}
        detector, held_out = untrained(name, used), used["held_out_clips"]
    windows = detector.windows(args.frames, held_out=held_out)
    log.info("the score of %s on %s, %d frames to draw from", name, device, len(windows.drawn))
    with fitting(args.trained):
        made = {key: value.cpu() for key, value in detector.with_score(weights, windows, device).items()}
    save({"kind": name, "settings": canonical(used), "weights": made}, args.output)
    drop_state(args.trained)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--detector", required=True)
    add_paths(arguments, "trained", "output", many=("frames",))
    run(main, arguments)
