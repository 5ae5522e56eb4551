"""Events and alarms: what a guard sees of frame scores. How many events are found, how late, and how often in vain.

An event is a run of abnormal frames, an alarm a run of frames whose score has reached a threshold. They meet where they
share a frame, as many to many: neither how much they overlap nor how often counts. The rate of false alarms beside the
share of missed events is how surveillance detectors are judged by NIST (ActEV, Awad and others, TRECVID 2018).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vadistill.errors import InputError
from vadistill.evaluation.metrics import FrameLabels, FrameScores

HOUR = 3600.0  # seconds
MOST_ALARMED = 0.5  # share of the normal frames in an alarm, beyond which a rate of alarms says nothing
THRESHOLDS = 1000  # that are tried for a wanted rate, close to each other among the highest scores


@dataclass(frozen=True)
class AlarmRule:
    """When an alarm begins and ends.

    Attributes:
        threshold: Score from which on it begins.
        release: Score below which it ends; at most the threshold.
        cool_down: Frames; alarms with fewer between them are one.
    """

    threshold: float
    release: float
    cool_down: int


@dataclass(frozen=True)
class EventReport:
    """How the alarms of some clips fit their events.

    Attributes:
        threshold: Score from which on an alarm begins.
        events: Number of events.
        found_events: How many of them meet an alarm.
        alarms: Number of alarms.
        false_alarms: How many of them meet no event.
        hours: Length of the video.
        normal_hours: Of its normal frames.
        alarmed_normal_share: Share of the normal frames that lie in an alarm, also in one that meets an event.
        delays: (found_events,) seconds from the first frame of an event to the first one of it in an alarm, ascending.
    """

    threshold: float
    events: int
    found_events: int
    alarms: int
    false_alarms: int
    hours: float
    normal_hours: float
    alarmed_normal_share: float | None
    delays: np.ndarray

    @property
    def false_alarms_per_hour(self) -> float | None:
        """False alarms in an hour of normal video; None without any."""
        return self.false_alarms / self.normal_hours if self.normal_hours else None

    @property
    def recall(self) -> float | None:
        """Share of the events that are found; None without events."""
        return self.found_events / self.events if self.events else None

    @property
    def precision(self) -> float | None:
        """Share of the alarms that meet an event; None without alarms."""
        return 1 - self.false_alarms / self.alarms if self.alarms else None

    def record(self) -> dict[str, Any]:
        """Return what ``vadistill events`` prints."""
        late = (
            {"median": float(np.median(self.delays)), "highest": float(self.delays[-1])} if len(self.delays) else None
        )
        return {
            "events": self.events,
            "found_events": self.found_events,
            "event_recall": self.recall,
            "alarms": self.alarms,
            "false_alarms": self.false_alarms,
            "alarm_precision": self.precision,
            "false_alarms_per_hour": self.false_alarms_per_hour,
            "alarmed_share_of_normal_frames": self.alarmed_normal_share,
            "delay_s": late,
            "hours": self.hours,
            "normal_hours": self.normal_hours,
            "threshold": self.threshold,
        }


def runs(marked: np.ndarray) -> np.ndarray:
    """Return the half-open ranges (R, 2) in which (T,) is true."""
    padded = np.concatenate([[False], np.asarray(marked, bool), [False]])
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)


def alarms(scores: np.ndarray, rule: AlarmRule) -> np.ndarray:
    """Return the alarms (A, 2) of (T,) scores as half-open ranges of frames."""
    held = runs(scores >= rule.release)
    high = np.concatenate([[0], np.cumsum(scores >= rule.threshold)])
    made = held[high[held[:, 1]] > high[held[:, 0]]]
    made[:, 0] = [start + np.argmax(scores[start:end] >= rule.threshold) for start, end in made]
    apart = made[1:, 0] - made[:-1, 1] >= max(1, rule.cool_down)
    first, last = np.concatenate([[True], apart]), np.concatenate([apart, [True]])
    return np.column_stack([made[first[: len(made)], 0], made[last[: len(made)], 1]])


def judge(scores: FrameScores, labels: FrameLabels, rule: AlarmRule, rate: float) -> EventReport:
    """Return how alarms fit events.

    Args:
        scores: Frame scores (T,) of each clip, as they are compared with the threshold.
        labels: Frame labels (T,) of each clip.
        rule: When there is an alarm.
        rate: Frames a second.
    """
    events = found = raised = false = alarmed_normal = 0
    delays: list[float] = []
    for clip, values in scores.items():
        truth = np.asarray(labels[clip], bool)
        alarmed = np.zeros(len(values), bool)
        for start, end in alarms(values, rule):
            alarmed[start:end] = True
            raised += 1
            false += not truth[start:end].any()
        for start, end in runs(truth):
            events += 1
            if alarmed[start:end].any():
                found += 1
                delays.append(float(np.argmax(alarmed[start:end])) / rate)
        alarmed_normal += int((alarmed & ~truth).sum())
    frames = sum(map(len, scores.values()))
    normal = frames - sum(int(np.sum(labels[clip])) for clip in scores)
    return EventReport(
        threshold=rule.threshold,
        events=events,
        found_events=found,
        alarms=raised,
        false_alarms=false,
        hours=frames / rate / HOUR,
        normal_hours=normal / rate / HOUR,
        alarmed_normal_share=alarmed_normal / normal if normal else None,
        delays=np.sort(delays),
    )


def lowest_threshold(scores: FrameScores, labels: FrameLabels, wanted: float, cool_down: int, rate: float) -> float:
    """Return the lowest threshold down to which there are never more false alarms an hour than wanted.

    "Never", and no lower than where half of the normal frames lie in an alarm: at low thresholds alarms grow together,
    and one that is always on meets every event.

    Args:
        scores: Frame scores (T,) of each clip.
        labels: Frame labels (T,) of each clip.
        wanted: False alarms in an hour of normal video.
        cool_down: Frames; alarms with fewer between them are one.
        rate: Frames a second.

    Raises:
        InputError: There are no normal frames, or even the highest score is a false alarm too many.
    """
    if all(np.all(labels[clip]) for clip in scores):
        raise InputError("no frame is normal; expected normal video, in which false alarms are counted")
    ranked = np.sort(np.concatenate(list(scores.values())))[::-1]
    ranks = np.unique(np.geomspace(1, len(ranked), THRESHOLDS).astype(int)) - 1
    lowest = None
    for threshold in dict.fromkeys(ranked[ranks].tolist()):
        made = judge(scores, labels, AlarmRule(threshold, threshold, cool_down), rate)
        if made.false_alarms > wanted * made.normal_hours or (made.alarmed_normal_share or 0) > MOST_ALARMED:
            break
        lowest = threshold
    if lowest is None:
        raise InputError(
            f"{wanted:g} false alarms an hour: the highest score is a false alarm, in {made.normal_hours:.2g} hours of "
            "normal video; expected a higher rate, or more video"
        )
    return lowest
