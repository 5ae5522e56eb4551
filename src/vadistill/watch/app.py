"""The whole of ``vadistill watch``: cameras come and go with their file, alarms are kept and sent on."""

import fcntl
import logging
import queue
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from vadistill.errors import InputError, in_one_line
from vadistill.evaluation.events import AlarmRule
from vadistill.evaluation.events import alarms as alarms_in
from vadistill.io.files import read_json, write_json
from vadistill.watch.alarm import Alarm, CameraState, CameraStatus, Phase
from vadistill.watch.camera import Camera, Look, check_parts, picture_of
from vadistill.watch.clips import ClipRecorder, ClipWriter
from vadistill.watch.config import CameraConfig, WatchConfig, address_of, read_config
from vadistill.watch.models import Models
from vadistill.watch.reader import CameraReader
from vadistill.watch.refit import EVEN, content_of, stretches
from vadistill.watch.sinks.base import SinkThread, stop_sinks
from vadistill.watch.sinks.prometheus import metrics
from vadistill.watch.sinks.registry import make_sinks
from vadistill.watch.store import Store
from vadistill.watch.tracker import Rule, is_scheduled

log = logging.getLogger(__name__)
# Seconds after which a thread must let others run: each decoded frame and each step of the analysis waits for its turn
# among all cameras, and at Python's own 5 ms two cores were a third idle with 32 of them.
SWITCHING = 0.0001
LOOK_EVERY = 1.0  # seconds between looks at the file of cameras and at their states
STATUS_EVERY = 10.0  # seconds between states that sinks get
STOPPING = 2.0  # seconds for the readers of all cameras; one that blocks is left to its time-out
PRUNE_EVERY = 600.0  # seconds
OWNER = "watch.lock"  # in the storage
THRESHOLDS = "thresholds.json"  # in the storage: what users have set on the page, or fitted
TRIED_FOR = 10.0  # seconds for which thresholds are tried on the same scores
MOST_WAITING = 200  # messages of a page that does not read them


class Running:
    """A camera at work.

    Attributes:
        config: Its part of the file.
        model: Its detector.
        alone: Whether no other camera has that detector.
        camera: Its scores and alarms.
        reader: Its frames.
    """

    def __init__(self, config: CameraConfig, model: Path, alone: bool, camera: Camera, reader: CameraReader) -> None:
        self.config, self.model, self.alone, self.camera, self.reader = config, model, alone, camera, reader
        self._picture: tuple[float, bytes] | None = None
        self._rested = 0  # frames that had come when it was at rest for the last time

    def check(self) -> None:
        """Say whether the camera is dead; end what goes on where no frame comes any more."""
        self.reader.check()
        status = self.camera.status
        if status.state in (CameraState.DEAD, CameraState.ENDED) and self._rested != status.frames_in:
            self._rested = status.frames_in
            self.camera.rest()

    def picture(self) -> tuple[float, bytes] | None:
        """Return time and JPEG of the last analysed frame; made where somebody looks at it."""
        shown = self.camera.shown
        if shown and (self._picture is None or self._picture[0] != shown.time):
            self._picture = shown.time, picture_of(shown)
        return self._picture


class Watch:
    """Watches the cameras of a file until it is stopped; the page's ``Desk``.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.config = path, read_config(path)
        self._seen = path.read_bytes()
        storage = self.config.storage.path
        self.store = Store(storage)
        self._owner = owned(storage)
        self._cut_off = self.store.close_open(time.time())
        for alarm in self._cut_off:
            log.warning("alarm %s of camera %s was cut off: ended", alarm.id, alarm.camera)
        self._thresholds = read_thresholds(storage / THRESHOLDS)
        self._models = Models(self.config.backend, self.config.batch)
        self._clips = ClipWriter(self.store)
        self._sinks: list[SinkThread] = make_sinks(self.config, storage)
        self._running: dict[str, Running] = {}
        self._listeners: list[queue.Queue[tuple[str, dict[str, Any]]]] = []
        self._lock, self._over = threading.RLock(), threading.Event()
        self._keeper = threading.Thread(target=self._keep_small, name="storage", daemon=True)
        # Many thresholds are tried while a slider is dragged; a day of scores takes some tenths of a second to read.
        self._tried = lru_cache(1)(self._scheduled_scores)

    # The cameras

    def start(self) -> None:
        """Start all cameras.

        Raises:
            InputError: A detector cannot be loaded, or does not fit its cameras.
        """
        sys.setswitchinterval(SWITCHING)
        for sink in self._sinks:
            sink.start()
            for alarm in self._cut_off:
                sink.put(alarm)
        self._take(self.config)
        self._keeper.start()

    def run(self, over: threading.Event) -> None:
        """Follow the file, the states and the storage until ``over`` is set."""
        told = 0.0
        while not over.wait(LOOK_EVERY):
            self._follow_file()
            now = time.monotonic()
            with self._lock:
                for running in self._running.values():
                    running.check()
            statuses = self.cameras()
            for status in statuses:
                self._publish("camera", _state_of(status))
            if now - told >= STATUS_EVERY:
                told = now
                for sink in self._sinks:
                    sink.status(statuses)
            if self._is_over(statuses):
                log.info("all files are over")
                return

    def stop(self) -> None:
        """End everything: what goes on is kept and sent."""
        self._over.set()
        self._end(list(self._running.values()))
        self._models.stop()
        self._clips.stop()
        stop_sinks(self._sinks)
        if self._keeper.is_alive():
            self._keeper.join(STOPPING)
        self.store.close()
        self._owner.close()

    def _take(self, config: WatchConfig) -> None:
        """Bring the running cameras up to a file: those that did not change go on undisturbed.

        Detectors are loaded, and readers end, while the page and the other cameras go on.
        """
        shared = Counter(config.model_of(name) for name in config.cameras)
        alone = {name: shared[config.model_of(name)] == 1 for name in config.cameras}
        before = dict(self._running)
        stay = {
            name: running
            for name, running in before.items()
            if name in alone and (running.config, running.model) == (config.cameras[name], config.model_of(name))
        }
        changed = [name for name in alone if name not in stay or stay[name].alone != alone[name]]
        looks = {name: self._look(config, name, alone[name]) for name in changed}
        for name, look in looks.items():
            if lines := check_parts(name, config.cameras[name], look.analyser.model.resolutions):
                raise InputError(lines[0])
        self._end([running for name, running in before.items() if name not in stay])
        for name in looks.keys() & stay.keys():
            stay[name].alone = alone[name]
            stay[name].camera.set_view(looks[name].view)
        made = {name: self._made(name, config, looks[name], alone[name]) for name in alone if name not in stay}
        with self._lock:
            self._running, self.config = {name: (stay | made)[name] for name in alone}, config
        for running in made.values():
            running.reader.start()
        self._models.drop_unused()
        self._publish("cameras", {"names": list(config.cameras)})

    def _look(self, config: WatchConfig, name: str, alone: bool) -> Look:
        return self._models.look(config.model_of(name), name, config.cameras[name], alone)

    def _made(self, name: str, config: WatchConfig, look: Look, alone: bool) -> Running:
        """Return a camera that is ready to begin."""
        camera = config.cameras[name]
        status = CameraStatus(name, address_of(camera.source))
        made = Camera(
            status, camera, look, self._tell, ClipRecorder(camera, self._clips), partial(self._note, name)
        )  # fmt: skip
        if name in self._thresholds:
            made.set_rule(self._thresholds[name])
        return Running(camera, config.model_of(name), alone, made, CameraReader(status, camera.source, made))

    def _end(self, ended: Sequence[Running]) -> None:
        """End cameras together: they share the seconds for their readers."""
        for running in ended:
            running.reader.stop(0.0)
        deadline = time.monotonic() + STOPPING
        for running in ended:
            running.reader.stop(max(0.0, deadline - time.monotonic()))
            running.camera.close()

    def _follow_file(self) -> None:
        """Take the file anew where it has changed; a bad one leaves everything as it is."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return  # it is being written
        if content == self._seen:
            return
        self._seen = content
        try:
            config = read_config(self.path)
            fixed = ("storage", "web", "sinks", "backend", "batch")
            if [getattr(config, part) for part in fixed] != [getattr(self.config, part) for part in fixed]:
                log.warning("%s: of %s, changes count from the next start on", self.path, ", ".join(fixed))
                config = config.model_copy(update={part: getattr(self.config, part) for part in fixed})
            self._take(config)
        except InputError as error:
            log.error("%s; the cameras stay as they were", error)
        except Exception as error:  # whatever stands in a file, the watch goes on
            log.exception("%s: cannot be taken (%s); the cameras stay as they were", self.path, in_one_line(error))
        else:
            log.info("%s: taken anew, %d cameras", self.path, len(config.cameras))

    def _is_over(self, statuses: Sequence[CameraStatus]) -> bool:
        return bool(statuses) and all(status.state == CameraState.ENDED for status in statuses)

    def _tell(self, alarm: Alarm) -> None:
        """Keep an alarm first, then send it on."""
        alarm = self._clips.with_paths(alarm)
        self.store.save(alarm)
        for sink in self._sinks:
            sink.put(alarm)
        self._publish("alarm", alarm.record())
        if alarm.phase == Phase.START:
            log.info("camera %s: alarm %s, score %.3g of %.3g", alarm.camera, alarm.id, alarm.score, alarm.threshold)

    def _note(self, camera: str, moment: float, score: float) -> None:
        self.store.add_scores(camera, [moment], [score])

    def _keep_small(self) -> None:
        """Remove what is old, now and then; in a thread of its own, since much may have to go."""
        storage = self.config.storage
        while not self._over.is_set():
            try:
                self.store.prune(time.time(), storage.days, int(storage.gigabytes * 1e9))
            except (OSError, sqlite3.Error) as error:
                log.error("%s: old alarms are not removed (%s)", storage.path, in_one_line(error))
            self._over.wait(PRUNE_EVERY)

    # What the page needs

    def cameras(self) -> list[CameraStatus]:
        """Return the state of every camera."""
        with self._lock:
            return [running.camera.status for running in self._running.values()]

    def picture(self, camera: str) -> tuple[float, bytes] | None:
        """Return time and JPEG, with heat, of the last analysed frame of a camera."""
        running = self._running.get(camera)
        return running.picture() if running else None

    def alarms(self, camera: str | None, since: float | None, until: float | None, limit: int) -> list[dict[str, Any]]:
        """Return alarms, the newest first."""
        return self.store.alarms(camera, since, until, limit)

    def file(self, relative: str) -> Path:
        """Return where a snapshot or clip lies.

        Raises:
            InputError: It lies outside the storage.
        """
        return self.store.path_of(relative)

    def set_feedback(self, alarm: str, is_alarm: bool | None) -> None:
        """Note whether an alarm was one."""
        self.store.set_feedback(alarm, is_alarm)

    def scores(self, camera: str, since: float, until: float) -> tuple[np.ndarray, np.ndarray]:
        """Return unix times and smoothed scores (T,) of a camera."""
        return self.store.scores(camera, since, until)

    def _scheduled_scores(self, camera: str, since: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores of a camera at times at which it may raise alarms."""
        times, scores = self.scores(camera, since, time.time())
        minutes, which = np.unique(times // 60, return_inverse=True)
        schedule = self._running[camera].config.schedule
        kept = np.array([is_scheduled(schedule, 60 * minute) for minute in minutes], bool)[which]
        return times[kept], scores[kept]

    def would_alarm(self, camera: str, threshold: float, since: float) -> int:
        """Return how many alarms the whole picture of a camera would have raised at a threshold."""
        times, scores = self._tried(camera, since // TRIED_FOR * TRIED_FOR)
        rule = self._rule(camera, threshold)
        settings = AlarmRule(rule.threshold, rule.release, round(rule.cool_down / EVEN))
        return sum(len(alarms_in(part, settings)) for part in stretches(times, scores).values())

    def set_threshold(self, camera: str, value: float | None) -> None:
        """Raise alarms of a camera from another smoothed score on; None for that of the file."""
        with self._lock:
            running = self._running[camera]
            if value is None:
                self._thresholds.pop(camera, None)
                rule = self._look(self.config, camera, running.alone).rule
            else:
                rule = self._thresholds[camera] = self._rule(camera, value)
            write_json(self.config.storage.path / THRESHOLDS, content_of(self._thresholds))
            running.camera.set_rule(rule)

    def _rule(self, camera: str, threshold: float) -> Rule:
        """Return when there is an alarm from a threshold on; it ends as far below as the detector says."""
        alarms = self._models.detector(self._running[camera].model).alarms
        if alarms is None:
            return Rule(threshold, threshold, 5.0)
        usual = threshold if alarms.usual is None else alarms.usual
        return Rule(threshold, min(threshold, usual + alarms.release * (threshold - usual)), alarms.cool_down_s)

    def metrics(self) -> bytes:
        """Return what Prometheus reads."""
        return metrics(self.cameras(), self._sinks)

    def healthy(self) -> tuple[bool, str]:
        """Return whether analysis goes on, and what is wrong."""
        if stuck := self._models.stuck():
            return False, f"nothing is analysed by {', '.join(stuck)}"
        dead = [status.name for status in self.cameras() if status.state == CameraState.DEAD]
        if dead and len(dead) == len(self._running):
            return False, f"all cameras are dead: {', '.join(dead)}"
        return True, f"dead cameras: {', '.join(dead)}" if dead else "all is well"

    def subscribe(self) -> queue.Queue[tuple[str, dict[str, Any]]]:
        """Return a queue that gets (kind, content) of every alarm and, once a second, of every camera."""
        listener: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue(MOST_WAITING)
        self._listeners.append(listener)
        return listener

    def unsubscribe(self, listener: queue.Queue[tuple[str, dict[str, Any]]]) -> None:
        """Send no more to a queue."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _publish(self, kind: str, content: dict[str, Any]) -> None:
        for listener in list(self._listeners):
            try:
                listener.put_nowait((kind, content))
            except queue.Full:  # nobody reads: the page asks again when it comes back
                self.unsubscribe(listener)


def _state_of(status: CameraStatus) -> dict[str, Any]:
    content = {name: value for name, value in vars(status).items() if name != "recent"}
    return {**content, "state": str(status.state)}


def owned(folder: Path) -> IO[str]:
    """Take a storage for this process alone; return what is closed when it may be another's, at the latest by its end.

    Raises:
        InputError: Another watch has it: it would end this one's alarms.
    """
    file = (folder / OWNER).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(f"{folder}: a watch uses it; stop that one, or give another `storage.path`") from None
    except OSError as error:  # some network folders know no locks
        log.warning("%s: cannot be locked (%s); two watches must not use it", folder, in_one_line(error))
    return file


def read_thresholds(path: Path) -> dict[str, Rule]:
    """Return the rules by camera that were set on the page or fitted.

    Raises:
        InputError: The file is damaged.
    """
    if not path.exists():
        return {}
    try:
        return {str(name): Rule(*map(float, values)) for name, values in read_json(path).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged; remove it, and thresholds are those of the file again") from error
