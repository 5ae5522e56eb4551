"""What the detectors say about the test clips: frame scores of the student and of each teacher, and their settings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vadistill.calibration import Affine
from vadistill.data import object_scores
from vadistill.data.maps import MapStore
from vadistill.data.store import attribute, by_teacher
from vadistill.errors import InputError
from vadistill.metrics import frame_scores_from_objects

Scores = dict[str, np.ndarray]
"""Frame scores by clip, each (T,)."""


@dataclass(frozen=True)
class TeacherResult:
    """One teacher on the test clips.

    Attributes:
        scores: Frame scores: the highest calibrated object score, 0 without an object (the value of an empty map).
        map_scores: Frame scores as the student makes them: the mean of the maps' maxima.
        maps: Its maps.
        boxes: (N, 4) boxes and (N,) frame numbers of the objects, by clip.
    """

    scores: Scores
    map_scores: Scores
    maps: MapStore
    boxes: dict[str, tuple[np.ndarray, np.ndarray]]


def map_maxima(maps: MapStore, resolutions: tuple[int, ...]) -> dict[int, Scores]:
    """Return the maximum (T,) of each clip's maps, by resolution."""
    made: dict[int, Scores] = {g: {} for g in resolutions}
    for clip in maps.clips():
        for g, grid in maps.read(clip, resolutions).items():
            made[g][clip] = grid.max((1, 2))
    return made


def read_teacher(
    scores: list[Path], maps: list[Path], calibration: Path, resolutions: tuple[int, ...]
) -> TeacherResult:
    """Read the object scores and maps of one teacher.

    Object scores are calibrated but not cut at 1, so that the ranks of very abnormal objects are kept.
    """
    fitted = json.loads(calibration.read_text(encoding="utf-8"))
    affine = Affine(fitted["slope"], fitted["intercept"])
    frame_scores, boxes = {}, {}
    for clip in object_scores.read_shards(scores):
        values = np.maximum(affine(clip.score), 0)  # an object is never less than none
        frame_scores[clip.clip] = frame_scores_from_objects(clip.frame, values, clip.frames, empty=0.0)
        boxes[clip.clip] = (clip.box, clip.frame)
    store = MapStore(maps)
    return TeacherResult(frame_scores, mean_scores(map_maxima(store, resolutions).values()), store, boxes)


def read_teachers(
    scores: list[Path], maps: list[Path], calibrations: list[Path], resolutions: tuple[int, ...]
) -> dict[str, TeacherResult]:
    """Read every teacher's results.

    Raises:
        InputError: Scores, maps and calibrations are not of the same teachers.
    """
    score_files, map_files = by_teacher(scores), by_teacher(maps)
    fits = {json.loads(path.read_text(encoding="utf-8"))["teacher"]: path for path in calibrations}
    if not set(score_files) == set(map_files) == set(fits):
        raise InputError(f"object scores are of {sorted(score_files)}, maps of {sorted(map_files)}, "
                         f"calibrations of {sorted(fits)}; expected the same teachers")  # fmt: skip
    return {name: read_teacher(score_files[name], map_files[name], fits[name], resolutions) for name in score_files}


def mean_scores(parts: Any) -> Scores:
    """Return the mean of several scores of the same clips."""
    parts = list(parts)
    return {clip: np.mean([part[clip] for part in parts], axis=0) for clip in parts[0]}


def used_settings(student: Path, scores: list[Path], calibration: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that made the results, by section, and what is known of the detector."""
    settings: dict[str, Any] = json.loads(attribute(student, "model_settings"))
    for files in by_teacher(scores).values():
        settings |= json.loads(attribute(files[0], "settings"))
        settings |= {str(attribute(files[0], "teacher")): json.loads(attribute(files[0], "model_settings"))}
    detector = json.loads(attribute(scores[0], "detector"))
    settings |= detector["settings"] | {"calibration": json.loads(calibration.read_text(encoding="utf-8"))["settings"]}
    return {name: values for name, values in settings.items() if isinstance(values, Mapping)}, detector
