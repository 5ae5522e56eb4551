"""Thresholds for at most so many false alarms a day, from normal video alone.

Alarms at a high threshold come at random in time, at a rate that falls with it. Where the normal video is long enough
to hold some at the rate that is wanted, they are counted. Where it is shorter, the tail of the scores is carried on:
the highest maxima of blocks of video, by what they exceed a level, follow a generalised Pareto distribution (Pickands
1975), fitted by probability weighted moments (Hosking and Wallis 1987). Where it is too short for that, the highest
score is the threshold, and no rate is promised. What a rate is worth is said by an interval, from blocks that are drawn
with replacement.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vadistill.evaluation.events import MOST_ALARMED, AlarmRule, alarms
from vadistill.evaluation.metrics import FrameScores, smooth
from vadistill.io.json_records import JsonRecord, key
from vadistill.settings import AlarmsConfig

DAY = 86400.0  # seconds
COUNTED = 10  # alarms that the normal video must hold at the wanted rate to be counted
LEAST_TAIL, MOST_TAIL = 10, 30  # maxima of blocks that are fitted: the highest half, within these bounds
DRAWS, SEED, INTERVAL = 400, 0, (2.5, 97.5)  # of the bootstrap, percentiles
NONE_SEEN = 3.0  # events in 95 of 100 cases at most, where none was seen (rule of three)
BLOCK_SIGMAS = 8  # a block spans at least so many standard deviations of the smoothing
TRIED = 1000  # thresholds where alarms are counted, close to each other among the highest scores


class Tail(NamedTuple):
    """How often a day scores pass a threshold, from a level on: a generalised Pareto distribution.

    Attributes:
        level: Score from which on it holds.
        scale: Of the distribution, in units of the score.
        shape: Above 0 for a heavy tail; 0 for an exponential one.
        per_day: How often a day scores pass the level.
    """

    level: float
    scale: float
    shape: float
    per_day: float

    @classmethod
    def of(cls, maxima: np.ndarray, block: float) -> "Tail":
        """Fit the highest maxima by probability weighted moments (Hosking and Wallis 1987, section 3).

        A tail is not taken to end: the shape is at least 0, since short video cannot show where scores end.

        Args:
            maxima: (B,) maxima of blocks of video.
            block: Mean length of a block in seconds.
        """
        falling = np.sort(np.asarray(maxima, np.float64))[::-1]
        count = min(max(len(falling) // 2, LEAST_TAIL), MOST_TAIL)
        level = float(falling[count])
        excess = np.sort(falling[:count] - level)
        mean = float(excess.mean())
        weighted = float((excess * (count - 1 - np.arange(count))).sum() / (count * (count - 1)))
        rest = mean - 2 * weighted
        shape = max(0.0, 2 - mean / rest) if rest > 0 else 0.0
        scale = 2 * mean * weighted / rest if shape else mean
        return cls(level, scale, shape, count / (len(falling) * block) * DAY)

    def alarms_per_day(self, threshold: float) -> float:
        """Return how often a day scores pass a threshold of at least ``level``."""
        if not self.scale:
            return self.per_day if threshold <= self.level else 0.0  # all of the highest maxima are equal
        excess = max(0.0, threshold - self.level) / self.scale
        if not self.shape:
            return self.per_day * math.exp(-excess)
        return self.per_day * (1 + self.shape * excess) ** (-1 / self.shape)

    def threshold(self, alarms_per_day: float) -> float:
        """Return the threshold that scores pass so often a day, at least ``level``."""
        often = max(1.0, self.per_day / alarms_per_day)
        excess = math.log(often) if not self.shape else (often**self.shape - 1) / self.shape
        if not self.scale and often > 1:  # scores that end where they are: above it there are none
            return math.nextafter(self.level, math.inf)
        return self.level + self.scale * excess


@dataclass(frozen=True, kw_only=True)
class Threshold(JsonRecord):
    """A threshold for a wanted rate of false alarms."""

    false_alarms_per_day: float = key("that are wanted at most, of one camera")
    threshold: float | None = key(
        "smoothed score from which on there is an alarm, or null where the video is too short"
    )
    release: float | None = key("smoothed score below which an alarm ends")
    interval: list[float] | None = key("95 % interval of the threshold, over blocks of the normal video, or null")
    rate_interval: list[float] | None = key("95 % interval of the false alarms a day at the threshold, or null")
    method: str = key("`counted` in the normal video, `extreme_values` beyond it, its `highest` score, or `none`")
    note: str = key("what the normal video is too short for, in words, or empty")


@dataclass(frozen=True, kw_only=True)
class Alarms(JsonRecord):
    """What ``alarms.json`` holds: when a detector raises an alarm, and how often it is wrong."""

    detector: str = key("name of the frame-level detector")
    clips: list[str] = key("normal clips that it did not learn from")
    hours: float | None = key("of that video")
    frames_per_second: float | None = key("of that video, or null where the clips do not say, and `alarms.fps` neither")
    smoothing_s: float = key("standard deviation of the Gaussian over time, in seconds")
    cool_down_s: float = key("alarms with less between them are one")
    release: float = key("share of the way from `usual` to a threshold below which an alarm ends")
    usual: float | None = key("median smoothed score of the normal video")
    high: float | None = key("its 99th percentile")
    block_s: float | None = key("mean length of the blocks of video whose maxima are fitted, in seconds")
    blocks: int = key("how many there are")
    tail: dict[str, float] | None = key(
        "`level`, `scale`, `shape` and `per_day` of the highest maxima; null for too few"
    )
    thresholds: dict[str, Threshold] = key("by the wanted rate, such as `24`")

    def rule(self, wanted: str, rate: float) -> AlarmRule | None:
        """Return when there is an alarm at a rate of frames a second; None where there is no threshold.

        Args:
            wanted: Rate of false alarms, a key of ``thresholds``.
            rate: Frames a second.
        """
        chosen = self.thresholds[wanted]
        if chosen.threshold is None or chosen.release is None:
            return None
        return AlarmRule(chosen.threshold, chosen.release, round(self.cool_down_s * rate))


def no_alarms(detector: str, clips: Iterable[str], settings: AlarmsConfig, note: str) -> Alarms:
    """Return alarms without thresholds, with the reason in words."""
    return Alarms(
        detector=detector, clips=sorted(clips), hours=None, frames_per_second=None, smoothing_s=settings.smoothing,
        cool_down_s=settings.cool_down, release=settings.release, usual=None, high=None, block_s=None, blocks=0,
        tail=None,
        thresholds={f"{wanted:g}": _none(wanted, note) for wanted in settings.false_alarms_per_day},
    )  # fmt: skip


def fit_alarms(detector: str, scores: FrameScores, rate: float, settings: AlarmsConfig) -> Alarms:
    """Find the thresholds for the wanted rates of false alarms.

    Args:
        detector: Name of the frame-level detector.
        scores: Its frame scores (T,) of normal clips that it did not learn from.
        rate: Their frames a second.
        settings: How alarms are raised, and how often they may be false.
    """
    scores = {clip: values for clip, values in scores.items() if len(values)}
    if not scores:
        return no_alarms(detector, (), settings, "the held-out part of the training clips has no frames")
    smoothed = {clip: smooth(values, settings.smoothing * rate) for clip, values in scores.items()}
    joined = np.concatenate(list(smoothed.values()))
    usual, hours = float(np.median(joined)), len(joined) / rate / 3600
    maxima, block = block_maxima(list(smoothed.values()), rate, settings)
    tail = Tail.of(maxima, block) if len(maxima) >= 2 * LEAST_TAIL else None
    draw = np.random.default_rng(SEED)
    drawn = [Tail.of(draw.choice(maxima, len(maxima)), block) for _ in range(DRAWS if tail else 0)]

    def rule(threshold: float) -> AlarmRule:
        release = usual + settings.release * (threshold - usual)
        return AlarmRule(threshold, min(release, threshold), round(settings.cool_down * rate))

    def found(wanted: float) -> Threshold:
        expected, interval = wanted * hours / 24, None
        if tail is None and expected < COUNTED:
            threshold, method, note = float(joined.max()), "highest", _too_short(hours, len(maxima), block)
            rates = [0.0, NONE_SEEN / hours * 24]
        elif expected >= COUNTED:
            threshold, method = lowest_counted(smoothed, rule, expected), "counted"
            held = sum(len(alarms(values, rule(threshold))) for values in smoothed.values())
            note = (
                "" if 2 * held >= expected else f"the normal video holds {held} alarms there: more run into each other"
            )
            few, many = count_interval(held)
            interval = [lowest_counted(smoothed, rule, most) for most in (many, few)]
            rates = [bound / hours * 24 for bound in (few, many)]
        else:
            assert tail is not None
            threshold, method, note = tail.threshold(wanted), "extreme_values", _beyond(wanted, expected, hours)
            interval = _interval([part.threshold(wanted) for part in drawn])
            rates = _interval([part.alarms_per_day(threshold) for part in drawn])
        return Threshold(
            false_alarms_per_day=wanted,
            threshold=threshold,
            release=rule(threshold).release,
            interval=interval,
            rate_interval=rates,
            method=method,
            note=note,
        )

    return Alarms(
        detector=detector,
        clips=sorted(scores),
        hours=hours,
        frames_per_second=rate,
        smoothing_s=settings.smoothing,
        cool_down_s=settings.cool_down,
        release=settings.release,
        usual=usual,
        high=float(np.percentile(joined, 99)),
        block_s=block,
        blocks=len(maxima),
        tail=tail and tail._asdict(),
        thresholds={f"{wanted:g}": found(wanted) for wanted in settings.false_alarms_per_day},
    )


def block_maxima(smoothed: Sequence[np.ndarray], rate: float, settings: AlarmsConfig) -> tuple[np.ndarray, float]:
    """Return the maxima (B,) of blocks of smoothed scores, and the mean length of a block in seconds.

    A clip is cut into equal blocks, each long enough to hold an alarm and the pause after it; what is shorter is one.
    """
    least = max(1, round(max(settings.cool_down, BLOCK_SIGMAS * settings.smoothing) * rate))
    parts = [part for values in smoothed for part in np.array_split(values, max(1, len(values) // least))]
    return np.array([part.max() for part in parts]), sum(map(len, parts)) / len(parts) / rate


def lowest_counted(smoothed: FrameScores, rule: Callable[[float], AlarmRule], most: float) -> float:
    """Return the lowest threshold from which on upwards there are at most so many alarms in normal scores.

    And no lower than where half of the frames lie in an alarm: alarms grow together, and one that is always on is one.
    """
    ranked = np.unique(np.concatenate(list(smoothed.values())))[::-1]
    chosen = np.nextafter(ranked[0], np.inf)
    frames = sum(map(len, smoothed.values()))
    for threshold in ranked[np.unique(np.geomspace(1, len(ranked), TRIED).astype(int)) - 1]:
        found = [alarms(values, rule(float(threshold))) for values in smoothed.values()]
        alarmed = sum(int((part[:, 1] - part[:, 0]).sum()) for part in found)
        if sum(map(len, found)) > most or alarmed > MOST_ALARMED * frames:
            break
        chosen = threshold
    return float(chosen)


def count_interval(count: float) -> tuple[float, float]:
    """Return the 95 % interval of the expected number of alarms, where so many were counted, by Poisson.

    By the square root, whose spread is nearly a half whatever the number (Anscombe 1948).
    """
    low, high = (max(0.0, math.sqrt(count + 3 / 8) + side * 0.98) ** 2 - 3 / 8 for side in (-1, 1))
    return max(0.0, low), high


def _none(wanted: float, note: str) -> Threshold:
    return Threshold(
        false_alarms_per_day=wanted, threshold=None, release=None, interval=None, rate_interval=None,
        method="none", note=note,
    )  # fmt: skip


def _too_short(hours: float, blocks: int, block: float) -> str:
    return (
        f"the highest score of {hours * 60:.3g} minutes of normal video, which are {blocks} blocks of {block:.3g} s: "
        f"no rate can be promised; give at least {2 * LEAST_TAIL} blocks (longer video, or a shorter alarms.cool_down)"
    )


def _beyond(wanted: float, expected: float, hours: float) -> str:
    """Say how far a rate lies beyond what the normal video can show."""
    if expected >= 1:
        return ""
    return (
        f"{hours:.3g} hours of normal video are expected to hold {expected:.2g} alarms at this rate: an estimate, no "
        f"promise; {24 * COUNTED / wanted:.3g} hours would do to count them"
    )


def _interval(values: Sequence[float]) -> list[float]:
    return [float(bound) for bound in np.percentile(values, INTERVAL)]
