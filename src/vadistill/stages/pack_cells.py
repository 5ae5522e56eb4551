"""Rule pack_cells: the teacher flow_cells and its calibration in, a frame-level detector that scores frames out."""

import json
import logging

from vadistill.io.frames import FrameStore
from vadistill.io.provenance import data_fingerprint
from vadistill.maps.calibration_file import read_calibration
from vadistill.settings import canonical
from vadistill.stages._run import add_paths, parser, run
from vadistill.training.checkpoint import load_model, save
from vadistill.windows.training_conditions import KEY, Conditions

log = logging.getLogger(__name__)


def main(args) -> None:
    """Put together what ``frame_level.flow_cells`` needs."""
    model, calibration = load_model(args.model, "flow_cells"), read_calibration(args.calibration)
    clips = [FrameStore(path) for path in args.frames]
    held_out = args.settings["held_out_clips"]
    warnings: list[str] = []  # which auc.json repeats
    sizes = {(clip.height, clip.width) for clip in clips}
    if len(sizes) > 1 or len(model["scenes"]) > 1:
        warnings.append(
            f"flow_cells: training clips of {len(sizes)} sizes and {len(model['scenes'])} scenes; the detector sees "
            "frames of the first one's size, and takes what is usual in all scenes together"
        )
        log.warning(warnings[0])
    used = {
        **args.settings,
        "flow_cells": json.loads(model["settings"]),
        "scenes": model["scenes"],
        "calibrated": canonical(calibration["score"]),
        "warnings": warnings,
        "calibration": calibration["settings"],
        "size": [clips[0].height, clips[0].width],
        "training_data": data_fingerprint({clip.clip: clip.fingerprint for clip in clips}),
        KEY: Conditions.of(clip for clip in clips if held_out.get(clip.clip, 1.0) > 0).record(),
    }
    save({"kind": "flow_cells", "settings": canonical(used), "weights": model["weights"]}, args.output)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "model", "calibration", "output", many=("frames",))
    run(main, arguments)
