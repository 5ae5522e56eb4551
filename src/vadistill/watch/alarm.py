"""What travels between the parts of ``vadistill watch``: alarms, and the state of a camera."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np


class Phase(StrEnum):
    """Where an alarm is in its life: one start, any number of updates, one end, all under one id."""

    START = "start"
    UPDATE = "update"
    END = "end"


class CameraState(StrEnum):
    """What a camera is doing."""

    STARTING = "starting"  # never seen alive yet
    LIVE = "live"
    DEAD = "dead"  # no frame for some seconds; it is tried again
    ENDED = "ended"  # a file that is over


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """An alarm at one moment of its life.

    Attributes:
        id: Of the alarm, the same in all phases: letters, digits and dashes.
        camera: Name of the camera.
        zone: Name of the zone, or "" for the whole picture.
        phase: Whether it begins, goes on or ends.
        start: Unix time in seconds of the first frame at or above the threshold.
        end: Of the last frame, in phase ``end``; else None.
        peak: Unix time of the frame with the highest smoothed score so far.
        score: That score.
        threshold: Smoothed score from which on there is an alarm.
        box: x, y, width and height, as shares of the frame, of the place with the highest score at the peak.
        snapshot: JPEG with heat of the peak, a path relative to the storage folder, or "".
        clip: MP4 of the alarm, a path relative to the storage folder, in phase ``end``; else "".
    """

    id: str
    camera: str
    zone: str
    phase: Phase
    start: float
    end: float | None
    peak: float
    score: float
    threshold: float
    box: tuple[float, float, float, float]
    snapshot: str = ""
    clip: str = ""

    def record(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "phase": str(self.phase), "box": list(self.box)}


class Analysed(NamedTuple):
    """What a detector says of one frame of a camera.

    Attributes:
        camera: Name of the camera.
        time: Unix time in seconds at which the frame came.
        score: Raw frame score.
        maps: {g: (g, g) float32} anomaly maps by resolution.
        frame: (H, W, 3) uint8 BGR, the frame in the middle of the window, as it came.
    """

    camera: str
    time: float
    score: float
    maps: Mapping[int, np.ndarray]
    frame: np.ndarray


@dataclass
class CameraStatus:
    """Counters and the state of one camera; one thread writes each field, any thread reads.

    Attributes:
        name: Of the camera.
        source: Its address with credentials masked.
        state: What it is doing.
        problem: Why it is not live, in one line, or "".
        view: What is wrong with its view (``inference.view.State``): "usual", "dark", "covered", "moved", "frozen".
        frames_in: Frames that came.
        frames_analysed: Frames that were scored.
        frames_dropped: Frames that were due and never scored, since newer ones had come.
        reconnects: How often it was connected again.
        alarms: How many have begun.
        last_frame: Unix time of the last frame; 0 before the first.
        latency: Seconds from a frame's coming to its score, of the last one.
        score: Last smoothed score.
        threshold: Smoothed score from which on there is an alarm, or None.
        recent: Last raw scores, for quantiles.
    """

    name: str
    source: str
    state: CameraState = CameraState.STARTING
    problem: str = ""
    view: str = "usual"
    frames_in: int = 0
    frames_analysed: int = 0
    frames_dropped: int = 0
    reconnects: int = 0
    alarms: int = 0
    last_frame: float = 0.0
    latency: float = 0.0
    score: float = 0.0
    threshold: float | None = None
    recent: list[float] = field(default_factory=list)
