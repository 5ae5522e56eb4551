import cv2
import numpy as np
import pytest
from walking_people import FRAMES, SIZE, STEP, boxes_of, make, nobody, picture, scene, walkers

from vadistill.datasets.synthetic.cutouts import Covered, Cutout, Placed
from vadistill.datasets.synthetic.normal_clip import NormalClip
from vadistill.datasets.synthetic.occlusion import LEAST_SEEN, MOST_SEEN, seen
from vadistill.datasets.synthetic.pasting import ENLARGED, SEVERAL, changes


def test_several_are_there_at_once():
    counts, whole = set(), []
    for seed in range(12):
        made = make("several", walkers(range(20, FRAMES)), 40, seed)
        counts.add(made.boxes.shape[1])
        for t, those in made.changes.items():
            rows = [one.foot[1] for one in those]
            assert rows == sorted(rows), "what is nearer covers what is farther away"
            assert all(ENLARGED[0] <= one.scale <= ENLARGED[1] for one in those)
            np.testing.assert_array_equal(made.boxes[t, : len(those)], [one.box(SIZE) for one in those])
            assert not made.boxes[t, len(those) :].any()
            whole.append(len(those) == made.boxes.shape[1])
            for i in range(len(those)):
                assert visible(made.boxes[t, i], made.boxes[t, i + 1 : len(those)]) >= LEAST_SEEN
                others = those[:i] + those[i + 1 :]
                without = scene()
                for one in others:
                    without = one.paste(without)
                assert (made.render(t, scene()) != without).any(), "each of them is seen"
    assert counts == set(range(SEVERAL[0], SEVERAL[1] + 1)) and np.mean(whole) > 0.8


def test_several_are_as_hasty_as_one():
    made = make("several", walkers(), 60, haste=(2.0, 4.0))
    steps = []
    for t, those in made.changes.items():
        if t + 1 in made.changes:
            feet_after = np.array([one.foot for one in made.changes[t + 1]])
            steps += [np.hypot(*(feet_after - one.foot).T).min() for one in those]
    assert 1.8 * STEP <= np.median(steps) <= 4.2 * STEP


def test_of_several_only_those_are_labelled_that_are_seen(monkeypatch):
    """Of two on one way, the nearer one hides the other."""
    behind, before = (
        Placed(
            Cutout(np.zeros((30, 12, 3), np.uint8), np.ones((30, 12), np.float32), np.array([0.0, 0, 12, 30]), True),
            1.0,
            np.array([50.0, row]),
        )
        for row in (80.0, 82.0)
    )
    both = iter([behind, before])
    monkeypatch.setattr(
        "vadistill.datasets.synthetic.sliding.Sliding.frames", lambda self, count: iter([next(both, before)] * count)
    )
    monkeypatch.setattr("vadistill.datasets.synthetic.pasting.SEVERAL", (2, 2))
    for those in changes("several", walkers(), np.arange(3), (2.0, 4.0), np.random.default_rng(0)):
        assert [one.foot[1] for one in those] == [82.0]


def visible(box, before):
    """The share of a box that no other box covers, pixel by pixel."""
    x1, y1, x2, y2 = np.rint(box).astype(int)
    return np.mean(
        [
            not any(left <= x < right and top <= y < bottom for left, top, right, bottom in np.rint(before).astype(int))
            for y in range(y1, y2)
            for x in range(x1, x2)
        ]
    )


def test_what_is_seen_of_a_box():
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = np.sort(rng.uniform(0, 40, (4, 2, 2)), axis=1).reshape(4, 4)
        box, before = corners[0] + (0, 0, 1, 1), corners[1:]
        assert seen(box, before) == pytest.approx(visible(box, before))
    assert seen(np.array([5.0, 5, 5, 9]), np.zeros((0, 4))) == 0


def nearer(clip, t, box, foot):
    """The boxes of frame t that meet a box (4,) and stand nearer to the camera than its foot (2,)."""
    return [
        other
        for other in clip.boxes(t)
        if other[3] > foot[1] and (np.maximum(box[:2], other[:2]) < np.minimum(box[2:], other[2:])).all()
    ]


def pixels(boxes):
    """Which pixels of a frame lie in boxes."""
    mask = np.zeros(SIZE, bool)
    for x1, y1, x2, y2 in np.rint(boxes).astype(int):
        mask[max(y1, 0) : y2, max(x1, 0) : x2] = True
    return mask


def behind(one):
    """What is pasted, whether or not somebody stands before it."""
    return one.behind if isinstance(one, Covered) else one


@pytest.mark.parametrize("usable", [range(FRAMES), range(30, FRAMES)])
def test_an_occluded_object_is_seen_where_nobody_stands_nearer(usable):
    clip, hidden, there = walkers(usable), 0, []
    for seed in range(4):
        made = make("occluded", clip, 100, seed)
        for t, (one,) in made.changes.items():
            assert behind(one).scale == 1, "it has its usual size"
            box = boxes_of(made)[t]
            before = nearer(clip, made.source[t], box, behind(one).foot)
            itself, others = pixels([box]), pixels(before)
            part = itself & ~others
            assert part.sum() >= (LEAST_SEEN - 0.1) * itself.sum()
            frame = picture(made.source[t])
            rendered = made.render(t, frame.copy()).astype(int)
            there += [(np.abs(rendered - (30, 40, 90))[part].max(1) < 25).mean()]
            deep = cv2.erode((itself & others).astype(np.uint8), np.ones((5, 5))) > 0
            if deep.any():
                hidden += 1
                assert (np.abs(rendered - frame)[deep].max(1) <= 2).mean() > 0.9, "those who stand nearer cover it"
    assert hidden >= 10 and np.mean(there) > 0.6


def test_an_occluded_object_is_hidden_more_than_one_that_happens_to_be():
    clip, shown = walkers(), np.arange(30, 70)

    def hidden(kind, seed):
        made = changes(kind, clip, shown, (2.0, 4.0), np.random.default_rng(seed))
        placed = {t: behind(those[0]) for t, those in zip(shown, made, strict=True) if those}
        share = [
            visible(one.box(SIZE), np.reshape(nearer(clip, t, one.box(SIZE), one.foot), (-1, 4)))
            for t, one in placed.items()
        ]
        return np.mean([LEAST_SEEN <= part <= MOST_SEEN for part in share])

    occluded, pasted = ([hidden(kind, seed) for seed in range(6)] for kind in ("occluded", "pasted"))
    assert np.mean(occluded) > 2 * np.mean(pasted)


def crowded(frames):
    """Walkers, and for some frames a crowd before everybody."""
    crowd = np.array([[x, 20.0, x + 14, 119.0] for x in range(0, SIZE[1], 12)])
    walker = walkers()
    frame = np.concatenate([walker.frame, np.repeat(np.arange(*frames), len(crowd))])
    box = np.concatenate([walker.box, np.tile(crowd, (frames[1] - frames[0], 1))]).astype(np.float32)
    order = np.argsort(frame, kind="stable")
    return NormalClip(frame[order], box[order], SIZE, range(FRAMES), picture)


def test_where_hardly_any_of_an_occluded_object_would_be_seen_the_frame_stays():
    made = list(changes("occluded", crowded((42, 58)), np.arange(30, 70), (2.0, 4.0), np.random.default_rng(0)))
    assert [len(those) for those in made[14:26]] == [0] * 12
    assert sum(map(len, made[:10] + made[30:])) >= 10


def test_what_would_be_hidden_all_the_time_is_pasted_before_everybody(caplog):
    made = make("occluded", crowded((0, FRAMES)), 60)
    assert boxes_of(made).any(1).sum() == 24 and "it is pasted before them" in caplog.text


def test_without_objects_nobody_hides_what_is_occluded(caplog):
    made = make("occluded", nobody(), 60)
    assert boxes_of(made).any(1).sum() == 24 and "it is seen whole" in caplog.text


def test_covered_keeps_what_is_before_it():
    image = np.full((6, 4, 3), 200, np.uint8)
    cutout = Cutout(image, np.ones((6, 4), np.float32), np.array([0.0, 0, 4, 6]), True)
    frame = np.random.default_rng(0).integers(0, 100, (20, 30, 3), dtype=np.uint8)
    nearer = Cutout(frame[12:18, 11:15].copy(), np.ones((6, 4), np.float32), np.array([0.0, 0, 4, 6]), True)
    one = Covered(Placed(cutout, 1.0, np.array([12.0, 16.0])), (Placed(nearer, 1.0, np.array([13.0, 18.0])),))
    made = one.paste(frame)
    np.testing.assert_array_equal(made[12:18, 11:15], frame[12:18, 11:15])
    assert (made[10:12, 10:14] == 200).all() and (made[12:16, 10] == 200).all()
    np.testing.assert_array_equal(one.box((20, 30)), [10, 10, 14, 16])
