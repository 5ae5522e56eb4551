"""Rule find_moving: frames of a shard's clips in, boxes of the regions that move out."""

import logging
import time

import numpy as np

from vadistill.detection.moving_regions import moving_boxes
from vadistill.io.detections import Detections, write_clip
from vadistill.io.frames import FrameStore
from vadistill.io.hdf5 import write_attributes, writing
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def joined(store: FrameStore, found: list[np.ndarray]) -> Detections:
    """Join the regions of a clip's frames into one table, in the form of detections without classes."""
    frame = np.repeat(np.arange(len(found)), [len(box) for box in found])
    size, box = (store.height, store.width), np.concatenate(found)
    return Detections(store.clip, len(found), size, frame, box, np.ones(len(box)), np.zeros((len(box), 0)))


def main(args) -> None:
    """Find the moving regions in every frame of the given clips."""
    settings = section("moving", args.settings["moving"])
    with writing(args.output) as file:
        write_attributes(file, settings=canonical(args.settings))
        for path in args.frames:
            store, started = FrameStore(path), time.monotonic()
            table = joined(store, list(moving_boxes(store, settings)))
            store.close()
            write_clip(file, table)
            rate = table.frames / (time.monotonic() - started)
            log.info("clip %s: %d boxes in %d frames, %.1f frames/s", table.clip, len(table), table.frames, rate)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("frames",))
    run(main, arguments)
