"""Rule detect_objects: frames of a shard's clips in, boxes with confidence and class probabilities out."""

import logging
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from vadistill.detection.interpolate import interpolate, looked_at
from vadistill.detection.yolo import Boxes, Detector
from vadistill.io import detections
from vadistill.io.frames import FrameStore
from vadistill.io.hdf5 import attribute, write_attributes, writing
from vadistill.settings import TRUSTED_WEIGHTS, canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.training.device import pick_device

log = logging.getLogger(__name__)


def joined(store: FrameStore, found: list[Boxes], classes: int) -> detections.Detections:
    """Join the boxes of a clip's frames into one table."""
    frame = np.repeat(np.arange(len(found)), [len(boxes.box) for boxes in found])
    return detections.Detections(
        store.clip,
        len(found),
        (store.height, store.width),
        frame,
        np.concatenate([boxes.box for boxes in found]).reshape(-1, 4),
        np.concatenate([boxes.confidence for boxes in found]),
        np.concatenate([boxes.probabilities for boxes in found]).reshape(-1, classes),
    )


def detected(frames: Iterable[np.ndarray], size: tuple[int, int], detector: Detector) -> list[Boxes]:
    """Return the boxes of frames (H, W, 3) uint8 BGR of one height and width.

    While the network sees a batch, another thread turns what it said of the last one into boxes, and reads and lays
    out the next one.
    """
    letterbox, waiting = detector.letterbox(*size, detector.settings.batch), iter(frames)

    def images() -> torch.Tensor | None:
        batch = list(islice(waiting, detector.settings.batch))
        return letterbox(batch) if batch else None

    with ThreadPoolExecutor(1) as beside:
        coming, made = beside.submit(images), []
        while (batch := coming.result()) is not None:
            coming = beside.submit(images)
            made.append(beside.submit(detector.boxes, detector.raw(batch), letterbox, *size))
        return [boxes for future in made for boxes in future.result()]


def clip_detections(store: FrameStore, detector: Detector) -> detections.Detections:
    """Return the boxes of a clip; those of frames at which the detector does not look are interpolated."""
    stride, size, classes = detector.settings.frame_stride, (store.height, store.width), len(detector.classes)
    if stride == 1:
        return joined(store, detected(store, size, detector), classes)
    seen = looked_at(len(store), stride)
    found = joined(store, detected(map(store.read, seen.tolist()), size, detector), classes)
    return interpolate(replace(found, frame=seen[found.frame], frames=len(store)), stride)


def main(args) -> None:
    """Detect objects in the frames of the given clips."""
    settings = section("detection", args.settings["detection"])
    trusted = os.environ.get(TRUSTED_WEIGHTS, "").split(",")
    detector = Detector(args.weights, settings, pick_device(), trusted)
    log.info("detector %s on %s, %d classes", args.weights.name, detector.device, len(detector.classes))
    with writing(args.output) as file:
        write_attributes(file, classes=detector.classes, weights_sha256=detector.sha256)
        stored = {
            "encoding": str(attribute(args.frames[0], "encoding")),
            "quality": int(attribute(args.frames[0], "quality")),
        }
        write_attributes(file, settings=canonical({**args.settings, "frames": stored}))
        for path in args.frames:
            store, started = FrameStore(path), time.monotonic()
            table = clip_detections(store, detector)
            detections.write_clip(file, table)
            rate = len(store) / (time.monotonic() - started)
            log.info("clip %s: %d boxes in %d frames, %.1f frames/s", store.clip, len(table), len(store), rate)
            if not len(table):
                log.warning("clip %s: no box of confidence %g in any frame", store.clip, settings.confidence)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "weights", "output", many=("frames",))
    run(main, arguments)
