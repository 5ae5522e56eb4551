"""Resizing by NumPy alone says what OpenCV says."""

import cv2
import numpy as np
import pytest

from vadistill.io import resize

SHRUNK = [
    ((360, 640), (144, 256)),
    ((240, 360), (120, 180)),  # by 2
    ((270, 480), (90, 160)),  # by 3
    ((288, 352), (144, 256)),
    ((158, 238), (157, 238)),
    ((60, 90), (1, 1)),
]
ENLARGED = [((100, 100), (144, 256)), ((158, 238), (144, 256)), ((100, 400), (144, 256)), ((1, 1), (5, 7))]


def picture(size, colours):
    """Smooth shades with noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (size[0] // 16 + 1, size[1] // 16 + 1, 3)).astype(np.float32)
    made = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC) + rng.normal(0, 6, (*size, 3))
    made = np.clip(made, 0, 255).astype(np.uint8)
    return made if colours else made[..., 0]


@pytest.mark.parametrize("colours", [True, False])
@pytest.mark.parametrize(("before", "after"), SHRUNK + ENLARGED)
def test_it_differs_from_opencv_by_one_gray_level_at_most_and_seldom(before, after, colours, monkeypatch):
    frame = picture(before, colours)
    expected = resize.resize(frame, after)
    monkeypatch.setattr(resize, "cv2", None)
    made = resize.resize(frame, after)
    assert made.dtype == np.uint8 and made.shape == expected.shape
    difference = np.abs(made.astype(int) - expected)
    # OpenCV enlarges in fixed point, which rounds on the way.
    assert difference.max() <= 1 and (difference > 0).mean() <= (0.04 if (before, after) in SHRUNK else 0.15)


def test_a_constant_picture_and_one_of_the_size_stay_as_they_are():
    for value in (0, 1, 127, 254, 255):
        for before, after in SHRUNK + ENLARGED:
            assert (resize.resize_by_numpy(np.full((*before, 3), value, np.uint8), after) == value).all()
    frame = picture((40, 50), True)
    assert resize.resize(frame, (40, 50)) is frame
    np.testing.assert_array_equal(resize.resize_by_numpy(frame, (40, 50)), frame)
