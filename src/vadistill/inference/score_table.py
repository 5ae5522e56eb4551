"""The scores of videos as files: a table each, and beside it its events, maps and film."""

import logging
import math
import re
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np

from vadistill.errors import InputError
from vadistill.inference.backend import Backend, BatchScores
from vadistill.inference.progress import with_progress
from vadistill.inference.scoring import ScoreOptions, Scoring, check_rate
from vadistill.inference.sources import FILM, source_name
from vadistill.inference.stream import StreamTimes
from vadistill.inference.table_files import CSV, PARQUET, TABLES, is_table, table_writer
from vadistill.inference.video_events import Judged, Track
from vadistill.io.files import read_json, whole_stream, write_json
from vadistill.io.formats import NO_ENDING, ending, known_ending, refuse_to_replace, size_text

log = logging.getLogger(__name__)
OUTPUTS = {NO_ENDING: "a folder for <video>.csv", **dict.fromkeys(TABLES, "the table of a single video")}


class Scored(NamedTuple):
    """A source whose files are written.

    Attributes:
        source: A video, a folder of images, or a stored clip.
        table: Its table of scores.
        maps: Its maps, where they were asked for.
        track: What is kept of every frame.
        judged: Its events, where thresholds are known, and where its view was not the usual one.
        rate: Frames a second, where known.
        rate_is_assumed: Whether it is that of the normal video, since the source states none.
        size: Width and height of its frames in pixels.
    """

    source: Path
    table: Path
    maps: Path | None
    track: Track
    judged: Judged
    rate: float | None
    rate_is_assumed: bool
    size: tuple[int, int] | None

    @property
    def in_events(self) -> np.ndarray | None:
        """Whether each frame (T,) is part of an event; None where no thresholds are known."""
        if self.judged.events is None:
            return None
        marked = np.zeros(len(self.track.score), bool)
        for event in self.judged.events:
            marked[event.start : event.end] = True
        return marked


def score_all(
    sources: Sequence[Path],
    output: Path,
    backend: Backend,
    options: ScoreOptions,
    then: Callable[[Scored], Sequence[Path]] = lambda _: (),
) -> list[str]:
    """Write ``<name>.csv`` of every source, and what else is asked for; the log gets a line of each.

    Sources that were filmed unlike the student's training clips are warned of.

    Args:
        sources: Videos, folders of images, or stored clips.
        output: A folder, or the table of a single source.
        backend: The student.
        options: How they are scored.
        then: Writes more of a source and returns the files.

    Returns:
        What is wrong with the sources that could not be read; the others are done.

    Raises:
        InputError: Tables cannot be written there (see ``tables_of``), or there is no rate to match.
    """
    tables = tables_of(sources, output, options)
    check_rate(backend, options.match_rate)
    errors = []
    for source, table in zip(sources, tables, strict=True):
        try:
            made, times = _scored(source, table, backend, options)
            files = [path for path in (made.table, made.maps, *_written_events(made, options), *then(made)) if path]
        except (InputError, OSError) as error:
            errors.append(str(error))
        else:
            written = ", ".join(f"{path} ({size_text(path)})" for path in files)
            log.info("%s: %s%s; wrote %s", source, times, _found(made.judged), written)
    return errors


def _scored(source: Path, table: Path, backend: Backend, options: ScoreOptions) -> tuple[Scored, StreamTimes]:
    archive = table.with_suffix(".npz") if options.maps else None
    moments: deque[float] = deque()
    scoring, track = Scoring(source, backend, options), Track()
    write_scores(table, with_progress(scoring.scores(moments), source), moments, archive, track)
    found, times = scoring.judged(track), scoring.times
    return Scored(source, table, archive, track, found, scoring.rate, scoring.assumed, times.size), times


def _written_events(made: Scored, options: ScoreOptions) -> list[Path]:
    """Write ``<name>.events.json``, where thresholds are known."""
    if made.judged.events is None or options.alarms is None or made.rate is None:
        return []
    path = events_path(made.table)
    content = {
        "source": str(made.source),
        "frames": len(made.track.score),
        "frames_per_second": made.rate,
        "rate_is_assumed": made.rate_is_assumed,
        "frame_size": made.size,
        "alarms": options.alarms.record(),
        "events": [event.record(made.size) for event in made.judged.events],
        "unusual_view": [part.record(made.rate) for part in made.judged.view],
        "silenced_events": [event.record(made.size) for event in made.judged.silenced],
    }
    write_json(path, content)
    return [path]


def _found(judged: Judged) -> str:
    """Return what a line of the log says of events and of the view."""
    found = "" if judged.events is None else f", {len(judged.events)} events"
    if judged.view:
        states = ", ".join(dict.fromkeys(str(part.state) for part in judged.view))
        found += f", not its usual view ({states}): {len(judged.silenced)} events are none"
    return found


def events_path(table: Path) -> Path:
    """Return where the events of a table of scores are written."""
    return table.with_suffix(".events.json")


def film_path(table: Path) -> Path:
    """Return where the film of a table of scores is written."""
    return table.with_suffix(FILM)


def tables_of(sources: Sequence[Path], output: Path, options: ScoreOptions) -> list[Path]:
    """Return the table of each source; nothing is written.

    Args:
        sources: What is scored.
        output: A folder, or the table of a single source.
        options: Of which kind they are in a folder, and which files are written beside them.

    Raises:
        InputError: The output has another ending, is one table for several sources, or two sources have the same name;
            or a file is in the way that is no earlier table, or no earlier maps or events.
    """
    tables = [output / f"{source_name(source)}{PARQUET if options.parquet else CSV}" for source in sources]
    if (found := known_ending(output, OUTPUTS)) in TABLES:
        tables = [output]
        if options.parquet and found != PARQUET:
            raise InputError(f"{output}: no Parquet table by its name; expected one that ends in {PARQUET}")
        if len(sources) > 1:
            raise InputError(f"{output}: one table for {len(sources)} videos; expected a folder")
    elif output.exists() and not output.is_dir():
        raise InputError(
            f"{output}: a file; expected a folder, or a name that ends in {' or '.join(TABLES)} for one video"
        )
    for table, count in Counter(tables).items():
        if count > 1:
            raise InputError(f"{table}: {count} sources are named '{table.stem}'; expected different names")
        refuse_to_replace(table, is_table, "table of scores")
        other = table.with_suffix(CSV if ending(table) == PARQUET else PARQUET)
        if other.exists():
            raise InputError(f"{table}: {other.name} is there, too; expected one table of a video: remove it first")
        if options.maps:
            refuse_to_replace(table.with_suffix(".npz"), _is_maps, "file of maps")
        if options.alarms:
            refuse_to_replace(events_path(table), _is_events, "file of events")
        if options.film:
            refuse_to_replace(film_path(table), _is_film, "film of a table")
    return tables


def _is_film(path: Path) -> bool:
    """Return whether a film lies beside the table that it is drawn of."""
    name = path.name.removesuffix(FILM)
    return any(is_table(path.with_name(name + kind)) for kind in TABLES)


def _is_events(path: Path) -> bool:
    try:
        content = read_json(path)
    except InputError:
        return False
    return isinstance(content, dict) and {"source", "alarms", "events"} <= content.keys()


def _is_maps(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(re.fullmatch(r"(\d+)x\1\.npy", name) for name in archive.namelist())


def write_scores(
    path: Path,
    parts: Iterable[BatchScores],
    moments: deque[float],
    maps: Path | None = None,
    track: Track | None = None,
) -> None:
    """Write scores as they come: the table, and the maps where asked for, whole or not at all.

    Args:
        path: The table, CSV or Parquet by its ending; a float32 score reads back as it was.
        parts: Scores of successive frames.
        moments: Times of the frames in seconds, which are there when their scores come and are taken out; where there
            is none, ``time_s`` stays empty.
        maps: An .npz file for the maps, (T, g, g) float16 named "1x1", "4x4", "16x16". They wait on the disk, so that
            memory does not grow with the video.
        track: Takes what is kept of every frame.

    Raises:
        InputError: A score is not finite.
    """
    frame = 0
    with ExitStack() as stack:
        add_row = stack.enter_context(table_writer(path))
        archive = stack.enter_context(whole_stream(maps)) if maps else None
        folder, grids = maps.parent if maps else None, {}
        for part in parts:
            for score in part.score:
                if not math.isfinite(score):
                    raise InputError(f"{path}: the score of frame {frame} is {score}; expected a finite number")
                seconds = moments.popleft() if moments else None
                add_row(seconds, score)
                frame += 1
                if track and seconds is not None:
                    track.time.append(seconds)
            if track:
                track.add(part.score, part.maps)
            for g, grid in part.maps.items() if archive else ():
                if g not in grids:
                    grids[g] = stack.enter_context(TemporaryFile(dir=folder))
                grids[g].write(grid.astype(np.float16).tobytes())
        if archive:
            for file in grids.values():
                file.flush()
            made: dict[str, Any] = {
                f"{g}x{g}": np.memmap(file, np.float16, "r", shape=(frame, g, g)) for g, file in grids.items()
            }
            np.savez(archive, **made)
