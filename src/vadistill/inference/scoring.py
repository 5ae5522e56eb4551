"""The scoring of one source: its rate, what is unlike the training clips, its view and its events."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vadistill.errors import InputError
from vadistill.inference.backend import Backend, BatchScores
from vadistill.inference.stream import STORED, StreamTimes, score_video, source_rate
from vadistill.inference.video_events import AlarmSettings, Judged, Track, ViewWatch, judged
from vadistill.inference.view import NormalView
from vadistill.io.formats import ending
from vadistill.io.media.video import Moments
from vadistill.windows.training_conditions import frame_step, matched_step, with_step

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoreOptions:
    """How videos are scored, and what is written of them.

    Attributes:
        batch: Frames scored at once.
        every: Every so many frames one is scored; those between have its score.
        maps: Write ``<name>.npz`` with the maps.
        match_rate: Choose the step between a window's frames by the source's rate, so that they lie as far apart in
            time as in training.
        alarms: When there is an event; None for no events.
        view: What the camera usually shows, where known.
        film: Whether ``<name>.overlay.mp4`` is written behind it.
        parquet: Whether tables in a folder are Parquet rather than CSV.
    """

    batch: int = 16
    every: int = 1
    maps: bool = False
    match_rate: bool = False
    alarms: AlarmSettings | None = None
    view: NormalView | None = None
    film: bool = False
    parquet: bool = False


class Scoring:
    """One source while it is scored: iterate over it for its scores, then ask for its events.

    Attributes:
        source: A video, a folder of images, or a stored clip.
        options: How it is scored.
        rate: Its frames a second; where it does not say them, those of the normal video of the thresholds, or None.
        assumed: Whether they are the latter.
        times: Where its seconds go, and the size of its frames.
    """

    def __init__(self, source: Path, backend: Backend, options: ScoreOptions) -> None:
        """Look at the source's rate; nothing is decoded yet.

        Raises:
            InputError: It cannot be opened, or its rate is needed and nobody knows it.
        """
        self.source, self.options, self.times = source, options, StreamTimes()
        stated, alarms = source_rate(source), options.alarms
        self.rate, self.assumed = stated or (alarms.rate if alarms else None), not stated
        if alarms and not self.rate:
            raise InputError(f"{source}: states no frames a second; expected them, for events")
        if alarms and self.assumed:
            log.warning("%s: states no frames a second; those of the normal video are taken, %g", source, self.rate)
        self._backend, self._stated = backend, stated
        self._offsets = matched_offsets(source, stated, backend) if options.match_rate else backend.offsets
        self._watch = ViewWatch(options.view, self.rate) if options.view and self.rate else None

    def scores(self, moments: Moments) -> Iterator[BatchScores]:
        """Yield the scores of successive frames; see ``score_video``, which fills ``moments``."""
        options = self.options
        scores = score_video(
            self.source,
            self._backend,
            options.batch,
            self.times,
            moments=moments,
            offsets=self._offsets,
            every=options.every,
            look=self._watch,
        )
        return with_warning(
            scores, self.source, self._backend, self.times, None if options.match_rate else self._stated
        )

    def judged(self, track: Track) -> Judged:
        """Return the events and where the view was not the usual one, when all frames have been scored."""
        return judged(track, self._watch, self.options.alarms, self.rate)


def matched_offsets(source: Path, rate: float | None, backend: Backend) -> tuple[int, ...]:
    """Return the offsets of a window's frames that span about the time that they span in training; the log says which.

    Raises:
        InputError: The source does not say its rate.
    """
    if rate is None:
        raise InputError(f"{source}: states no frames a second; expected them with --match-rate")
    assert backend.conditions is not None  # else there is nothing to match
    trained, step = backend.conditions.nearest_rate(rate), frame_step(backend.offsets)
    matched = matched_step(step, rate, trained)
    log.info(
        "%s: %g frames/s (training: %g), frame step %d for %d: %.3g s between frames for %.3g s",
        *(source, rate, trained, matched, step, matched / rate, step / trained),
    )
    return with_step(backend.offsets, matched)


def check_rate(backend: Backend, match_rate: bool) -> None:
    """Say so where a model does not know how its training clips were filmed.

    Raises:
        InputError: Its rate is to be matched, and it does not know one.
    """
    if backend.conditions is None:
        log.info("%s: the model does not say how its training clips were filmed", backend.name)
    if match_rate and not (backend.conditions and backend.conditions.frames_per_second):
        raise InputError("--match-rate (match_rate): the model does not know the frames a second of its training clips")


def with_warning(
    scores: Iterable[BatchScores], source: Path, backend: Backend, times: StreamTimes, rate: float | None
) -> Iterator[BatchScores]:
    """Pass scores on; when the first ones are there, warn of what is unlike the training clips."""
    conditions, warned = backend.conditions, False
    for part in scores:
        if conditions and times.size and not warned:
            found = conditions.differences(times.size, rate, _is_video(source))
            advice = "; --match-rate keeps the time between frames" if found and "frames/s" in found[0] else ""
            if found:
                log.warning("%s: unlike the training clips: %s%s", source, ", ".join(found), advice)
        warned = True
        yield part


def _is_video(source: Path) -> bool:
    return source.is_file() and ending(source) != STORED
