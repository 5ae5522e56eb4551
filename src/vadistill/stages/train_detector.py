"""Rule train_detector: training frames in, a detector that learns of frames alone out, without its score."""

import logging

import torch

from vadistill.frame_level.registry import unscored, untrained
from vadistill.io.provenance import data_fingerprint
from vadistill.settings import canonical
from vadistill.stages._run import add_paths, parser, run
from vadistill.training.checkpoint import file_stamp
from vadistill.training.device import pick_device
from vadistill.training.run import TrainingRun
from vadistill.windows.training_conditions import KEY, Conditions

log = logging.getLogger(__name__)


def main(args) -> None:
    """Train the detector on the clips that are not held out."""
    device, detector = pick_device(fixed_shapes=True), untrained(args.detector, args.settings)
    seed = args.settings[args.detector].get("seed", 0)
    torch.manual_seed(seed)
    held_out = args.settings["held_out_clips"]
    windows = detector.training_windows(args.frames, held_out)
    log.info("training %s on %s, %d frames", args.detector, device, len(windows.drawn))
    training = TrainingRun(args.output, file_stamp(canonical(args.settings), args.frames), seed)
    weights = detector.fit(training, windows, device)
    used = {
        **args.settings,
        "training_data": data_fingerprint({store.clip: store.fingerprint for store in windows.stores}),
        KEY: Conditions.of(store for store in windows.stores if held_out.get(store.clip, 1.0) > 0).record(),
    }
    used |= {"warnings": training.shortened} if training.shortened else {}
    weights = {key: value.cpu() for key, value in weights.items()}
    training.finish({"kind": unscored(args.detector), "settings": canonical(used), "weights": weights})


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--detector", required=True)
    add_paths(arguments, "output", many=("frames",))
    run(main, arguments, lambda given: given.detector)
