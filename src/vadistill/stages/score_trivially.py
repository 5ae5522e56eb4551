"""Rule score_trivially: frames and detections of a shard in, frame scores that need no model out."""

import logging
import time
from pathlib import Path

from vadistill.detection.objects import read_objects
from vadistill.errors import InputError
from vadistill.evaluation.baselines import trivial_scores
from vadistill.io import frame_scores
from vadistill.io.detections import class_names
from vadistill.io.hdf5 import write_attributes, writing
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.teachers.loader import frame_stores

log = logging.getLogger(__name__)


def main(args) -> None:
    """Score every frame of the clips that the detections name."""
    stores, classes = frame_stores(args.frames), class_names(args.detections[0])
    person = classes.index("person") if "person" in classes else None
    with writing(args.output) as file:
        write_attributes(file, settings=canonical(args.settings))
        for clip in read_objects(args.detections, section("objects", args.settings["objects"]), args.moving):
            if clip.clip not in stores:
                raise InputError(f"clip {clip.clip}: detections without frames")
            store = stores[clip.clip]
            if len(store) != clip.frames:
                raise InputError(f"{store.path}: {len(store)} frames; expected the detections' {clip.frames}")
            started = time.monotonic()
            scores = trivial_scores(store, clip.frame, clip.box, clip.probabilities, person)
            store.close()
            frame_scores.write_clip(file, clip.clip, scores)
            rate = clip.frames / (time.monotonic() - started)
            log.info("clip %s: %d frames, %.0f frames/s", clip.clip, clip.frames, rate)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("frames", "detections"))
    arguments.add_argument("--moving", type=Path, nargs="*", default=[])
    run(main, arguments)
