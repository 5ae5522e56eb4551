"""Rule measure_speed: the student and frames of a test clip in, frames a second of every backend out."""

import logging
import tempfile
from itertools import islice
from pathlib import Path

from vadistill.benchmark.speed import FILM, measure_speed
from vadistill.io.files import write_json
from vadistill.io.frames import FrameStore
from vadistill.io.mp4 import write_mp4
from vadistill.settings import canonical
from vadistill.stages._run import add_paths, parser, run
from vadistill.training.device import pick_device

log = logging.getLogger(__name__)
FRAMES_PER_SECOND = 25.0  # of a clip that does not say


def main(args) -> None:
    """Make a film of the clip's first frames and measure the student on it."""
    store = FrameStore(args.frames)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        write_mp4(film, islice(store, FILM[pick_device().type]), store.fps or FRAMES_PER_SECOND)
        made = measure_speed(args.model, film)
    for row in made["table"]:
        rate = f"{row['frames_per_second']:9.1f} frames/s, {row['times_official']:5.2f} times the official layout"
        log.info("%-8s batch %2d  %-24s %s", row["part"], row["batch"], row["backend"], rate)
    write_json(args.output, {**made, "clip": store.clip, "settings": canonical(args.settings)})


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "model", "frames", "output")
    run(main, arguments)
