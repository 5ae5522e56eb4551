from dataclasses import replace

import numpy as np
import pytest
from walking_people import BODY, FRAMES, SIZE, STEP, boxes_of, make, nobody, picture, walkers

from vadistill.datasets.synthetic.anomalies import Degree, plan
from vadistill.datasets.synthetic.tracks import feet
from vadistill.datasets.synthetic.vehicles import DRAWN
from vadistill.errors import InputError
from vadistill.settings import ANOMALY_KINDS
from vadistill.settings.data import LEARNED_KINDS


@pytest.mark.parametrize("kind", [*LEARNED_KINDS, *DRAWN, "several"])
@pytest.mark.parametrize("clip", [walkers, nobody])
@pytest.mark.parametrize(("usable", "frames"), [(range(FRAMES), 60), (range(70, FRAMES), 240), (range(12), 240)])
def test_every_kind_fills_the_middle_of_the_usable_frames(kind, clip, usable, frames):
    made = make(kind, clip(usable), frames)
    assert set(made.source) <= set(usable) and len(made.source) == len(made.boxes) <= frames
    abnormal = made.boxes.any((1, 2))
    inside = np.flatnonzero(abnormal)
    assert abnormal[inside[0] : inside[-1] + 1].all(), "one interval"
    assert 0.2 <= abnormal.mean() <= 0.5 and not abnormal[0] and not abnormal[-1]
    assert abs(inside[0] - (len(abnormal) - 1 - inside[-1])) <= 1
    x1, y1, x2, y2 = made.boxes[made.boxes.any(2)].T
    assert (x1 < x2).all() and (y1 < y2).all() and x1.min() >= 0 and x2.max() <= SIZE[1] and y2.max() <= SIZE[0]
    assert made.boxes.dtype == np.float32


@pytest.mark.parametrize("kind", ANOMALY_KINDS)
@pytest.mark.parametrize(("usable", "frames"), [(range(30, 70), 20), (range(40, 60), 240)])
def test_nothing_is_taken_from_other_frames_than_the_usable_ones(kind, usable, frames):
    """They are kept for something else: what stood in them must not be seen."""
    read = []
    clip = replace(walkers(usable), read=lambda t: read.append(t) or picture(t))
    for seed in range(3):
        make(kind, clip, frames, seed)
    assert set(read) <= set(usable) and bool(read) == (kind not in ("fast", "backward"))


@pytest.mark.parametrize("kind", ANOMALY_KINDS)
@pytest.mark.parametrize("clip", [walkers, nobody])
@pytest.mark.parametrize("usable", [range(12), range(70, FRAMES), range(20, 80)])
def test_every_kind_is_somewhere_within_the_middle_and_the_frame(kind, clip, usable):
    for seed in range(3):
        made = make(kind, clip(usable), 240, seed)
        boxes = made.boxes[made.boxes.any(2)]
        abnormal = np.flatnonzero(made.boxes.any((1, 2)))
        assert len(abnormal) and abnormal[0] >= 0.2 * len(made.source) and abnormal[-1] < 0.8 * len(made.source)
        assert (boxes[:, :2] < boxes[:, 2:]).all() and boxes.min() >= 0 and (boxes <= [*SIZE[::-1]] * 2).all()


def test_fast_leaps_and_backward_returns():
    fast, backward = make("fast", walkers()), make("backward", walkers())
    for made, step in ((fast, 3), (backward, -1)):
        abnormal = boxes_of(made).any(1)
        np.testing.assert_array_equal(np.diff(made.source), np.where(abnormal, step, 1)[1:])
        np.testing.assert_array_equal(boxes_of(made)[abnormal], np.tile([0, 0, SIZE[1], SIZE[0]], (abnormal.sum(), 1)))
        frame = picture(7)
        assert made.render(50, frame) is frame
    assert FRAMES - 5 <= fast.source[-1] - fast.source[0] + 1 <= FRAMES, "it uses what there is"


def test_an_interval_is_played_at_any_pace():
    paces = []
    for seed in range(20):
        made = make("fast", walkers(), seed=seed, pace=(1.25, 2.0))
        step = np.diff(made.source)[boxes_of(made).any(1)[1:]]
        assert set(step) <= {1, 2}
        paces.append(step.mean())
    assert 1.2 <= min(paces) < 1.4 and 1.8 < max(paces) <= 2.05


@pytest.mark.parametrize("kind", ["pasted", "misplaced"])
def test_only_the_labelled_box_changes(kind):
    made = make(kind, walkers(), 60)
    for t, (source, box) in enumerate(zip(made.source, boxes_of(made), strict=True)):
        frame = picture(source)
        before = frame.copy()
        changed = (made.render(t, frame) != before).any(2)
        np.testing.assert_array_equal(frame, before)
        assert changed.any() == box.any()
        if box.any():
            rows, columns = np.nonzero(changed)
            margin = 0.25 * max(box[2:] - box[:2]) + 2
            assert box[0] - margin <= columns.min() and columns.max() <= box[2] + margin
            assert box[1] - margin <= rows.min() and rows.max() <= box[3] + margin
            x1, y1, x2, y2 = box.round().astype(int)
            assert changed[y1:y2, x1:x2].mean() > 0.3


def test_misplaced_moves_as_a_walker_where_none_walks():
    clip = walkers()
    made = make("misplaced", clip, 60)
    box = boxes_of(made)[boxes_of(made).any(1)]
    foot = feet(box)
    distance = np.hypot(*(foot[:, None] - feet(clip.box)[None]).transpose(2, 0, 1)).min(1)
    assert (distance > 0.35 * BODY[1]).all()
    step = np.diff(foot, axis=0)
    scale = (box[:, 3] - box[:, 1]).mean() / BODY[1]
    # A second object may follow the first one: one leap.
    normal = np.hypot(*step.T) < 5
    assert (~normal).sum() <= 1
    assert np.median(np.abs(step[normal, 0])) == pytest.approx(STEP * scale, rel=0.15)
    assert np.abs(step[normal, 1]).max() < 0.5


@pytest.mark.parametrize("haste", [(2.0, 4.0), (1.1, 1.5)])
def test_pasted_slides_straight_and_hastily(haste):
    made = make("pasted", walkers(), 60, haste=haste)
    foot = np.array([placed.foot for (placed,) in made.changes.values()])
    step = np.diff(foot, axis=0)
    runs = np.flatnonzero(np.hypot(*np.diff(step, axis=0).T) < 1e-3)
    assert len(runs) > 0.6 * len(foot), "a straight line at one speed, for most of the time"
    speed = np.median(np.hypot(*step.T))
    assert 0.9 * haste[0] * STEP <= speed <= 1.05 * haste[1] * STEP
    assert all(1 <= placed.scale <= 1.6 for (placed,) in made.changes.values())


@pytest.mark.parametrize("kind", ["pasted", "misplaced", "oversized", "several", "occluded"])
@pytest.mark.parametrize("clip", [walkers, nobody])
def test_the_generator_decides_alone(kind, clip):
    def frames(seed):
        made = make(kind, clip(), 40, seed)
        return [made.render(t, clip().read(source)) for t, source in enumerate(made.source)]

    np.testing.assert_array_equal(frames(1), frames(1))
    assert (np.array(frames(1)) != np.array(frames(2))).any()


@pytest.mark.parametrize("count", [12, 13, 16, 20])
@pytest.mark.parametrize("share", [0.4, 0.8, 1.0])
def test_a_short_clip_is_played_as_fast_as_it_can_be(count, share):
    usable = range(5, 5 + count)
    degree = Degree(share, (9.0, 9.0), (2.0, 4.0))
    made = plan("fast", walkers(usable), 100, degree, np.random.default_rng(0))
    assert len(made.source) >= 4 and set(made.source) <= set(usable)
    abnormal = boxes_of(made).any(1)
    step = np.diff(made.source, prepend=made.source[0] - 1)
    assert abnormal.any() and step[1:][abnormal[1:]].mean() > 1.5 and (step[1:][~abnormal[1:]] == 1).all()


def test_too_few_frames():
    with pytest.raises(InputError, match="5 usable frames; expected at least 12"):
        make("fast", walkers(range(5)))
