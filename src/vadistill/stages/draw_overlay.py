"""Rules draw_overlay, draw_detector_overlay: a film of one test clip with the heat and score of a frame-level detector.

Of the student, the teachers' boxes and score are in it, too.
"""

import logging
import time

from vadistill.datasets.labels import read_labels
from vadistill.datasets.registry import read_clips
from vadistill.evaluation.results import objects_by_teacher
from vadistill.io.frames import FrameStore
from vadistill.io.maps import MapStore
from vadistill.io.mp4 import write_mp4
from vadistill.report.overlays import Overlay, findings_of
from vadistill.settings import section
from vadistill.stages._run import add_optional_paths, add_paths, parser, run

log = logging.getLogger(__name__)
FRAME_RATE = 25.0  # where the clip declares none, as a folder of images


def main(args) -> None:
    """Draw the film of one clip."""
    store, sigma = FrameStore(args.frames), section("evaluation", args.settings["evaluation"]).smoothing_sigma
    clips = {c.name: c for c in read_clips(args.settings["layout"], args.settings["path"]) if c.split == "test"}
    labels = read_labels(clips[store.clip], len(store), (store.height, store.width))
    teachers = objects_by_teacher(args.objects, args.calibrations)
    found = findings_of(store, MapStore([args.scores]), teachers, sigma, labels, args.detector)
    overlay = Overlay(store.clip, found)
    start = time.perf_counter()
    write_mp4(args.output, (overlay.draw(t, frame) for t, frame in enumerate(store)), store.fps or FRAME_RATE)
    log.info("clip %s: %d frames, %.0f a second", store.clip, len(store), len(store) / (time.perf_counter() - start))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--detector", required=True)
    add_paths(arguments, "frames", "scores", "output")
    add_optional_paths(arguments, "objects", "calibrations")
    run(main, arguments)
