import cv2
import numpy as np
import pytest
from walking_people import BODY, SIZE, STEP, WALKS, scene, walkers

from vadistill.datasets.synthetic.cutouts import Cutout, Placed, background, cut
from vadistill.datasets.synthetic.tracks import Perspective, follow, motions


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
