"""The door from Python: a trained student that scores videos. The same as ``vadistill score``, without files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vadistill.errors import InputError
from vadistill.evaluation.alarm_thresholds import Alarms
from vadistill.frame_level.packed import PackedDetector, ScoringDefaults, is_packed
from vadistill.inference.backend import Backend
from vadistill.inference.backends import backend_for, load_backend
from vadistill.inference.model_files import located
from vadistill.inference.places import PlacedBackend, PlaceStatistics
from vadistill.inference.scoring import ScoreOptions, Scoring, check_rate
from vadistill.inference.video_events import Event, Track, ViewInterval, alarm_settings
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
        scoring: How its camera's videos are scored unless said otherwise.
    """

    def __init__(
        self,
        backend: Backend,
        alarms: Alarms | None = None,
        view: NormalView | None = None,
        scoring: ScoringDefaults | None = None,
    ) -> None:
        """Take a loaded backend and what a packed detector knows; see ``load``."""
        self.backend, self.alarms, self.view = backend, alarms, view
        self.scoring = scoring or ScoringDefaults()

    def score(
        self,
        source: str | Path,
        batch: int = 16,
        match_rate: bool | None = None,
        every: int | None = None,
        false_alarms_per_day: float | None = None,
        threshold: float | None = None,
    ) -> ClipScores:
        """Score the frames of a clip, and find its events where a threshold is known.

        A clip that was filmed unlike the training clips is warned of in the log.

        Args:
            source: A video, a folder of images, or a stored clip (.h5).
            batch: Frames scored at once.
            match_rate: Choose the step between a window's frames by the clip's rate, so that they lie as far apart in
                time as in training; by default as the detector was adapted, else not.
            every: Every so many frames one is scored; those behind it have its score. By default as the detector was
                adapted, else 1.
            false_alarms_per_day: Which threshold of the detector raises alarms; by default its first one.
            threshold: Of the smoothed score, in place of the detector's.

        Raises:
            InputError: The source cannot be read to its end, there is no rate to match or for events, there is no such
                threshold, or the scores are not finite.
        """
        every = self.scoring.every if every is None else every
        match_rate = self.scoring.match_rate if match_rate is None else match_rate
        check_rate(self.backend, match_rate)
        found = alarm_settings(self.alarms, false_alarms_per_day, threshold)
        options = ScoreOptions(batch, every, match_rate=match_rate, alarms=found, view=self.view)
        scoring, track = Scoring(Path(source), self.backend, options), Track()
        parts = list(scoring.scores(track.time))
        for part in parts:
            track.add(part.score, part.maps)
        score = np.concatenate([part.score for part in parts])
        if not np.isfinite(score).all():
            raise InputError(f"{source}: the detector gives scores that are not finite")
        maps = {g: np.concatenate([part.maps[g] for part in parts]) for g in self.backend.resolutions}
        made = scoring.judged(track)
        return ClipScores(
            score, np.array(track.time) if track.time else None, maps, made.events, made.silenced, made.view
        )


def load(model: str | Path, backend: str | None = None) -> FrameDetector:
    """Load a trained student.

    Args:
        model: The folder that ``vadistill pack`` wrote, ``student.pt``, what ``vadistill export`` made of it, or
            ``starter``, the detector that comes with the package.
        backend: A key of ``inference.backends.BACKENDS``; by default what runs the model best as it is stored.

    Raises:
        InputError: The model is missing or damaged, or the backend's runtime is not installed.
    """
    model = located(model)
    loaded = load_backend(backend or backend_for(model), model)
    if not is_packed(model):
        return FrameDetector(loaded)
    packed = PackedDetector.open(model, compare=False)
    view, places = packed.view(), packed.places()
    if places is not None:
        loaded = PlacedBackend(loaded, PlaceStatistics.from_arrays(places, loaded.resolutions))
    return FrameDetector(
        loaded, packed.alarms(), None if view is None else NormalView.from_arrays(view), packed.scoring()
    )
