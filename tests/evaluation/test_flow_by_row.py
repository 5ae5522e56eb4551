import numpy as np
import pytest

from vadistill.errors import InputError
from vadistill.evaluation import flow_by_row
from vadistill.evaluation.flow_by_row import FlowByRow
from vadistill.geometry.motion import MOVING, usual_speed
from vadistill.io.files import write_json
from vadistill.maps.percentiles import steady


def clip(seed, scale=1.0, frames=60):
    rng = np.random.default_rng(seed)
    return (scale * rng.gamma(2, 0.01, (frames, 4, 8)) * np.arange(1, 5)[:, None]).astype(np.float16)


def test_a_score_is_the_fastest_cell_in_units_of_its_row_and_of_what_is_rare():
    clips = [("", clip(seed)) for seed in range(3)]
    made = flow_by_row.fit(clips)
    usual = usual_speed([speed for _, speed in clips])

    def fastest(speed):
        return np.array([max(frame[r, c] / usual[r] for r in range(4) for c in range(8)) for frame in speed], float)

    normal = np.concatenate([fastest(speed) for _, speed in clips])
    high = np.percentile(normal, steady(99, len(normal)))
    assert 1 < high < normal.max()
    np.testing.assert_allclose(made(clip(9), ""), np.tanh(fastest(clip(9)) / high), rtol=1e-6)


def test_each_scene_has_its_own_speeds_and_an_unknown_one_those_of_all():
    slow, fast = clip(0), clip(1, scale=3)
    made = flow_by_row.fit([("slow", slow), ("fast", fast)])
    np.testing.assert_array_equal(made.usual["fast"], usual_speed([fast]))
    assert made(fast, "slow").mean() > made(fast, "new").mean() > made(fast, "fast").mean()
    np.testing.assert_allclose(made.overall, usual_speed([slow, fast]))


def test_where_nothing_moves_in_training_the_least_motion_stands_out():
    made = flow_by_row.fit([("", np.zeros((20, 3, 4), np.float16))])
    test = np.zeros((2, 3, 4), np.float16)
    test[1, 2, 2] = MOVING
    assert made(test, "") == pytest.approx([0, np.tanh(1)], rel=1e-3)


def test_what_is_read_is_what_was_written(tmp_path):
    made = flow_by_row.fit([("slow", clip(0)), ("fast", clip(1, scale=3))])
    write_json(tmp_path / "fitted.json", made.content())
    read = FlowByRow.read(tmp_path / "fitted.json")
    assert read == made
    np.testing.assert_array_equal(read(clip(5), "slow"), made(clip(5), "slow"))
    write_json(tmp_path / "fitted.json", {"usual": {}})
    with pytest.raises(InputError, match=r"fitted\.json: no key overall, high"):
        FlowByRow.read(tmp_path / "fitted.json")
