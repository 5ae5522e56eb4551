import cv2
import numpy as np
import pytest
from walking_people import BODY, SIZE, boxes_of, make, picture, walkers

from vadistill.datasets.demo.drawing import Shape
from vadistill.datasets.synthetic.vehicles import DRAWN, vehicles


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
