"""From the terms of a teacher's objects to its calibration and its frame scores, by the files that the stages write."""

from types import SimpleNamespace

import numpy as np
import pytest

from vadistill.errors import InputError
from vadistill.evaluation.results import TeacherResult, highest, mean_objects
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.io import object_scores
from vadistill.io.hdf5 import write_attributes, writing
from vadistill.io.maps import MapStore, write_clip
from vadistill.maps.calibration import Calibrator
from vadistill.maps.calibration_file import read_calibration
from vadistill.stages import calibrate_teacher

FRAMES, SIZE = 100, (40, 60)


def objects(clip, seed, later):
    """Thousands of objects whose terms are higher in the second half of the clip."""
    rng = np.random.default_rng(seed)
    frame = np.sort(rng.integers(0, FRAMES, 20_000))
    terms = rng.random((len(frame), 2)) + later * (frame >= FRAMES / 2)[:, None]
    box = np.tile([1.0, 2.0, 11.0, 22.0], (len(frame), 1))
    return object_scores.ObjectScores(clip, FRAMES, SIZE, "", frame, box, terms)


@pytest.fixture
def scores(tmp_path):
    clips = [objects("whole", 0, 1.0), objects("part", 1, 5.0), objects("fitted", 2, 50.0)]
    with writing(tmp_path / "scores.h5") as file:
        write_attributes(file, teacher="one", terms=["a", "b"], counted=["a", "b"], probabilities=["a"])
        for clip in clips:
            object_scores.write_clip(file, clip)
    return tmp_path / "scores.h5", clips


def calibrated(scores, part):
    output = scores.with_name("calibration.json")
    settings = {"fitted_on": part, "calibration": {"logits": False, "standardise": "none"}}
    calibrate_teacher.main(SimpleNamespace(settings=settings, scores=[scores], output=output))
    return read_calibration(output)


def test_a_calibration_is_fitted_to_the_objects_of_the_held_out_part(scores):
    path, (whole, part, _) = scores
    made = calibrated(path, {"whole": 0.0, "part": 0.5})
    terms = np.concatenate([whole.terms, part.terms[part.frame >= FRAMES / 2]])
    row = np.full(len(terms), 0.5)
    values = Calibrator.from_json(made["score"])(terms, "", row)
    assert np.percentile(values, [0.5, 99.5]) == pytest.approx([0.05, 0.6], abs=1e-4)
    assert made["objects"] == len(terms) and made["clips"] == ["part", "whole"]
    with pytest.raises(InputError, match="no object in the 1 training clips"):
        calibrated(path, {"other": 0.0})


def test_a_term_alone_is_calibrated_for_tables(scores):
    path, (whole, *_) = scores
    made = calibrated(path, {"whole": 0.0})
    for column, name in enumerate("ab"):
        fitted = Calibrator.from_json(made["single"][name])
        assert fitted.terms == (name,)
        values = fitted(whole.terms[:, [column]], "", whole.row)
        assert np.percentile(values, [0.5, 99.5]) == pytest.approx([0.05, 0.6], abs=1e-4)


def test_a_frame_scores_as_its_highest_object_and_0_without_one_as_an_empty_map(tmp_path):
    box = np.tile([1.0, 2.0, 11.0, 22.0], (3, 1))
    found = {"a": ScoredObjects(4, SIZE, np.array([1, 1, 3]), box, np.array([0.2, 1.7, 0.0]))}
    nothing = {"b": ScoredObjects(2, SIZE, np.zeros(0, int), np.zeros((0, 4)), np.zeros(0))}
    with writing(tmp_path / "maps.h5") as file:
        write_clip(file, "a", {1: np.zeros((4, 1, 1))})
    made = TeacherResult(found | nothing, MapStore([tmp_path / "maps.h5"])).scores
    assert {clip: values.tolist() for clip, values in made.items()} == {"a": [0, 1.7, 0, 0], "b": [0, 0]}
    assert highest(found)["a"].tolist() == made["a"].tolist()


def scored(seed, count, side):
    """Random boxes or cells of a few frames, sorted by frame; frame 3 has none."""
    rng = np.random.default_rng(seed)
    frame = np.sort(rng.choice([0, 1, 2, 4], count))
    corner = rng.integers(0, [SIZE[1] // side, SIZE[0] // side], (count, 2)) * side
    box = np.concatenate([corner, corner + side], 1).astype(np.float32)
    return ScoredObjects(5, SIZE, frame, box, rng.random(count) + 0.1)


def test_of_teachers_of_boxes_and_of_cells_a_box_has_the_mean_with_the_highest_cell_that_meets_it():
    box, other, cells = scored(0, 12, 15), scored(0, 12, 15), scored(1, 60, 5)
    other = ScoredObjects(5, SIZE, other.frame, other.box, other.score * 2)
    mean = mean_objects({"flow_cells": cells, "multi_task": box, "flow_neighbours": other})
    assert (mean.box == box.box).all() and (mean.frame == box.frame).all()
    for row, (x1, y1, x2, y2) in enumerate(box.box):
        met = [
            score
            for t, (left, top, right, bottom), score in zip(cells.frame, cells.box, cells.score, strict=True)
            if t == box.frame[row] and left < x2 and right > x1 and top < y2 and bottom > y1
        ]
        assert mean.score[row] == pytest.approx((3 * box.score[row] + max(met, default=0)) / 3)


def test_cells_far_away_or_in_other_frames_do_not_meet_a_box_and_alone_they_are_the_objects():
    box = ScoredObjects(3, SIZE, np.array([1]), np.array([[0.0, 0, 10, 10]]), np.array([0.6]))
    cells = ScoredObjects(3, SIZE, np.array([0, 1]), np.array([[0.0, 0, 5, 5], [10, 0, 15, 5]]), np.array([0.9, 0.8]))
    assert mean_objects({"multi_task": box, "flow_cells": cells}).score.tolist() == [0.3]
    alone = mean_objects({"flow_cells": cells})
    assert alone.score.tolist() == [0.9, 0.8] and (alone.box == cells.box).all()
    nothing = ScoredObjects(3, SIZE, np.zeros(0, int), np.zeros((0, 4)), np.zeros(0))
    assert mean_objects({"multi_task": box, "flow_cells": nothing}).score.tolist() == [0.3]
    assert len(mean_objects({"multi_task": nothing, "flow_cells": cells}).score) == 0
