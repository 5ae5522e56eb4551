"""Training clips that are too short to be used, found before anything is made of them.

The workflow asks for them while it is parsed, where nothing but the standard library is imported. So frames are counted
by a process of its own: those of a stored clip, or the first few of its source.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import count, islice
from pathlib import Path

from vadistill.datasets.clips import Clip
from vadistill.datasets.splits import first_held_out
from vadistill.errors import InputError
from vadistill.io.names import IMAGE_SUFFIXES, visible
from vadistill.settings import LEAST_FRAMES


def short_clips(clips: Iterable[Clip], store_of: Callable[[str], str | Path]) -> dict[str, int]:
    """Return the number of frames of each clip that has fewer than ``LEAST_FRAMES``.

    What cannot be read is not judged here: it is named when its frames are extracted.

    Args:
        clips: Training clips.
        store_of: Where the stored frames of a clip lie, given its name, once they are extracted.
    """
    counts = count_frames({clip.name: _place(clip, Path(store_of(clip.name))) for clip in clips}, LEAST_FRAMES)
    return {name: count for name, count in counts.items() if count < LEAST_FRAMES}


def count_frames(places: dict[str, Path], most: int) -> dict[str, int]:
    """Return how many frames there are in videos, folders of images and stored clips, by name, counting to ``most``.

    One that cannot be read is left out, and so are all where the packages that read them are not installed.
    """
    long = {name: most for name, path in places.items() if _many_images(path, most)}
    asked = {name: str(path.absolute()) for name, path in places.items() if name not in long}
    if not asked:
        return long
    source = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps([most, asked]),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
    )
    # A line for each as it is counted: a file that ends the process does not cost the ones before it their count.
    return long | dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith('["'))


def check_single(clip: Clip, store: str | Path, share: float, frames: int | None = None) -> None:
    """Check that the only training clip is long enough to be divided in time.

    Args:
        clip: The clip.
        store: Where its stored frames lie, once they are extracted.
        share: Of the clip, its last part, that is held out.
        frames: How many it has; None: they are counted, as far as it matters.

    Raises:
        InputError: Its held-out part is too short.
    """
    least = next(n for n in count(LEAST_FRAMES) if n - first_held_out(1 - share, n) >= LEAST_FRAMES)
    if frames is None:
        frames = count_frames({clip.name: _place(clip, Path(store))}, least).get(clip.name, least)
    if frames < least:
        raise InputError(
            f"{clip.source}: {frames} frames, of which the last {100 * share:g} % (held_out.share) are held out, as "
            f"there is no other training clip; expected at least {least} frames, so that these are {LEAST_FRAMES}: "
            "give more clips, a longer one, or a larger held_out.share"
        )


def _place(clip: Clip, store: Path) -> Path:
    """Return the stored clip where it is newer than its source, else the source: to open it is quicker."""
    try:
        return store if store.stat().st_mtime > clip.source.stat().st_mtime else clip.source
    except OSError:
        return clip.source


def _many_images(path: Path, most: int) -> bool:
    """Return whether a folder has so many images that they need not be read."""
    return path.is_dir() and sum(image.suffix.lower() in IMAGE_SUFFIXES for image in visible(path)) >= most


def _count(path: Path, most: int) -> int:
    from vadistill.io.frames import FrameStore
    from vadistill.io.media.video import frames_of

    if path.suffix == ".h5":
        return min(len(FrameStore(path)), most)
    return sum(1 for _ in islice(frames_of(path), most))


def _main() -> None:
    most, places = json.load(sys.stdin)
    for name, path in places.items():
        try:
            print(json.dumps([name, _count(Path(path), most)]), flush=True)
        except (InputError, OSError):
            continue


if __name__ == "__main__":
    _main()
