import numpy as np
import pytest
from walking_people import BODY, SIZE, STEP, boxes_of, make, nobody, people, picture, scene, walkers

from vadistill.datasets.synthetic.pasting import OVERSIZED
from vadistill.datasets.synthetic.replay import moments
from vadistill.datasets.synthetic.tracks import feet


@pytest.mark.parametrize("kind", ["hurried", "halting", "turning"])
def test_an_object_is_seen_at_another_moment_and_no_more_where_it_was(kind):
    made = make(kind, walkers(), 100, pace=(2.0, 2.0))
    boxes = boxes_of(made)
    assert boxes.any(1).sum() >= 5 and set(made.changes) == set(np.flatnonzero(boxes.any(1)))
    body, empty, checks = np.array((30, 40, 90)), scene().astype(int), {"gone": 0, "there": 0}
    for t, (change,) in made.changes.items():
        rendered, others = made.render(t, picture(t)).astype(int), list(people(t))
        where = change.hidden.box(SIZE)
        assert any(np.abs(where - box).max() < 2.5 for box in others), "it is one of those that are there"
        before = np.zeros(SIZE, bool)
        for box in (boxes[t], *(box for box in others if np.abs(where - box).max() >= 2.5)):
            x1, y1, x2, y2 = np.rint(box).astype(int)
            before[max(y1 - 3, 0) : y2 + 3, max(x1 - 3, 0) : x2 + 3] = True
        x1, y1, x2, y2 = np.rint(where).astype(int)
        left = ~before[y1:y2, x1:x2]
        if left.sum() > 50:
            checks["gone"] += 1
            assert (np.abs(rendered - empty)[y1:y2, x1:x2].max(2)[left] < 25).mean() > 0.95, "it is gone"
        x1, y1, x2, y2 = np.rint(boxes[t]).astype(int)
        if y2 - y1 > 5 and x2 - x1 > 5:
            checks["there"] += 1
            assert (np.abs(rendered[y1:y2, x1:x2] - body).max(2) < 25).mean() > 0.65, "it is there"
        far = np.ones(SIZE, bool)
        for box in (where, boxes[t]):
            x1, y1, x2, y2 = np.rint(box).astype(int)
            far[max(y1 - 8, 0) : y2 + 8, max(x1 - 8, 0) : x2 + 8] = False
        np.testing.assert_array_equal(rendered[far], picture(t)[far])
    assert min(checks.values()) >= 3


def test_an_oversized_object_goes_its_own_way_as_large_as_none_is():
    made = make("oversized", walkers())
    abnormal, scales = np.flatnonzero(boxes_of(made).any(1)), []
    assert len(abnormal) >= 20
    for t in abnormal:
        (change,) = made.changes[t]
        was = min(people(made.source[t]), key=lambda box: np.abs(feet(box[None])[0] - change.shown.foot).sum())
        np.testing.assert_allclose(change.shown.foot, feet(was[None])[0], atol=2.5)
        frame = picture(made.source[t])
        rendered = made.render(t, frame.copy()).astype(int)
        x1, y1, x2, y2 = np.rint(boxes_of(made)[t]).astype(int)
        assert (np.abs(rendered[y1:y2, x1:x2] - (30, 40, 90)).max(2) < 25).mean() > 0.65, "it fills its box"
        far = np.ones(SIZE, bool)
        far[max(y1 - 10, 0) : y2 + 10, max(x1 - 10, 0) : x2 + 10] = False
        np.testing.assert_array_equal(rendered[far], frame[far])
        inside = x1 > 0 and x2 < SIZE[1]
        scales += [(boxes_of(made)[t][3] - boxes_of(made)[t][1]) / BODY[1]] if inside else []
    assert OVERSIZED[0] - 0.1 <= min(scales) and max(scales) <= OVERSIZED[1] + 0.1 and np.ptp(scales) < 0.2


@pytest.mark.parametrize("clip", [walkers, nobody])
def test_where_none_moves_for_long_enough_an_oversized_object_is_pasted_at_the_usual_pace(clip):
    made = make("oversized", clip(range(40, 55)), haste=(3.0, 4.0))
    box = boxes_of(made)[boxes_of(made).any(1)]
    usual = BODY[1] if clip is walkers else SIZE[0] / 6
    inside = (box[:, 0] > 0) & (box[:, 2] < SIZE[1]) & (box[:, 1] > 0)
    height = (box[:, 3] - box[:, 1])[inside]
    assert OVERSIZED[0] * usual - 2 <= np.median(height) <= OVERSIZED[1] * usual + 2
    if clip is walkers:
        foot = np.array([one.foot for (one,) in made.changes.values()])
        speed = np.median(np.hypot(*np.diff(foot, axis=0).T))
        assert 0.8 * STEP <= speed <= 1.2 * STEP


def test_moments_of_a_replayed_object():
    def shown(kind, length, pace=2.0):
        moment_of = moments(kind, pace)
        return [moment_of(i, length) for i in range(length)]

    assert shown("hurried", 6) == [0, 2, 4, 4, 2, 0]
    assert shown("hurried", 5, 1.0) == [0, 1, 2, 3, 3], "a quarter faster at least"
    assert shown("halting", 6) == [0, 1, 2, 2, 2, 2]
    assert shown("turning", 6) == [0, 1, 2, 3, 2, 1]
    assert shown("oversized", 3) == [0, 1, 2]
