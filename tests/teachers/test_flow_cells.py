"""The teacher flow_cells against loops over cells, and its stages."""

import json
from argparse import Namespace

import numpy as np
import pytest

from vadistill.datasets.splits import held_out_part
from vadistill.errors import InputError
from vadistill.geometry.motion import MOVING, Motion, usual_speed
from vadistill.io import motion as motion_files
from vadistill.io.hdf5 import attribute, json_attribute, write_attributes, writing
from vadistill.io.object_scores import read_shards, term_names
from vadistill.settings import FlowCellsConfig
from vadistill.stages import score_cells, train_cells
from vadistill.teachers.cells import cell_boxes, fitted_clips, moving_cells
from vadistill.teachers.flow_cells import CHUNK, run_length
from vadistill.teachers.registry import build, build_of_cells
from vadistill.training.checkpoint import load_model

ROWS, COLUMNS, SIZE = 5, 7, (50, 77)


def motion_of(seed, frames=12, scale=1.0, name="clip"):
    """Cells of which about half move, the lower ones faster."""
    rng = np.random.default_rng(seed)
    faster = scale * 0.01 * np.arange(1, ROWS + 1)[:, None]
    moves = rng.random((frames, 1, ROWS, COLUMNS)) < 0.5
    mean = rng.normal(size=(frames, 2, ROWS, COLUMNS, 2)) * faster[..., None] * moves[..., None]
    highest = np.hypot(mean[..., 0], mean[..., 1]) * (1 + rng.random((frames, 2, ROWS, COLUMNS)))
    return Motion(name, SIZE, mean.astype(np.float16), highest.astype(np.float16))


def taught(*motions, **settings):
    teacher = build_of_cells("flow_cells", FlowCellsConfig(**settings), sorted({scene for scene, _ in motions}))
    return teacher, teacher.fit(lambda: iter(motions))


def moves(motion, t, row, column):
    inside = 0 <= row < ROWS and 0 <= column < COLUMNS
    return inside and min(motion.highest[t, 0, row, column], motion.highest[t, 1, row, column]) >= np.float16(MOVING)


def reach(motion, t, row, column, down, across):
    count = 1
    for sign in (1, -1):
        step = 1
        while moves(motion, t, row + sign * step * down, column + sign * step * across):
            count, step = count + 1, step + 1
    return count


def features_by_hand(motion, usual):
    made = []
    for t in range(len(motion)):

        def own(row, column, t=t):
            flows = [motion.mean[t, d, row, column].astype(float) for d in (0, 1)]
            return np.array([*flows[0], *flows[1], *motion.highest[t, :, row, column].astype(float)]) / usual[row]

        for row, column in np.ndindex(ROWS, COLUMNS):
            if not moves(motion, t, row, column):
                continue
            near = [
                own(min(max(row + i, 0), ROWS - 1), min(max(column + j, 0), COLUMNS - 1))
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
            ]
            along = [reach(motion, t, row, column, *way) / 4 for way in ((1, 0), (0, 1))]
            made.append(np.concatenate([own(row, column), np.mean(near, axis=0), along, [row / ROWS]]))
    return np.array(made)


def test_features_and_boxes_are_those_of_the_moving_cells():
    teacher, weights = taught(("", motion_of(0)), ("", motion_of(1)))
    usual = usual_speed([motion_of(0).speed, motion_of(1).speed])
    np.testing.assert_allclose(weights["usual"], [usual, usual])
    motion = motion_of(2)
    np.testing.assert_allclose(teacher.features(motion, ""), features_by_hand(motion, usual), rtol=1e-4, atol=1e-5)
    frame, row, column = moving_cells(motion)
    assert list(zip(frame, row, column, strict=True)) == [
        (t, r, c) for t in range(len(motion)) for r, c in np.ndindex(ROWS, COLUMNS) if moves(motion, t, r, c)
    ]
    for box, r, c in zip(cell_boxes(motion, row, column), row, column, strict=True):
        assert box.tolist() == [77 * c // 7, 50 * r // 5, 77 * (c + 1) // 7, 50 * (r + 1) // 5]


def test_long_clips_are_described_part_by_part():
    teacher, _ = taught(("", motion_of(0)))
    motion = motion_of(3, CHUNK + 7)
    whole = teacher.features(motion, "")
    np.testing.assert_array_equal(whole[-len(teacher.features(motion.part(CHUNK, CHUNK + 7), "")) :],
                                  teacher.features(motion.part(CHUNK, CHUNK + 7), ""))  # fmt: skip


def test_a_term_is_the_mean_distance_to_the_nearest_others_averaged_over_the_cells_around():
    normal, motion = motion_of(0), motion_of(5, 4, scale=2)
    teacher, weights = taught(("", normal), neighbours=3)
    terms, features = teacher.measure(motion, ""), teacher.features(motion, "")
    distance = np.zeros((len(motion), ROWS, COLUMNS))
    for place, own in zip(zip(*moving_cells(motion), strict=True), features.astype(float), strict=True):
        away = np.sort(np.linalg.norm(weights["normal"].astype(float) - own, axis=1))
        distance[place] = away[:3].mean()
    padded = np.pad(distance, ((0, 0), (1, 1), (1, 1)))
    expected = [padded[t, r : r + 3, c : c + 3].mean() for t, r, c in zip(*moving_cells(motion), strict=True)]
    np.testing.assert_allclose(terms[:, 0], expected, rtol=1e-4)


def test_a_normal_cell_is_not_its_own_neighbour_and_faster_motion_stands_out():
    teacher, _ = taught(("", motion_of(0)))
    known, other, fast = (
        teacher.measure(motion, "").mean() for motion in (motion_of(0), motion_of(1), motion_of(1, scale=3))
    )
    assert 0.7 * other < known < 1.3 * other and fast > 2 * other


def test_a_single_normal_cell_is_enough():
    lonely = motion_of(0, 1)
    lonely.highest[:] = lonely.mean[:] = 0
    lonely.highest[0, :, 2, 3] = 0.05
    teacher, weights = taught(("", lonely))
    assert len(weights["normal"]) == 1
    assert teacher.measure(lonely, "") == pytest.approx(0, abs=1e-6)


def test_normal_cells_are_thinned_out_evenly_over_all_clips():
    motions = [("", motion_of(seed, 5)) for seed in range(4)]
    teacher, everything = taught(*motions)
    total = len(everything["normal"])
    _, thinned = taught(*motions, max_cells=total // 3)
    stride = -(-total // (total // 3))
    np.testing.assert_array_equal(thinned["normal"], everything["normal"][::stride])
    np.testing.assert_array_equal(
        everything["normal"], np.concatenate([teacher.features(motion, "") for _, motion in motions])
    )


def test_scenes_have_their_own_speeds_and_an_unknown_one_those_of_all():
    slow, fast = motion_of(0), motion_of(1, scale=4)
    teacher, weights = taught(("slow", slow), ("fast", fast))
    np.testing.assert_allclose(
        weights["usual"], [usual_speed([m.speed for m in part]) for part in ([fast], [slow], [slow, fast])]
    )
    speeds = [teacher.features(fast, scene)[:, 4:6].mean() for scene in ("slow", "new", "fast")]
    assert speeds[0] > speeds[1] > speeds[2]


def test_what_cannot_be_learned_or_measured_is_refused():
    still = motion_of(0)
    still.highest[:] = 0
    with pytest.raises(InputError, match="flow_cells: nothing moves in 1 training clips"):
        taught(("", still))
    assert taught(("", motion_of(0)))[0].measure(still, "").shape == (0, 1)
    other = Motion("b", SIZE, np.zeros((2, 2, 4, 7, 2), np.float16), np.ones((2, 2, 4, 7), np.float16))
    with pytest.raises(InputError, match="clip b: motion in 4 rows of cells; expected 5"):
        taught(("", motion_of(0)))[0].measure(other, "")
    with pytest.raises(InputError, match="'flow_cells': its objects are no boxes"):
        build("flow_cells", FlowCellsConfig(), 3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_run_lengths(axis):
    moving = np.random.default_rng(0).random((4, 6, 5)) < 0.6
    for place in np.ndindex(moving.shape):
        line = moving[tuple(slice(None) if i == axis else k for i, k in enumerate(place))]
        first = last = place[axis]
        while first > 0 and line[first - 1]:
            first -= 1
        while last < len(line) - 1 and line[last + 1]:
            last += 1
        assert run_length(moving, axis)[place] == (last - first + 1 if moving[place] else 0)


@pytest.fixture
def stored(tmp_path):
    """Two training clips of each of two cameras."""
    with writing(tmp_path / "motion.h5") as file:
        write_attributes(file, settings=json.dumps({"motion": {"rows": ROWS}}))
        for name in ("a_1", "a_2", "b_1", "b_2"):
            motion_files.write_clip(file, motion_of(ord(name[-1]), 20, 1 + (name[0] == "b"), name))
    return tmp_path / "motion.h5"


def test_held_out_clips_are_not_fitted(stored):
    scenes = {name: name[0] for name in ("a_1", "a_2", "b_1", "b_2")}
    held = held_out_part(scenes, 0.3)
    assert len(held) == 2
    clips = fitted_clips([stored], scenes, 0.3)
    for _ in range(2):
        assert {motion.clip: scene for scene, motion in clips()} == {n: s for n, s in scenes.items() if n not in held}
    _, first = next(iter(fitted_clips([stored], {"a_1": ""}, 0.3)()))
    assert len(first) == 14, "of a single clip, what comes before its last part"


def test_the_stages_leave_what_calibration_and_maps_read(stored, tmp_path):
    scene, model, output = "(.)_", tmp_path / "model.pt", tmp_path / "scores.h5"
    settings = {"scene": scene, "held_out": {"share": 0.0}, "flow_cells": {"max_cells": 100}}
    train_cells.main(Namespace(settings=settings, teacher="flow_cells", motion=[stored], output=model))
    content = load_model(model, "flow_cells")
    assert content["scenes"] == ["a", "b"] and content["weights"]["usual"].shape == (3, ROWS)
    arguments = {"teacher": "flow_cells", "model": model, "motion": [stored], "output": output}
    score_cells.main(Namespace(settings={"scene": scene}, **arguments))
    assert attribute(output, "teacher") == "flow_cells" and term_names(output, "counted") == ["distance"]
    assert json_attribute(output, "settings")["motion"] == {"rows": ROWS} and json_attribute(output, "detector") == {}
    teacher = build_of_cells("flow_cells", FlowCellsConfig(max_cells=100), ["a", "b"])
    teacher.load({name: values.numpy() for name, values in content["weights"].items()})
    for scored, motion in zip(read_shards([output]), motion_files.read_shards([stored]), strict=True):
        terms = teacher.measure(motion, motion.clip[0])
        assert (scored.clip, scored.scene, scored.frames, scored.size) == (motion.clip, motion.clip[0], 20, SIZE)
        np.testing.assert_allclose(scored.terms, terms, rtol=1e-6)
        np.testing.assert_array_equal(scored.frame, moving_cells(motion)[0])
