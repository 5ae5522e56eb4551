"""The door from Python: a trained student that scores videos. The same as ``vadistill score``, without files."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vadistill.evaluation.alarm_thresholds import Alarms
from vadistill.inference.backend import Backend
from vadistill.inference.backends import backend_for, load_backend
from vadistill.inference.score_table import check_rate, matched_offsets, with_warning
from vadistill.inference.stream import StreamTimes, score_video, source_rate
from vadistill.inference.video_events import (
    Event,
    Track,
    ViewInterval,
    alarm_settings,
    alarms_of,
    judged,
    view_of,
    watch_of,
)
from vadistill.inference.view import NormalView


@dataclass(frozen=True)
class ClipScores:
    """What a student says of the T frames of a clip.

    Attributes:
        score: (T,) float32 frame scores; a higher one is more abnormal.
        time: (T,) float64 presentation times in seconds after the first frame, or None where they are unknown.
        maps: {g: (T, g, g) float32} anomaly maps by resolution, the side g of the grid.
        events: Where the smoothed score raises an alarm; None where no threshold is known.
        silenced: Events that are none, since the view was not the usual one.
        view: Where it was not.
    """

    score: np.ndarray
    time: np.ndarray | None
    maps: dict[int, np.ndarray]
    events: list[Event] | None = None
    silenced: Sequence[Event] = ()
    view: Sequence[ViewInterval] = ()

    def __len__(self) -> int:
        return len(self.score)


class FrameDetector:
    """A trained student on one of the inference backends.

    Attributes:
        backend: It runs the network, and knows the size of its input and how its training clips were filmed.
        alarms: Its thresholds, where it has some.
        view: What its camera usually shows, where it says so.
    """

    def __init__(self, backend: Backend, alarms: Alarms | None = None, view: NormalView | None = None) -> None:
        """Take a loaded backend and what a packed detector knows; see ``load``."""
        self.backend, self.alarms, self.view = backend, alarms, view

    def score(
        self,
        source: str | Path,
        batch: int = 16,
        match_rate: bool = False,
        every: int = 1,
        false_alarms_per_day: float | None = None,
        threshold: float | None = None,
    ) -> ClipScores:
        """Score the frames of a clip, and find its events where a threshold is known.

        A clip that was filmed unlike the training clips is warned of in the log.

        Args:
            source: A video, a folder of images, or a stored clip (.h5).
            batch: Frames scored at once.
            match_rate: Choose the step between a window's frames by the clip's rate, so that they lie as far apart in
                time as in training.
            every: Every so many frames one is scored; those behind it have its score.
            false_alarms_per_day: Which threshold of the detector raises alarms; by default its first one.
            threshold: Of the smoothed score, in place of the detector's.

        Raises:
            InputError: The source cannot be read to its end, or there is no rate to match.
        """
        check_rate(self.backend, match_rate)
        source, times = Path(source), StreamTimes()
        moments: deque[float] = deque()
        rate = source_rate(source)
        offsets = matched_offsets(source, rate, self.backend) if match_rate else None
        found = alarm_settings(self.alarms, false_alarms_per_day, threshold)
        watch = watch_of(self.view, rate)
        scores = score_video(
            source, self.backend, batch, times, moments=moments, offsets=offsets, every=every, look=watch
        )
        parts = list(with_warning(scores, source, self.backend, times, None if match_rate else rate))
        track = Track()
        for part in parts:
            track.add(part.score, part.maps)
        track.time.extend(moments)
        maps = {g: np.concatenate([part.maps[g] for part in parts]) for g in self.backend.resolutions}
        time, score = np.array(moments) if moments else None, np.concatenate([part.score for part in parts])
        return ClipScores(score, time, maps, *judged(track, watch, found, rate))


def load(model: str | Path, backend: str | None = None) -> FrameDetector:
    """Load a trained student.

    Args:
        model: The folder that ``vadistill pack`` wrote, ``distilled.pt``, or what ``vadistill export`` made of it.
        backend: A key of ``inference.backends.BACKENDS``; by default what runs the model best as it is stored.

    Raises:
        InputError: The model is missing or damaged, or the backend's runtime is not installed.
    """
    model = Path(model)
    return FrameDetector(load_backend(backend or backend_for(model), model), alarms_of(model), view_of(model))
