"""Frame scores of videos as tables ``frame,time_s,score``, one a video, and their maps beside them."""

import logging
import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from vadistill.errors import InputError
from vadistill.files import whole_file, whole_stream
from vadistill.inference.backend import Backend, Scores
from vadistill.inference.stream import StreamTimes, score_video

log = logging.getLogger(__name__)


def score_all(sources: Sequence[Path], output: Path, backend: Backend, batch: int, maps: bool = False) -> list[str]:
    """Write ``<name>.csv`` of every source, with ``maps`` also ``<name>.npz``; the log gets a line of each.

    Returns:
        What is wrong with the sources that could not be read; the others are done.

    Raises:
        InputError: Two sources have the same name.
    """
    names = [source.absolute().name if source.is_dir() else source.stem for source in sources]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{output / name}.csv: {count} sources are named '{name}'; expected different names")
    errors = []
    for source, name in zip(sources, names, strict=True):
        times, moments, archive = StreamTimes(), deque(), output / f"{name}.npz" if maps else None
        try:
            scores = score_video(source, backend, batch, times, moments=moments)
            write_scores(output / f"{name}.csv", scores, moments, archive)
        except (InputError, OSError) as error:
            errors.append(str(error))
        else:
            log.info("%s: %s", source, times)
    return errors


def write_scores(path: Path, parts: Iterable[Scores], moments: deque[float], maps: Path | None = None) -> None:
    """Write scores as they come: the CSV file, and the maps where asked for, whole or not at all.

    Args:
        path: The CSV file; a float32 score reads back as it was.
        parts: Scores of successive frames.
        moments: Times of the frames in seconds, which are there when their scores come and are taken out; where there
            is none, ``time_s`` stays empty.
        maps: An .npz file for the maps, (T, g, g) float16 named "1x1", "4x4", "16x16". They wait on the disk, so that
            memory does not grow with the video.

    Raises:
        InputError: A score is not finite.
    """
    frame = 0
    with ExitStack() as stack:
        table = stack.enter_context(stack.enter_context(whole_file(path)).open("w", encoding="utf-8"))
        archive = stack.enter_context(whole_stream(maps)) if maps else None
        grids = {}
        table.write("frame,time_s,score\n")
        for part in parts:
            for score in part.score:
                if not math.isfinite(score):
                    raise InputError(f"{path}: the score of frame {frame} is {score}; expected a finite number")
                table.write(f"{frame},{f'{moments.popleft():.3f}' if moments else ''},{score!s}\n")
                frame += 1
            for g, grid in part.maps.items() if archive else ():
                if g not in grids:
                    grids[g] = stack.enter_context(TemporaryFile(dir=maps.parent))
                grids[g].write(grid.astype(np.float16).tobytes())
        if archive:
            for file in grids.values():
                file.flush()
            made = {f"{g}x{g}": np.memmap(file, np.float16, "r", shape=(frame, g, g)) for g, file in grids.items()}
            np.savez(archive, **made)
