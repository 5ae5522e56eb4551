import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vadistill.datasets.demo.drawing import Shape
from vadistill.datasets.synthetic.anomalies import Degree, plan
from vadistill.datasets.synthetic.cutouts import Covered, Cutout, Placed, background, cut
from vadistill.datasets.synthetic.normal_clip import NormalClip
from vadistill.datasets.synthetic.occlusion import LEAST_SEEN, MOST_SEEN, seen
from vadistill.datasets.synthetic.pasting import ENLARGED, OVERSIZED, SEVERAL, changes
from vadistill.datasets.synthetic.replay import moments
from vadistill.datasets.synthetic.tracks import Perspective, feet, follow, motions
from vadistill.datasets.synthetic.vehicles import DRAWN, vehicles
from vadistill.errors import InputError
from vadistill.io.detections import Detections, write_clip
from vadistill.io.frames import FrameStore, write_images
from vadistill.io.hdf5 import writing
from vadistill.settings import ANOMALY_KINDS
from vadistill.settings.data import LEARNED_KINDS
from vadistill.stages import make_synthetic_clip

SIZE, FRAMES, BODY, STEP = (120, 240), 100, (12, 30), 1.2
WALKS = [(8, 70, 1), (225, 78, -1), (-40, 84, 1), (270, 90, -1)]  # x in frame 0, row of the feet, direction


def scene():
    smooth = np.random.default_rng(0).integers(120, 160, (8, 12, 3), dtype=np.uint8)
    return cv2.resize(smooth, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def people(t):
    """The boxes of the people of frame t that are wholly visible."""
    for start, row, direction in WALKS:
        x = start + direction * STEP * t
        if x >= 2 and x + BODY[0] <= SIZE[1] - 2:
            yield np.array([x, row - BODY[1], x + BODY[0], row])


def picture(t):
    frame = scene()
    for x1, y1, x2, y2 in people(t):
        frame[int(y1) : int(y2), round(x1) : round(x2)] = (30, 40, 90)
    return frame


def walkers(usable=range(FRAMES)):
    rows = [(t, box) for t in range(FRAMES) for box in people(t)]
    frame, box = np.array([t for t, _ in rows]), np.array([box for _, box in rows], np.float32)
    return NormalClip(frame, box, SIZE, usable, picture)


def nobody(usable=range(FRAMES)):
    return NormalClip(np.zeros(0, int), np.zeros((0, 4), np.float32), SIZE, usable, lambda t: scene())


def make(kind, clip, frames=FRAMES, seed=0, pace=(3.0, 3.0), haste=(2.0, 4.0)):
    return plan(kind, clip, frames, Degree(0.4, pace, haste), np.random.default_rng(seed))


def boxes_of(made):
    """The one box (T, 4) of each frame."""
    assert made.boxes.shape[1] == 1
    return made.boxes[:, 0]


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


@pytest.mark.parametrize("kind", DRAWN)
def test_a_vehicle_crosses_the_scene_as_large_as_people_make_it(kind):
    """Wider than whoever could have been cut out, enlarged as much as can be: a bicycle as long as they are tall."""
    made = make(kind, walkers())
    x1, y1, x2, y2 = boxes_of(made)[boxes_of(made).any(1)].T
    inside = (x1 > 0) & (x2 < SIZE[1]) & (y2 < SIZE[0])
    assert inside.sum() > 3
    width, height = {"cycling": (1.05, 1.1), "driving": (1.4, 1.4)}[kind]
    assert np.median((x2 - x1)[inside]) == pytest.approx(width * BODY[1], rel=0.25)
    assert np.median((y2 - y1)[inside]) == pytest.approx(height * BODY[1], rel=0.25)


def driven(kind, step, frame=None, frames=8, height=60.0):
    path = np.array([100.0, 100.0]) + np.arange(frames)[:, None] * np.array(step)
    frame = picture(0) if frame is None else frame
    return list(vehicles(kind, path, lambda row: height, frame, np.random.default_rng(0))), path


@pytest.mark.parametrize("person", [12, 23, 60])
@pytest.mark.parametrize(("kind", "step", "width", "height"), [
    # In persons' heights of 1.72 m: a bicycle of 1.7 m from the side, a cart of 2.4 m by 1.95 m.
    ("cycling", (3.0, 0.0), (0.95, 1.2), (0.95, 1.25)),
    ("cycling", (0.0, 2.0), (0.3, 0.55), (1.1, 1.4)),
    ("driving", (3.0, 0.0), (1.3, 1.6), (1.25, 1.55)),
    ("driving", (0.0, 2.0), (0.9, 1.15), (1.4, 1.75)),
])  # fmt: skip
def test_a_vehicle_has_its_size_and_looks_where_it_goes(kind, step, width, height, person):
    placed, path = driven(kind, step, height=float(person))
    for one, foot in zip(placed, path, strict=True):
        x1, y1, x2, y2 = one.box((400, 400))
        assert x1 < foot[0] < x2 and y1 < foot[1] <= y2 + 1, "it stands on the path"
        assert foot[1] > y2 - 0.5 * person
        assert width[0] - 1 / person <= (x2 - x1) / person <= width[1] + 1 / person
        assert height[0] - 1 / person <= (y2 - y1) / person <= height[1] + 1 / person


@pytest.mark.parametrize("kind", DRAWN)
def test_a_vehicle_turns_round_and_moves_as_it_goes(kind):
    """To the left it is the mirror image of the one to the right, but for the light; forward is where it goes."""
    right, left = (driven(kind, (speed, 0.0))[0] for speed in (3.0, -3.0))
    widths = [one[0].cutout.alpha.shape[1] for one in (right, left)]
    assert abs(widths[0] - widths[1]) <= 1
    own, mirrored = (cv2.resize(alpha, (80, 80)) for alpha in (right[0].cutout.alpha, left[0].cutout.alpha[:, ::-1]))
    assert np.abs(own - mirrored).mean() < 0.5 * np.abs(own - mirrored[:, ::-1]).mean()
    if kind == "cycling":
        moved = [cv2.resize(one.cutout.alpha, (80, 80)) for one in right]
        assert np.abs(moved[0] - moved[3]).mean() > 0.01, "the pedals turn"


def test_a_cyclist_leans_forward():
    """The head is ahead of the middle of the wheels."""
    for speed, sign in ((3.0, 1), (-3.0, -1)):
        alpha = driven("cycling", (speed, 0.0))[0][0].cutout.alpha
        columns = np.arange(alpha.shape[1])
        head, whole = (float((part.sum(0) * columns).sum() / part.sum()) for part in (alpha[: len(alpha) // 5], alpha))
        assert sign * (head - whole) > 0


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_the_outline_of_a_vehicle_has_its_colours(offset, monkeypatch):
    """Pasted between pixels, each pixel lies between the ground and the paint."""
    corners = [(-0.6, 0.2), (0.1, 0.0), (0.7, 0.4), (0.5, 1.7), (-0.3, 1.3)]
    painted = [Shape(np.array([[x, y, 100.0] for x, y in corners]), 0.0, (230, 230, 230))]
    monkeypatch.setitem(DRAWN, "driving", lambda style, pose: painted)
    frame = np.full((120, 160, 3), 180, np.uint8)
    frame[:2], frame[-2:] = 0, 255  # so that paint keeps its level
    path = np.array([[80.0 + offset, 90.0 + offset]])
    (one,) = vehicles("driving", path, lambda row: 23.0, frame, np.random.default_rng(0))
    made = one.paste(np.full((120, 160, 3), 180, np.uint8))
    assert made.min() >= 179 and made.max() <= 232 and (made > 220).any()


def test_a_vehicle_is_as_bright_as_the_film_and_gray_where_it_is():
    gray = np.repeat(picture(0)[..., :1], 3, axis=2)
    tinted = (gray + np.array([12, 0, -12])).astype(np.uint8)
    for frame, colours in ((picture(0), None), (gray, (0, 0)), (tinted, (12, 12))):
        dark, bright = np.percentile(frame, (1, 99))
        for kind in DRAWN:
            image = driven(kind, (3.0, 0.0), frame)[0][0].cutout.image.astype(int)
            between = image[..., :-1] - image[..., 1:]
            beyond = 1 + max(colours or (0,))  # a tint
            assert dark - beyond <= image.min() and image.max() <= bright + beyond
            if colours is None:
                assert np.ptp(between) > 30
            else:
                scale = (bright - dark) / 255
                np.testing.assert_allclose(
                    between, np.broadcast_to(np.multiply(colours, scale), between.shape), atol=1.1
                )


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


def test_moments_of_a_replayed_object():
    def shown(kind, length, pace=2.0):
        moment_of = moments(kind, pace)
        return [moment_of(i, length) for i in range(length)]

    assert shown("hurried", 6) == [0, 2, 4, 4, 2, 0]
    assert shown("hurried", 5, 1.0) == [0, 1, 2, 3, 3], "a quarter faster at least"
    assert shown("halting", 6) == [0, 1, 2, 2, 2, 2]
    assert shown("turning", 6) == [0, 1, 2, 3, 2, 1]
    assert shown("oversized", 3) == [0, 1, 2]


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


def test_cut_out_follows_the_outline_or_is_an_ellipse():
    empty = scene()
    frame, box = empty.copy(), np.array([50.0, 30, 74, 90])
    body = np.zeros(SIZE, np.uint8)
    cv2.rectangle(body, (56, 31), (68, 55), 1, -1)
    cv2.rectangle(body, (51, 50), (72, 88), 1, -1)
    frame[body > 0] = 20
    made = cut(frame, box, empty)
    left, top = (box[:2] - made.box[:2]).astype(int)
    there = np.zeros(SIZE, np.float32)
    there[top : top + made.alpha.shape[0], left : left + made.alpha.shape[1]] = made.alpha
    assert made.outlined
    assert (there[cv2.erode(body, np.ones((5, 5))) > 0] > 0.8).all()
    assert (there[cv2.dilate(body, np.ones((9, 9))) == 0] < 0.05).all()
    same = cut(empty, box, empty)
    assert not same.outlined
    area = np.pi / 4 * 24 * 60
    assert same.alpha.sum() == pytest.approx(area, rel=0.05)


def test_torn_outline_is_not_taken():
    empty = scene()
    frame = empty.copy()
    frame[31:89, 51:57] = frame[31:37, 51:73] = frame[83:89, 51:73] = 20  # a bracket: as large as a body, but hollow
    assert not cut(frame, np.array([50.0, 30, 74, 90]), empty).outlined
    frame[31:89, 51:73] = 20
    assert cut(frame, np.array([50.0, 30, 74, 90]), empty).outlined
    half = empty.copy()
    half[31:61, 51:73] = 20
    assert not cut(half, np.array([50.0, 30, 74, 90]), empty).outlined


def test_paste_places_pixels_exactly():
    image = np.random.default_rng(1).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    cutout = Cutout(image, np.ones((6, 4), np.float32), np.array([0.0, 0, 4, 6]), True)
    frame = np.zeros((20, 30, 3), np.uint8)
    made = Placed(cutout, 1.0, np.array([12.0, 16.0])).paste(frame)
    np.testing.assert_array_equal(made[10:16, 10:14], image)
    assert made.sum() == image.sum(dtype=int)
    clipped = Placed(cutout, 1.0, np.array([0.0, 16.0]))
    np.testing.assert_array_equal(clipped.paste(frame)[10:16, :2], image[:, 2:])
    np.testing.assert_array_equal(clipped.box((20, 30)), [0, 10, 2, 16])
    np.testing.assert_array_equal(Placed(cutout, 2.0, np.array([12.0, 16.0])).box((20, 30)), [8, 4, 16, 16])
    assert Placed(cutout, 1.0, np.array([-9.0, 16.0])).paste(frame).sum() == 0


def test_doubled_cut_out_is_resized_as_by_opencv():
    image = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8), (0, 0), 1)
    cutout = Cutout(image, np.ones((9, 7), np.float32), np.array([0.0, 0, 7, 9]), True)
    made = Placed(cutout, 2.0, np.array([17.0, 28.0])).paste(np.zeros((40, 40, 3), np.uint8))
    expected = cv2.resize(image, (14, 18), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(made[11:27, 11:23].astype(int), expected[1:-1, 1:-1], atol=2)


def test_background_is_the_median():
    values = np.random.default_rng(0).integers(0, 256, (25, 4, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(background(lambda t: values[t], range(25)), np.median(values, axis=0))
    asked = []
    background(lambda t: asked.append(t) or values[0], range(100, 1100))
    assert len(asked) == 25 and asked[0] == 100 and asked[-1] == 1099


def test_tracks_speed_and_perspective():
    clip = walkers()
    kept = np.random.default_rng(0).random(len(clip.frame)) > 0.1  # a detector misses some
    tracks = [track for track in follow(clip.frame[kept], clip.box[kept]) if len(track) > 20]
    assert len(tracks) == len(WALKS)
    place, velocity = motions(tracks)
    assert np.median(np.abs(velocity[:, 0])) == pytest.approx(STEP / BODY[1], rel=0.02) and len(place) == len(velocity)
    rows = np.linspace(50, 150, 40)
    box = np.stack([rows * 0, rows - 0.2 * rows, rows, rows], 1)
    assert Perspective(box).scale(140, 70) == pytest.approx(2)
    assert Perspective(box[:3]).scale(140, 70) == 1
    assert follow(np.zeros(0, int), np.zeros((0, 4))) == []


def run_stage(folder, kind, start=0.0, **changed):
    settings = {"frames": {"encoding": "png"}, "validation": {"frames": 40}}
    settings |= {"kind": kind, "part": [start, 1.0], "scene": ""}
    options = {"clip": f"a_{kind}", "split": "validation", "frames": folder / "a.h5", "detections": folder / "d.h5"}
    options |= {"output": folder / "o.h5", "boxes": folder / "b.npy"} | changed
    command = [sys.executable, "-m", "vadistill.stages.make_synthetic_clip", "--settings", json.dumps(settings)]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, clip = tmp_path_factory.mktemp("clip"), walkers()
    write_images(folder / "a.h5", "a", "train", map(picture, range(FRAMES)), "png", fps=25.0)
    one = np.ones(len(clip.frame), np.float32)
    with writing(folder / "d.h5") as file:
        write_clip(file, Detections("a", FRAMES, SIZE, clip.frame, clip.box, one, one[:, None]))
    return folder


@pytest.mark.slow
def test_stage(folder):
    contents = []
    for _ in range(2):
        done = run_stage(folder, "pasted", start=0.5)
        assert done.returncode == 0 and "a_pasted: pasted in 16 of 40 frames" in done.stderr, done.stderr
        contents.append((folder / "o.h5").read_bytes() + (folder / "b.npy").read_bytes())
    assert contents[0] == contents[1]
    store, boxes = FrameStore(folder / "o.h5"), np.load(folder / "b.npy")
    assert (store.clip, store.split, store.fps, len(store)) == ("a_pasted", "validation", 25, 40)
    assert boxes.shape == (40, 1, 4) and boxes.dtype == np.float32
    for t, box in enumerate(boxes):
        assert (store.read(t) != picture(55 + t)).any() == box.any()


def arguments(folder, store, kind, scene=""):
    settings = {"frames": {"encoding": "png"}, "validation": {"frames": 40}, "kind": kind, "part": [0.0, 1.0]}
    settings["scene"] = scene
    outputs = {"output": folder / "made.h5", "boxes": folder / "made.npy"}
    paths = {"frames": folder / f"{store}.h5", "detections": [folder / "many.h5"], **outputs}
    return SimpleNamespace(settings=settings, clip="made", split="validation", **paths)


CAMERAS = {"cam1_a": 0, "cam1_b": 1, "cam2_a": 2, "cam3_a": 0}  # by how many pixels the objects stand elsewhere


@pytest.fixture(scope="module")
def cameras(tmp_path_factory):
    """Clips of three cameras with the same pictures."""
    folder, clip = tmp_path_factory.mktemp("cameras"), walkers()
    images, one = [picture(t) for t in range(FRAMES)], np.ones(len(clip.frame), np.float32)
    with writing(folder / "many.h5") as file:
        for name, shift in CAMERAS.items():
            write_images(folder / f"{name}.h5", name, "train", images, "png")
            box = clip.box + np.float32(shift)
            write_clip(file, Detections(name, FRAMES, SIZE, clip.frame, box, one, one[:, None]))
    return folder, {name: feet(clip.box + shift) for name, shift in CAMERAS.items()}


def test_every_clip_has_an_anomaly_of_its_own(cameras):
    """Also where nothing but their names tells two clips apart."""
    made = []
    for clip in ("cam1_a", "cam3_a"):
        make_synthetic_clip.main(arguments(cameras[0], clip, "pasted"))
        made.append(np.load(cameras[0] / "made.npy"))
    assert not np.array_equal(*made)


def test_misplaced_is_where_nobody_stood_in_clips_of_the_scene(cameras):
    folder, places = cameras

    def stood(kind, scene):
        clip = make_synthetic_clip.normal_clip(
            arguments(folder, "cam1_a", kind, scene), FrameStore(folder / "cam1_a.h5")
        )
        return {tuple(place) for place in clip.stood.round(3)}

    wanted = {name: {tuple(place) for place in part.round(3)} for name, part in places.items()}
    assert stood("misplaced", r"(cam\d)") == wanted["cam1_a"] | wanted["cam1_b"]
    assert stood("misplaced", "") == set.union(*wanted.values())
    assert stood("pasted", r"(cam\d)") == wanted["cam1_a"]


@pytest.mark.slow
def test_stage_ends_in_one_line(folder):
    with writing(folder / "empty.h5"):
        pass
    done = run_stage(folder, "fast", detections=folder / "empty.h5")
    assert (
        done.returncode == 1
        and "empty.h5: no clip a in 1 files; expected" in done.stderr
        and done.stderr.count("\n") == 1
    )
    done = run_stage(folder, "fast", start=0.95)
    assert done.returncode == 1 and "clip a: 5 usable frames" in done.stderr and done.stderr.count("\n") == 1
