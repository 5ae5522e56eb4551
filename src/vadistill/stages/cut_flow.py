"""Rule cut_flow: frames and detections of a shard in, the dense flow of each object out, for all teachers."""

import logging
import time
from collections.abc import Iterator

import cv2
import numpy as np

from vadistill.detection.objects import read_objects
from vadistill.errors import InputError
from vadistill.io import object_flow
from vadistill.io.detections import Detections
from vadistill.io.frames import FrameStore, frame_stores
from vadistill.io.hdf5 import write_attributes, writing
from vadistill.settings import canonical, section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run
from vadistill.teachers.crops import ClipCrops, CropRequest

log = logging.getLogger(__name__)


def flow_of_clip(store: FrameStore, objects: Detections, request: CropRequest) -> Iterator[np.ndarray]:
    """Yield the flow (n, 2, 2, S, S) float16 of the objects of each frame that has some."""
    crops, rng = ClipCrops(store, request), np.random.default_rng(0)
    for t in np.unique(objects.frame):
        yield crops.cut(int(t), objects.box[objects.frame == t], rng)["flow"]
    store.close()


def main(args) -> None:
    """Measure the flow of every object of the given detections."""
    settings, chosen = (section(name, args.settings[name]) for name in ("object_flow", "objects"))
    request = CropRequest(settings.crop, flow=(-settings.step, settings.step), border=settings.border)
    stores = frame_stores(args.frames)
    cv2.setNumThreads(1)  # DIS with other threads has other results
    with writing(args.output) as file:
        write_attributes(file, settings=canonical(args.settings))
        object_flow.write_cut(file, settings.cut)
        for objects in read_objects(args.detections, chosen, args.moving):
            if objects.clip not in stores:
                raise InputError(f"clip {objects.clip}: detections without frames")
            started = time.monotonic()
            object_flow.write_clip(file, objects, flow_of_clip(stores[objects.clip], objects, request))
            rate = len(objects) / (time.monotonic() - started)
            log.info("clip %s: %d objects, %.0f objects/s", objects.clip, len(objects), rate)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("frames", "detections"))
    add_optional_paths(arguments, "moving")
    run(main, arguments)
