"""Events of a scored video: where its smoothed score raises an alarm, when, and in which part of the picture."""

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from vadistill.errors import InputError
from vadistill.evaluation.alarm_thresholds import Alarms
from vadistill.evaluation.events import AlarmRule, alarms
from vadistill.evaluation.metrics import smooth
from vadistill.inference.view import NormalView, ScoreCheck, State, ViewCheck, intervals
from vadistill.settings import AlarmsConfig

HOLD, STILL = 5.0, 10.0  # seconds until a view is said to be unusual, and a picture to be frozen


@dataclass(frozen=True)
class AlarmSettings:
    """When a video has an event.

    Attributes:
        threshold: Smoothed score from which on an event begins.
        release: Smoothed score below which it ends.
        smoothing_s: Standard deviation of the Gaussian over time, in seconds.
        cool_down_s: Seconds; events with less between them are one.
        false_alarms_per_day: Wanted ones that the threshold was found for; None where it was given.
        method: How it was found, as in ``alarms.json``, or ``given``.
        note: What the normal video was too short for, in words.
        rate: Frames a second of the normal video that it was found on, for videos that do not say theirs.
        high: Smoothed score that normal video rarely reaches, where known.
    """

    threshold: float
    release: float
    smoothing_s: float
    cool_down_s: float
    false_alarms_per_day: float | None = None
    method: str = "given"
    note: str = ""
    rate: float | None = None
    high: float | None = None

    def record(self) -> dict[str, Any]:
        """Return it as JSON: what made the events of a video."""
        return {name: value for name, value in asdict(self).items() if name not in ("rate", "high")}

    @classmethod
    def given(cls, threshold: float, known: Alarms | None) -> "AlarmSettings":
        """Return those of a threshold that a user gives; the rest is as the detector knows it, or the default."""
        if known is None:
            usual = AlarmsConfig()
            return cls(threshold, threshold, usual.smoothing, usual.cool_down)
        release = threshold if known.usual is None else known.usual + known.release * (threshold - known.usual)
        smoothing, pause, rate = known.smoothing_s, known.cool_down_s, known.frames_per_second
        return cls(threshold, min(release, threshold), smoothing, pause, rate=rate, high=known.high)

    @classmethod
    def wanted_rate(cls, wanted: float | None, known: Alarms) -> "AlarmSettings":
        """Return those of a detector for at most so many false alarms a day, by default for the first rate it knows.

        Raises:
            InputError: It has no threshold for that.
        """
        name = next(iter(known.thresholds)) if wanted is None else f"{wanted:g}"
        if name not in known.thresholds:
            raise InputError(
                f"{name} false alarms a day: no threshold; the detector has some for {', '.join(known.thresholds)} "
                "(alarms.false_alarms_per_day)"
            )
        found = known.thresholds[name]
        if found.threshold is None or found.release is None:
            raise InputError(f"{name} false alarms a day: no threshold ({found.note}); expected --threshold")
        smoothing, pause, rate = known.smoothing_s, known.cool_down_s, known.frames_per_second
        return cls(
            found.threshold, found.release, smoothing, pause, float(name), found.method, found.note, rate, known.high
        )


def alarm_settings(known: Alarms | None, wanted: float | None, threshold: float | None) -> AlarmSettings | None:
    """Return when there is an event, or None where no threshold is known and none is asked for.

    Args:
        known: Thresholds of the detector, if it has some.
        wanted: False alarms a day at most, which choose one of them.
        threshold: Given in their place.

    Raises:
        InputError: Both are given, or the detector has no threshold for what is wanted.
    """
    if threshold is not None:
        if not math.isfinite(threshold):
            raise InputError(f"threshold {threshold}: expected a finite number")
        if wanted is not None:
            raise InputError("both a threshold and false alarms a day; expected one of them")
        return AlarmSettings.given(threshold, known)
    if known is None and wanted is not None:
        raise InputError(
            f"{wanted:g} false alarms a day: the model has no thresholds; expected a folder that 'vadistill pack' wrote"
        )
    if known is None or (wanted is None and all(part.threshold is None for part in known.thresholds.values())):
        return None
    return AlarmSettings.wanted_rate(wanted, known)


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        start: Its first frame.
        end: Its last frame and one.
        start_s: Time of the first frame in seconds.
        end_s: Time of the last frame.
        peak: Frame with the highest smoothed score.
        peak_s: Its time.
        score: That score.
        place: Where the finest map is highest in that frame: x, y, width and height as shares of the frame.
    """

    start: int
    end: int
    start_s: float
    end_s: float
    peak: int
    peak_s: float
    score: float
    place: tuple[float, float, float, float]

    def record(self, size: tuple[int, int] | None) -> dict[str, Any]:
        """Return it as JSON.

        Args:
            size: Width and height of a frame in pixels, where known.
        """
        x, y, width, height = self.place
        content: dict[str, Any] = {
            "start_frame": self.start,
            "end_frame": self.end,
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "peak_frame": self.peak,
            "peak_s": round(self.peak_s, 3),
            "score": self.score,
        }
        if size:
            across, down = size
            box = (x * across, y * down, (x + width) * across, (y + height) * down)
            content["peak_box"] = [round(edge, 1) for edge in box]
        return content


@dataclass(frozen=True)
class ViewInterval:
    """Frames in which the camera does not show what it usually shows, or scores are not what they were.

    Attributes:
        state: What is the matter.
        start: First frame.
        end: Last frame and one.
    """

    state: State
    start: int
    end: int

    def record(self, rate: float) -> dict[str, Any]:
        """Return it as JSON, at a rate of frames a second."""
        times = {"start_s": round(self.start / rate, 3), "end_s": round((self.end - 1) / rate, 3)}
        return {"state": str(self.state), "start_frame": self.start, "end_frame": self.end, **times}


class ViewWatch:
    """Looks at the frames of a video as they come, and says afterwards where the view was not the usual one."""

    def __init__(self, view: NormalView, rate: float) -> None:
        """Take what the camera usually shows, and the video's frames a second."""
        self._check, self._rate = ViewCheck(view, HOLD, STILL), rate
        self._states: list[State] = []

    def wants(self, t: int) -> bool:
        """Return whether frame t is looked at: a few each second are."""
        return self._check.due(t / self._rate)

    def __call__(self, frame: np.ndarray | None) -> None:
        """Take the next frame (H, W, 3) uint8 BGR; None for one that was not wanted."""
        t = len(self._states)
        self._states.append(self._check.state if frame is None else self._check.update(frame, t / self._rate))

    def intervals(self) -> list[ViewInterval]:
        """Return where the view was not usual: from when it began to when it was over, not from when that was said."""
        made: list[ViewInterval] = []
        for state, start, end in intervals(self._states):
            late = HOLD + STILL if state == State.FROZEN else HOLD
            begun = max(made[-1].end if made else 0, start - round(late * self._rate))
            over = end if end == len(self._states) else max(begun, end - round(HOLD * self._rate))
            made.append(ViewInterval(state, begun, over))
        return made


def changed_scores(smoothed: np.ndarray, level: float, rate: float) -> list[ViewInterval]:
    """Return where it is said that smoothed scores (T,) have stayed above a level for some ten minutes.

    Args:
        smoothed: The scores.
        level: That normal scores rarely reach.
        rate: Frames a second.
    """
    check = ScoreCheck(level)
    states = [check.update(float(score), t / rate) for t, score in enumerate(smoothed)]
    return [ViewInterval(*part) for part in intervals(states)]


class Judged(NamedTuple):
    """What is known of a video when it has been scored.

    Attributes:
        events: Where it has events; None where no threshold is known.
        silenced: Those that are none, since the view was not the usual one.
        view: Where it was not.
        smoothed: (T,) scores in which events are found; without thresholds as they are.
    """

    events: list[Event] | None
    silenced: list[Event]
    view: list[ViewInterval]
    smoothed: np.ndarray


def judged(track: "Track", watch: ViewWatch | None, settings: AlarmSettings | None, rate: float | None) -> Judged:
    """Return the events of a scored video, and where its view was not the usual one.

    Args:
        track: What was kept of its frames.
        watch: What has looked at them.
        settings: When there is an event.
        rate: Frames a second; with ``settings`` they must be known.
    """
    view = watch.intervals() if watch else []
    if settings is None or rate is None:
        return Judged(None, [], view, track.smoothed(0.0))
    smoothed = track.smoothed(settings.smoothing_s * rate)
    found = track.events(smoothed, settings, rate)
    silenced = [event for event in found if mostly_within(event, view)]
    if settings.high is not None:  # which says so and silences nothing: a long event looks the same
        view += changed_scores(smoothed, settings.high, rate)
    return Judged([event for event in found if event not in silenced], silenced, view, smoothed)


def mostly_within(event: Event, view: Iterable[ViewInterval]) -> bool:
    """Return whether half of an event's frames or more lie where the view was not the usual one."""
    covered = np.zeros(event.end - event.start, bool)
    for part in view:
        covered[max(0, part.start - event.start) : max(0, part.end - event.start)] = True
    return 2 * int(covered.sum()) >= event.end - event.start


class Track:
    """What is kept of every frame of a video while it is scored: 14 bytes.

    Attributes:
        score: Frame scores.
        cell: Highest cell of the finest map, counted row by row.
        time: Seconds after the first frame; nothing where times are unknown.
        side: Of the finest map.
    """

    def __init__(self) -> None:
        self.score, self.cell, self.time, self.side = array("f"), array("H"), array("d"), 1

    def add(self, score: np.ndarray, maps: Mapping[int, np.ndarray]) -> None:
        """Note the scores (N,) and maps {g: (N, g, g)} of more frames."""
        self.score.extend(score.tolist())
        if maps:
            self.side = max(maps)
            self.cell.extend(maps[self.side].reshape(len(score), -1).argmax(1).tolist())

    def smoothed(self, sigma: float) -> np.ndarray:
        """Return the scores (T,), smoothed by so many frames."""
        return smooth(np.array(self.score), sigma)

    def events(self, smoothed: np.ndarray, settings: AlarmSettings, rate: float) -> list[Event]:
        """Return the events.

        Args:
            smoothed: (T,) smoothed scores.
            settings: When there is one.
            rate: Frames a second of the video.
        """
        rule = AlarmRule(settings.threshold, settings.release, round(settings.cool_down_s * rate))
        return [self._event(smoothed, int(start), int(end), rate) for start, end in alarms(smoothed, rule)]

    def _event(self, smoothed: np.ndarray, start: int, end: int, rate: float) -> Event:
        peak = start + int(np.argmax(smoothed[start:end]))
        row, column = divmod(self.cell[peak], self.side) if self.cell else (0, 0)
        cell = 1 / self.side
        start_s, end_s, peak_s = (self._moment(t, rate) for t in (start, end - 1, peak))
        place = (column * cell, row * cell, cell, cell)
        return Event(start, end, start_s, end_s, peak, peak_s, float(smoothed[peak]), place)

    def _moment(self, t: int, rate: float) -> float:
        return self.time[t] if len(self.time) > t else t / rate
