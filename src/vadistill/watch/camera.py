"""One camera: from its frames to windows, from scores to alarms, snapshots and clips."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from vadistill.inference.view import NormalView, State, ViewCheck
from vadistill.io.resize import resize
from vadistill.watch.alarm import Alarm, CameraStatus, Phase
from vadistill.watch.analyser import Analyser, Slot
from vadistill.watch.config import CameraConfig
from vadistill.watch.smoothing import CausalSmoother
from vadistill.watch.stream import Frame
from vadistill.watch.tracker import Box, Rule, Tracker, is_scheduled
from vadistill.watch.windows import Window, WindowMaker
from vadistill.watch.zones import Part

log = logging.getLogger(__name__)
WIDEST = 640  # pixels of the pictures that are kept, in clips, snapshots and on the page
RECENT = 500  # raw scores that are kept for quantiles
Maps = Mapping[int, np.ndarray]


class Recorder(Protocol):
    """What keeps pictures of alarms: ``watch.clips.ClipRecorder``."""

    def add(self, time: float, image: np.ndarray, score: float) -> None:
        """Take the next frame (H, W, 3) uint8 BGR with its smoothed score."""
        ...

    def start(self, alarm: Alarm) -> None:
        """Begin the clip of an alarm."""
        ...

    def snapshot(self, alarm: Alarm, image: np.ndarray, heat: np.ndarray) -> None:
        """Write what an alarm looked like at its peak so far, (h, w, 3) uint8 BGR and its heat (g, g)."""
        ...

    def end(self, alarm: Alarm) -> None:
        """End the clip of an alarm."""
        ...

    def close(self) -> None:
        """Write what is not over as far as it is."""
        ...


@dataclass(frozen=True)
class Look:
    """What a detector knows that a camera of it needs.

    Attributes:
        name: Of the detector, as users gave it.
        analyser: That runs it.
        step: Seconds between neighbours of a window.
        smoothing: Standard deviation in seconds.
        rule: When there is an alarm, or None without thresholds.
        view: What the camera usually shows, where known.
    """

    name: str
    analyser: Analyser
    step: float
    smoothing: float
    rule: Rule | None
    view: NormalView | None


class Shown(NamedTuple):
    """The last analysed frame.

    Attributes:
        time: Unix time in seconds at which it came.
        image: (h, w, 3) uint8 BGR, at most ``WIDEST`` pixels wide.
        heat: (g, g) float32, its finest map.
    """

    time: float
    image: np.ndarray
    heat: np.ndarray


class _Kept(NamedTuple):
    """An analysed frame whose smoothed scores are not known yet."""

    shown: Shown
    boxes: Mapping[str, Box]


class Camera:
    """Takes frames in its reader's thread, and scores in its analyser's.

    Args:
        status: Of the camera.
        config: Its part of the file.
        look: What its detector knows.
        tell: Gets every phase of every alarm.
        recorder: Keeps pictures of alarms.
        noted: Gets (time, smoothed score of the whole picture) of every analysed frame.
    """

    def __init__(
        self,
        status: CameraStatus,
        config: CameraConfig,
        look: Look,
        tell: Callable[[Alarm], None],
        recorder: Recorder,
        noted: Callable[[float, float], None],
    ) -> None:
        model = look.analyser.model
        self.status, self.config = status, config
        self.shown: Shown | None = None
        self._look, self._tell, self._recorder, self._noted = look, tell, recorder, noted
        self._windows = WindowMaker(model.size, model.offsets, look.step, config.rate, model.flow)
        self._slot = Slot(status, self._analysed)
        self._check = ViewCheck(look.view) if look.view else None
        zones: dict[str, list[tuple[float, float]] | None] = {name: zone.polygon for name, zone in config.zones.items()}
        zones = zones or {"": None}
        self._parts = {name: Part(model.resolutions, config.masks, corners) for name, corners in zones.items()}
        self._whole = Part(model.resolutions, config.masks)
        self._smoothers = {name: CausalSmoother(look.smoothing) for name in ("", *self._parts)}
        self._trackers = {name: Tracker(status.name, name, rule) for name, rule in self._rules(look.rule).items()}
        self._peaks: dict[str, Shown] = {}  # by alarm: its highest frame, until it is a snapshot
        self._kept: deque[_Kept] = deque()
        self._ready: dict[str, deque[tuple[float, float]]] = {name: deque() for name in self._smoothers}
        self._lock, self._closed = threading.Lock(), False
        status.threshold = look.rule.threshold if look.rule else None
        look.analyser.add(status.name, self._slot)

    def set_rule(self, rule: Rule | None) -> None:
        """Raise alarms by another rule from now on; zones with a threshold of their own keep it."""
        with self._lock:
            self._look = replace(self._look, rule=rule)
            rules = self._rules(rule)
            for name in self._trackers.keys() - rules.keys():
                self._say(self._trackers.pop(name).flush())
            for name, one in rules.items():
                self._trackers.setdefault(name, Tracker(self.status.name, name, one)).rule = one
            self.status.threshold = rule.threshold if rule else None

    def wants(self, frame: Frame) -> bool:
        """Return whether a window needs this frame; asked for every frame before it is converted."""
        return self._windows.wants(frame.seconds)

    def take(self, frame: Frame) -> None:
        """Take a frame that was wanted."""
        missed = self._windows.missed
        for window in self._windows.take(frame.time, frame.seconds, frame.image):
            self._look.analyser.put(self._slot, window)
        self.status.frames_dropped += self._windows.missed - missed
        problem = self._slowness()
        if problem and not self.status.problem:
            log.warning("camera %s: %s", self.status.name, problem)
        self.status.problem = problem

    def _slowness(self) -> str:
        if not self._windows.too_slow:
            return ""
        rate, needed = 1 / self._windows.interval, 1 / self._look.step
        return f"{rate:.2g} frames a second: too slow for its detector, which sees frames {needed:.2g} a second"

    def set_view(self, view: NormalView | None) -> None:
        """Compare what the camera shows with another usual view from now on."""
        self._check = ViewCheck(view) if view else None

    def rest(self) -> None:
        """No frame comes, for now or for ever: what goes on ends with what has come."""
        with self._lock:
            for name, smoother in self._smoothers.items():
                self._ready[name].extend(smoother.flush())
            self._follow(is_scheduled(self.config.schedule, self.status.last_frame))
            for tracker in self._trackers.values():
                self._say(tracker.flush())
        self._recorder.close()

    def close(self) -> None:
        """Analyse no longer; what goes on ends."""
        self._look.analyser.remove(self.status.name)
        with self._lock:
            self._closed = True
        self.rest()

    def _rules(self, rule: Rule | None) -> dict[str, Rule]:
        """Return when there is an alarm in each part; parts without a threshold raise none."""
        found: dict[str, Rule] = {}
        for name in self._parts:
            own = self.config.zones[name].threshold if name else None
            if own is not None:
                found[name] = Rule(own, own, rule.cool_down if rule else 5.0)
            elif rule:
                found[name] = rule
        return found

    def _analysed(self, window: Window, score: float, maps: Maps) -> None:
        """Take what the detector says of a window."""
        check = self._check
        usual = check is None or check.update(window.frame, window.seconds) == State.USUAL
        self.status.view = str(check.state if check else State.USUAL)
        self.status.recent = [*self.status.recent[-RECENT + 1 :], score]
        shown = Shown(window.came, _small(window.frame), maps[max(maps)])
        boxes = {name: part.highest(maps) for name, part in self._parts.items()}
        values = {name: part.score(score, maps) for name, part in self._parts.items()}
        values.setdefault("", self._whole.score(score, maps))
        with self._lock:
            if self._closed:
                return
            self._kept.append(_Kept(shown, boxes))
            for name, smoother in self._smoothers.items():
                self._ready[name].extend(smoother.add(window.came, values[name]))
            self._follow(usual and is_scheduled(self.config.schedule, window.came))
        self.shown = shown

    def _follow(self, allowed: bool) -> None:
        """Bring the alarms up to the smoothed scores that are ready."""
        while self._ready[""]:
            kept = self._kept.popleft()
            ready = {name: values.popleft()[1] for name, values in self._ready.items()}
            time, image, _ = kept.shown
            self.status.score = ready[""]
            self._noted(time, ready[""])
            self._recorder.add(time, image, ready[""])
            for name, tracker in self._trackers.items():
                told = list(tracker.add(time, ready[name], kept.boxes[name], allowed))
                for alarm in (*told, tracker.open):
                    if alarm and alarm.peak == time:
                        self._peaks[alarm.id] = kept.shown
                self._say(told)

    def _say(self, alarms: Iterable[Alarm]) -> None:
        for alarm in alarms:
            if alarm.phase == Phase.START:
                self.status.alarms += 1
                self._recorder.start(alarm)
            if peak := self._peaks.pop(alarm.id, None):
                self._recorder.snapshot(alarm, peak.image, peak.heat)
            if alarm.phase == Phase.END:
                self._recorder.end(alarm)
            self._tell(alarm)


def check_parts(name: str, config: CameraConfig, resolutions: Sequence[int]) -> list[str]:
    """Return a line for each zone of a camera in which no cell of the maps counts, or for the whole picture."""
    if Part(resolutions, config.masks).empty:
        return [f"camera {name}: masks cover the whole picture; expected some of it to be left"]
    return [
        f"camera {name}: zone {zone}: masks cover it; expected a zone of which something is left"
        for zone, part in config.zones.items()
        if Part(resolutions, config.masks, part.polygon).empty
    ]


def _small(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3) at most ``WIDEST`` pixels wide, with even sides."""
    height, width = image.shape[:2]
    scale = min(1.0, WIDEST / width)
    return resize(image, (max(2, round(height * scale / 2) * 2), max(2, round(width * scale / 2) * 2)))


def picture_of(shown: Shown, quality: int = 75) -> bytes:
    """Return the last analysed frame as JPEG, with its heat laid over it."""
    heat = cv2.resize(np.clip(shown.heat, 0, 1), shown.image.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    colour = cv2.applyColorMap((255 * heat[..., 0]).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = 0.6 * heat
    laid = (shown.image * (1 - share) + colour * share).astype(np.uint8)
    return cv2.imencode(".jpg", laid, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
