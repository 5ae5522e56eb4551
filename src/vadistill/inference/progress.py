"""How far the scoring of a video is: a bar on a terminal, now and then a line in a log."""

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from vadistill.inference.backend import BatchScores
from vadistill.inference.stream import source_length

log = logging.getLogger(__name__)
EVERY = 30.0  # seconds between lines of the log


def with_progress(parts: Iterable[BatchScores], source: Path) -> Iterator[BatchScores]:
    """Pass the scores of a video on and tell how far it is, and how long the rest takes where its length is known."""
    console = Console(stderr=True)
    total = source_length(source)
    if console.is_terminal:
        yield from _with_bar(parts, source, total, console)
        return
    begun = said = time.monotonic()
    done = 0
    for part in parts:
        yield part
        done += len(part.score)
        now = time.monotonic()
        if now - said >= EVERY:
            said, rate = now, done / (now - begun)
            left = f", {max(0, total - done) / rate / 60:.1f} minutes left" if total else ""
            log.info("%s: %d%s frames, %.1f frames/s%s", source, done, f" of {total}" if total else "", rate, left)


def _with_bar(parts: Iterable[BatchScores], source: Path, total: int | None, console: Console) -> Iterator[BatchScores]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
    )
    begun, done = time.monotonic(), 0
    with Progress(*columns, TextColumn("{task.fields[rate]}"), console=console, transient=True) as progress:
        task = progress.add_task(source.name, total=total, rate="")
        for part in parts:
            yield part
            done += len(part.score)
            rate = done / max(time.monotonic() - begun, 1e-9)
            progress.update(task, completed=done, rate=f"{rate:.0f} frames/s")
