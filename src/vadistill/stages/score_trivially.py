"""Rule score_trivially: a shard's frames, detections and motion in, frame scores that need no model out."""

import logging
import time
from pathlib import Path

from vadistill.detection.objects import read_objects
from vadistill.errors import InputError
from vadistill.evaluation.baselines import trivial_scores
from vadistill.evaluation.flow_by_row import FlowByRow
from vadistill.io import frame_scores
from vadistill.io.detections import class_names
from vadistill.io.frames import frame_stores
from vadistill.io.hdf5 import write_attributes, writing
from vadistill.io.motion import read_speeds
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def main(args) -> None:
    """Score every frame of the clips that the detections name."""
    settings = section("objects", args.settings["objects"])
    stores, classes = frame_stores(args.frames), class_names(args.detections[0])
    person = classes.index("person") if "person" in classes else None
    speeds = dict(read_speeds(args.motion))
    by_row = FlowByRow.read(args.fitted)
    with writing(args.output) as file:
        write_attributes(file, settings=canonical(args.settings))
        for clip in read_objects(args.detections, settings, args.moving):
            for known, what in ((stores, "frames"), (speeds, "motion")):
                if clip.clip not in known:
                    raise InputError(f"clip {clip.clip}: detections without {what}")
            store, speed = stores[clip.clip], speeds[clip.clip]
            if not clip.frames == len(store) == len(speed):
                raise InputError(f"{store.path}: {len(store)} frames, and motion of {len(speed)}; expected the "
                                 f"detections' {clip.frames}")  # fmt: skip
            started = time.monotonic()
            scores = trivial_scores(store, clip.frame, clip.box, clip.probabilities, person)
            store.close()
            frame_scores.write_clip(file, clip.clip, {**scores, "flow_by_row": by_row(speed, clip.scene)})
            rate = clip.frames / (time.monotonic() - started)
            log.info("clip %s: %d frames, %.0f frames/s", clip.clip, clip.frames, rate)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "fitted", "output", many=("frames", "detections", "motion"))
    arguments.add_argument("--moving", type=Path, nargs="*", default=[])
    run(main, arguments)
