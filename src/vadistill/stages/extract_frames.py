"""Extract the frames of one clip: a video or a folder of images becomes a frame store."""

import argparse
import logging
import time

from vadistill.io.frames import FrameStore, write_frames
from vadistill.io.media.depth import read_range
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def main(arguments: argparse.Namespace) -> None:
    """Write the frame store of one clip."""
    settings = arguments.settings
    scale = read_range(settings["depth"]) if "depth" in settings else None
    started = time.perf_counter()
    frames = write_frames(
        arguments.output,
        arguments.clip,
        arguments.split,
        arguments.source,
        settings["frames"]["encoding"],
        settings["frames"]["quality"],
        settings["fingerprint"],
        scale,
    )
    rate = frames / (time.perf_counter() - started)
    store = FrameStore(arguments.output)
    if store.repaired:
        log.warning("%s: %d frames repaired: %s", store.clip, len(store.repaired), ", ".join(map(str, store.repaired)))
    log.info("%s: %d frames of %dx%d pixels, %.0f frames/s", store.clip, frames, store.width, store.height, rate)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "source", "output")
    arguments.add_argument("--split", required=True)
    arguments.add_argument("--clip", required=True)
    run(main, arguments)
