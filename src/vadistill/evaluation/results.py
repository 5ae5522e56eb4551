"""What the detectors say about the clips of a split: scored objects, frame scores and the settings behind them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vadistill.errors import InputError
from vadistill.evaluation.localisation import PixelCounts, box_regions, enlarge, low_threshold, map_regions
from vadistill.evaluation.mean_filter import filtered_frame_scores
from vadistill.evaluation.metrics import FrameScores, frame_scores_from_objects
from vadistill.evaluation.rbdc_tbdc import Regions
from vadistill.geometry.boxes import overlaps
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.io import object_scores
from vadistill.io.hdf5 import attribute, by_teacher, json_attribute, read_attribute, reading
from vadistill.io.maps import MapStore
from vadistill.io.object_scores import columns_of
from vadistill.io.provenance import data_fingerprint
from vadistill.maps.calibration import Calibrator
from vadistill.maps.calibration_file import read_calibration
from vadistill.settings import TEACHERS, LocalisationConfig, calibrated_maps

ObjectsByClip = dict[str, ScoredObjects]
"""Scored objects by clip."""


@dataclass(frozen=True)
class TeacherResult:
    """One teacher on the clips of a split.

    Attributes:
        objects: Its calibrated objects.
        maps: Its maps.
    """

    objects: ObjectsByClip
    maps: MapStore

    @property
    def scores(self) -> FrameScores:
        """The highest object score of each frame, 0 without an object (the value of an empty map)."""
        return highest(self.objects)


def scored_objects(scores: list[Path], calibrator: Calibrator) -> ObjectsByClip:
    """Read the terms of a teacher's objects and calibrate them."""
    columns = columns_of(scores[0], calibrator.terms)
    return {
        clip.clip: ScoredObjects(
            clip.frames, clip.size, clip.frame, clip.box, calibrator(clip.terms[:, columns], clip.scene, clip.row)
        )
        for clip in object_scores.read_shards(scores)
    }


def mean_objects(parts: Mapping[str, ScoredObjects]) -> ScoredObjects:
    """Return the objects of one clip with the mean of several teachers' scores.

    A teacher of cells gives a box the score of ``highest_meeting``. Where all teachers are of cells, these are the
    objects.

    Args:
        parts: Objects by teacher; all boxes, and all cells, are the same and sorted by frame.
    """
    judged = {name: TEACHERS[name].of for name in parts}
    of = "boxes" if "boxes" in judged.values() else "cells"
    objects = next(part for name, part in parts.items() if judged[name] == of)
    scores = [part.score if judged[name] == of else highest_meeting(objects, part) for name, part in parts.items()]
    return replace(objects, score=np.mean(scores, axis=0))


def highest_meeting(objects: ScoredObjects, cells: ScoredObjects) -> np.ndarray:
    """Return for each object (N,) the highest score of the cells of its frame that it meets, 0 without one."""
    found = np.zeros(len(objects.frame))
    for t in np.unique(objects.frame):
        here, there = (slice(*np.searchsorted(part.frame, (t, t + 1))) for part in (objects, cells))
        shared, _, _ = overlaps(objects.box[here], cells.box[there])
        found[here] = np.where(shared > 0, cells.score[there], 0).max(axis=1, initial=0)
    return found


def object_regions(objects: ScoredObjects, cell: int, side: int, span: int) -> Regions:
    """Return every object of a clip as a region, with the highest mean filtered score inside its box."""
    return box_regions(objects, cell, side, span)


def highest(objects: ObjectsByClip) -> FrameScores:
    """Return the highest object score of each frame, 0 without one."""
    return {
        clip: frame_scores_from_objects(part.frame, part.score, part.frames, empty=0.0)
        for clip, part in objects.items()
    }


def filtered(objects: ObjectsByClip, cell: int, side: int) -> FrameScores:
    """Return frame scores behind the mean filter over time and place (``vadistill.evaluation.mean_filter``)."""
    return {clip: filtered_frame_scores(part, cell, side) for clip, part in objects.items()}


def map_maxima(maps: MapStore, resolutions: tuple[int, ...]) -> dict[int, FrameScores]:
    """Return the maximum (T,) of each clip's maps, by resolution."""
    made: dict[int, FrameScores] = {g: {} for g in resolutions}
    for clip in maps.clips():
        for g, grid in maps.read(clip, resolutions).items():
            made[g][clip] = grid.max((1, 2))
    return made


def highest_cells(maps: MapStore, side: int, usual: np.ndarray | float = 0.0) -> np.ndarray:
    """Return how far the maps of one resolution rise above what is usual in every frame (T,), all clips joined."""
    return np.concatenate([(maps.read(clip, (side,))[side] - usual).max((1, 2)) for clip in maps.clips()])


def usual_cells(maps: MapStore, side: int) -> np.ndarray:
    """Return the median (g, g) of each cell of the maps of one resolution."""
    return np.median(np.concatenate([maps.read(clip, (side,))[side] for clip in maps.clips()]), axis=0)


def read_calibrations(paths: list[Path]) -> dict[str, dict[str, Any]]:
    """Return what calibrate_teacher wrote, by teacher."""
    return {content["teacher"]: content for content in map(read_calibration, paths)}


def objects_by_teacher(scores: list[Path], calibrations: list[Path]) -> dict[str, ObjectsByClip]:
    """Read the terms of every teacher's objects and calibrate them."""
    fits = read_calibrations(calibrations)
    return {
        name: scored_objects(files, Calibrator.from_json(fits[name]["score"]))
        for name, files in by_teacher(scores).items()
    }


def read_teachers(scores: list[Path], maps: list[Path], calibrations: list[Path]) -> dict[str, TeacherResult]:
    """Read every teacher's results.

    Raises:
        InputError: Scores, maps and calibrations are not of the same teachers.
    """
    score_files, map_files, fits = by_teacher(scores), by_teacher(maps), read_calibrations(calibrations)
    if not set(score_files) == set(map_files) == set(fits):
        raise InputError(f"object scores are of {sorted(score_files)}, maps of {sorted(map_files)}, "
                         f"calibrations of {sorted(fits)}; expected the same teachers")  # fmt: skip
    return {
        name: TeacherResult(scored_objects(files, Calibrator.from_json(fits[name]["score"])), MapStore(map_files[name]))
        for name, files in score_files.items()
    }


def used_settings(student: Path, scores: list[Path], calibration: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that made the results, by section, and what is known of the detector, if one was asked."""
    settings: dict[str, Any] = json_attribute(student, "model_settings")
    detector: dict[str, Any] = {}
    for files in by_teacher(scores).values():
        settings |= json_attribute(files[0], "settings")
        settings |= {attribute(files[0], "teacher"): json_attribute(files[0], "model_settings")}
        detector |= json_attribute(files[0], "detector")
    settings |= detector.get("settings", {}) | {"calibration": read_calibration(calibration)["settings"]}
    return {name: values for name, values in settings.items() if isinstance(values, Mapping)}, detector


def data_of(student: Path, labels: dict[str, str]) -> dict[str, Any]:
    """Return fingerprints of the clips that a student learned from and of those that it scored, and of the labels."""
    with reading(student) as file:
        known = {clip: group for clip, group in file.items() if "fingerprint" in group.attrs}
        scored = {clip: read_attribute(known[clip], "fingerprint") if clip in known else None for clip in file}
    learned = json_attribute(student, "model_settings").get("training_data")
    return {"training": learned, "scored": data_fingerprint(scored), "labels": labels}


class Detectors:
    """A frame-level detector, its teachers where it has some, and their mean: what they say about the test clips."""

    def __init__(
        self,
        detector: str,
        maps: MapStore,
        normal: MapStore,
        teachers: Mapping[str, TeacherResult],
        settings: LocalisationConfig,
    ) -> None:
        """Take what they said.

        Args:
            detector: Name of the frame-level detector.
            maps: Its maps of the test clips.
            normal: Its maps of training clips: they tell which values are ordinary.
            teachers: The teachers on the test clips.
            settings: Of the teachers' mean filter.
        """
        self.detector = detector
        self.volume = (settings.filter_cell, settings.filter_cells, settings.filter_frames)
        self.objects = {name: teacher.objects for name, teacher in teachers.items()}
        self.maps = {detector: maps, **{name: teacher.maps for name, teacher in teachers.items()}}
        self.side = max(maps.resolutions(maps.clips()[0]))
        # Where maps have no zero, a cell is as high as its place is hard to draw, and the highest of normal frames say
        # how badly a network may err. By the median normal frames have regions, too: the curve to one a frame is whole.
        known = calibrated_maps(detector)
        self.usual = 0.0 if known else usual_cells(normal, self.side)
        maxima = highest_cells(normal, self.side, self.usual)
        # Errors lie on the cells where they are made: their peaks are no wider than what they see.
        self.peak_share = settings.map_peak_share if known else 0.0
        self.threshold = low_threshold(maxima, settings.map_share, 99 if known else 50)

    def regions(self, clip: str, size: tuple[int, int]) -> Iterator[tuple[str, Regions]]:
        """Yield the regions of a clip, whose frames have a height and width in pixels, by each detector."""
        maps = self._finest(self.detector, clip) - self.usual
        yield self.detector, map_regions(maps, size, self.threshold, self.peak_share)
        for name, by_clip in self.objects.items():
            yield name, object_regions(by_clip[clip], *self.volume)
        if self.objects:
            together = mean_objects({name: by_clip[clip] for name, by_clip in self.objects.items()})
            yield "teachers_mean", object_regions(together, *self.volume)

    def count_pixels(self, pixels: dict[str, PixelCounts], clip: str, masks: np.ndarray) -> None:
        """Compare the maps of a clip with its masks (T, H, W)."""
        for name, store in self.maps.items():
            if name not in pixels:  # maps of frame-level detectors are not bounded by 1
                pixels[name] = PixelCounts(max(1.0, float(highest_cells(store, self.side).max())))
            for cells, mask in zip(self._finest(name, clip), masks, strict=True):
                pixels[name].update(enlarge(cells, mask.shape), mask)

    def _finest(self, name: str, clip: str) -> np.ndarray:
        """Return the finest maps (T, g, g) of a detector for a clip."""
        return self.maps[name].read(clip, (self.side,))[self.side]
