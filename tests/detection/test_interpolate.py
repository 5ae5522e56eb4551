"""Boxes between looked-at frames."""

import numpy as np
import pytest

from vadistill.detection.interpolate import interpolate, looked_at
from vadistill.io.detections import Detections


@pytest.mark.parametrize(("frames", "stride", "seen"), [(1, 2, [0]), (3, 9, [0, 2]), (6, 2, [0, 2, 4, 5])])
def test_looks_at_every_nth_frame_and_the_last(frames, stride, seen):
    assert looked_at(frames, stride).tolist() == seen


def test_linked_boxes_move_linearly_and_others_stay_for_half_the_gap():
    box = np.array([[0, 0, 10, 10], [50, 0, 60, 10], [4, 0, 14, 10]], "f4")
    found = Detections("c", 5, (80, 80), np.array([0, 0, 4]), box, np.array([1, 1, 0.5], "f4"), np.eye(3, dtype="f2"))
    made = interpolate(found, 4)
    assert made.frame.tolist() == [0, 0, 1, 1, 2, 2, 3, 4]
    np.testing.assert_allclose(made.box[[2, 4, 6], 0], [1, 2, 3])
    np.testing.assert_allclose(made.confidence[[2, 4, 6]], [0.875, 0.75, 0.625])
