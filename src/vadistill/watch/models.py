"""The detectors of a watch: loaded once each, with what their cameras need of them."""

import logging
from pathlib import Path

from vadistill.errors import InputError, in_one_line
from vadistill.inference.detector import FrameDetector, load
from vadistill.inference.video_events import AlarmSettings, alarm_settings
from vadistill.watch.analyser import Analyser
from vadistill.watch.camera import Look
from vadistill.watch.config import CameraConfig
from vadistill.watch.tracker import Rule
from vadistill.windows.training_conditions import frame_step, matched_step

log = logging.getLogger(__name__)
STUDENT = "student"
USUAL_RATE = 25.0  # frames a second of a detector that does not know any


class Models:
    """Detectors by the path of their folder, each with the thread that runs it.

    Args:
        backend: That runs them; None for what each folder and this machine do best.
        batch: Frames that are analysed at once, at most.
    """

    def __init__(self, backend: str | None, batch: int) -> None:
        self._backend, self._batch = backend, batch
        self._loaded: dict[Path, tuple[FrameDetector, Analyser]] = {}

    def look(self, path: Path, name: str, camera: CameraConfig, alone: bool) -> Look:
        """Return what a camera needs of a detector, which is loaded where it is not yet.

        Args:
            path: A packed detector, or ``starter``.
            name: Of the camera.
            camera: Its part of the file.
            alone: Whether no other camera has this detector: its usual view is then the camera's.

        Raises:
            InputError: The detector cannot be loaded, has no such threshold, or cannot score zones and masks.
        """
        detector, analyser = self._detector(path)
        if (camera.zones or camera.masks) and detector.backend.detector != STUDENT:
            raise InputError(
                f"camera {name}: zones and masks need a student; {path} holds the detector "
                f"'{detector.backend.detector}'"
            )
        try:
            found = alarm_settings(detector.alarms, camera.false_alarms_per_day, camera.threshold)
        except InputError as error:
            raise InputError(f"camera {name}: {error}") from error
        if found is None:
            log.warning("camera %s: %s has no thresholds: no alarms; give one, or adapt it to the camera", name, path)
        elif found.note:
            log.warning("camera %s: its threshold is %s", name, found.note)
        smoothing = found.smoothing_s if found else 0.8
        view = detector.view if alone else None
        return Look(str(path), analyser, window_step(detector), smoothing, rule_of(found) if found else None, view)

    def drop_unused(self) -> None:
        """End the detectors that no camera has any more."""
        for path, (_, analyser) in list(self._loaded.items()):
            if not analyser.cameras:
                analyser.stop()
                del self._loaded[path]

    def stuck(self) -> list[str]:
        """Return the detectors that analyse nothing, though windows wait."""
        return [str(path) for path, (_, analyser) in list(self._loaded.items()) if analyser.stuck]

    def stop(self) -> None:
        """End all of them."""
        for _, analyser in self._loaded.values():
            analyser.stop()

    def detector(self, path: Path) -> FrameDetector:
        """Return a detector that is loaded."""
        return self._loaded[path][0]

    def _detector(self, path: Path) -> tuple[FrameDetector, Analyser]:
        if path not in self._loaded:
            try:
                detector = load(path, self._backend)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({in_one_line(error)})") from error
            analyser = Analyser(str(path), detector.backend, self._batch)
            analyser.start()
            log.info("%s: %s", path, detector.backend.name)
            self._loaded[path] = detector, analyser
        return self._loaded[path]


def rule_of(found: AlarmSettings) -> Rule:
    """Return when there is an alarm."""
    return Rule(found.threshold, found.release, found.cool_down_s)


def window_step(detector: FrameDetector) -> float:
    """Return how many seconds lie between the neighbours of a window: as when its thresholds were found.

    Without thresholds, as in training; where that is not known either, as at ``USUAL_RATE``.
    """
    backend, step = detector.backend, frame_step(detector.backend.offsets)
    trained = backend.conditions.frames_per_second if backend.conditions else ()
    rate = detector.alarms.frames_per_second if detector.alarms else None
    if rate and detector.scoring.match_rate and backend.conditions and trained:
        step = matched_step(step, rate, backend.conditions.nearest_rate(rate))
    return step / (rate or (trained[len(trained) // 2] if trained else USUAL_RATE))
