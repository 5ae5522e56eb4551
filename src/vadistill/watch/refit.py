"""Thresholds anew, from the scores that a watch has stored and what was said of its alarms."""

import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np

from vadistill.errors import InputError
from vadistill.evaluation.alarm_thresholds import Threshold, fit_alarms
from vadistill.evaluation.metrics import FrameScores
from vadistill.frame_level.packed import PackedDetector
from vadistill.inference.model_files import located
from vadistill.settings import AlarmsConfig
from vadistill.watch.config import WatchConfig
from vadistill.watch.store import Store
from vadistill.watch.tracker import Rule

EVEN = 0.2  # seconds between the scores that thresholds are found on; stored ones come at uneven times
GAP = 5.0  # seconds without a score that part one stretch from the next
BESIDE = 5.0  # seconds around an alarm that are left out with it
MOST_ALARMS = 1_000_000


class Fitted(NamedTuple):
    """A threshold of one camera.

    Attributes:
        threshold: As the fit found it, with its interval and note.
        rule: When there is an alarm.
        hours: Of scores that it was found on.
    """

    threshold: Threshold
    rule: Rule
    hours: float


def stretches(times: np.ndarray, scores: np.ndarray, left_out: Iterable[tuple[float, float]] = ()) -> FrameScores:
    """Return the stretches of scores without gaps, at even times, and without some intervals.

    Args:
        times: (T,) unix times, ascending.
        scores: (T,) smoothed scores.
        left_out: Intervals (start, end) of unix times.
    """
    kept = np.ones(len(times), bool)
    for start, end in left_out:
        kept &= (times < start) | (times > end)
    times, scores = times[kept], scores[kept]
    ends = np.flatnonzero(np.diff(times) > GAP) + 1
    parts = zip(np.split(times, ends), np.split(scores, ends), strict=True)
    return {
        f"stretch_{number}": np.interp(np.arange(part[0], part[-1] + 1e-6, EVEN), part, values)
        for number, (part, values) in enumerate(parts)
        if len(part) > 1
    }


def fit_camera(config: WatchConfig, name: str, store: Store) -> Fitted:
    """Find the threshold of a camera for the rate of false alarms that it wants.

    Scores are normal but where there was an alarm that nobody has said to be none.

    Raises:
        InputError: Its detector knows nothing of alarms, or there are no scores.
    """
    camera, path = config.cameras[name], located(config.model_of(name))
    known = PackedDetector.open(path).alarms()
    settings = AlarmsConfig()
    if known:
        wanted = tuple(part.false_alarms_per_day for part in known.thresholds.values())
        settings = AlarmsConfig(wanted, known.smoothing_s, known.release, known.cool_down_s)
    first = camera.false_alarms_per_day or settings.false_alarms_per_day[0]
    settings = replace(settings, false_alarms_per_day=(first,), smoothing=0.0)  # they are smoothed already
    now = time.time()
    times, scores = store.scores(name, now - 86400 * config.storage.days, now)
    real = [one for one in store.alarms(name, limit=MOST_ALARMS) if one["feedback"] is not False]
    parts = stretches(times, scores, [(one["start"] - BESIDE, (one["end"] or now) + BESIDE) for one in real])
    if not parts:
        raise InputError(f"camera {name}: no scores are stored outside of alarms; expected some hours of watching")
    made = fit_alarms(name, parts, 1 / EVEN, settings)
    (found,) = made.thresholds.values()
    if found.threshold is None or found.release is None:
        raise InputError(f"camera {name}: no threshold ({found.note})")
    return Fitted(found, Rule(found.threshold, found.release, settings.cool_down), made.hours or 0.0)


def content_of(rules: dict[str, Rule]) -> dict[str, list[float]]:
    """Return what ``thresholds.json`` holds."""
    return {name: list(asdict(rule).values()) for name, rule in rules.items()}
