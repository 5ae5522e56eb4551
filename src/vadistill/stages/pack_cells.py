"""Rule pack_cells: the teacher flow_cells and its calibration in, a frame-level detector that scores frames out."""

import json

from vadistill.io.frames import FrameStore
from vadistill.maps.calibration_file import read_calibration
from vadistill.settings import canonical
from vadistill.stages._run import add_paths, parser, run
from vadistill.training.checkpoint import load_model, save
from vadistill.windows.training_conditions import KEY, Conditions


def main(args) -> None:
    """Put together what ``frame_level.flow_cells`` needs."""
    model, calibration = load_model(args.model, "flow_cells"), read_calibration(args.calibration)
    clips = [FrameStore(path) for path in args.frames]
    used = {
        **args.settings,
        "flow_cells": json.loads(model["settings"]),
        "scenes": model["scenes"],
        "calibrated": calibration["score"],
        "calibration": calibration["settings"],
        "size": [clips[0].height, clips[0].width],
        KEY: Conditions.of(clips).record(),
    }
    save({"kind": "flow_cells", "settings": canonical(used), "weights": model["weights"]}, args.output)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "model", "calibration", "output", many=("frames",))
    run(main, arguments)
