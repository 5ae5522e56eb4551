"""Rule compute_motion: frames of a shard's clips in, their motion by cells out."""

import logging
import time

from vadistill.detection.motion import motion_of_clip
from vadistill.io import motion
from vadistill.io.frames import FrameStore
from vadistill.io.hdf5 import write_attributes, writing
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def main(args) -> None:
    """Measure the motion in every frame of the given clips."""
    settings = section("motion", args.settings["motion"])
    with writing(args.output) as file:
        write_attributes(file, settings=canonical(args.settings))
        for path in args.frames:
            store, started = FrameStore(path), time.monotonic()
            made = motion_of_clip(store, settings)
            store.close()
            motion.write_clip(file, made)
            rate = len(made) / (time.monotonic() - started)
            log.info("clip %s: %d frames, %.0f frames/s", made.clip, len(made), rate)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("frames",))
    run(main, arguments)
