"""Dense flow of pictures so small that OpenCV's DIS would crash."""

import os

import cv2
import numpy as np
import pytest

from vadistill.geometry import flow
from vadistill.geometry.flow import LEAST_SIDE, dis_flow, one_thread

PRESETS = (cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (12, 40), (15, 200), (200, 15), (LEAST_SIDE - 1, LEAST_SIDE)])
def test_small_pictures_have_flow(preset, size):
    start, end = np.random.default_rng(0).integers(0, 256, (2, *size), np.uint8)
    made = dis_flow(preset)(start, end)
    assert made.shape == (*size, 2) and np.isfinite(made).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_larger_ones_have_that_of_opencv(preset):
    start, end = np.random.default_rng(0).integers(0, 256, (2, LEAST_SIDE, 50), np.uint8)
    expected = cv2.DISOpticalFlow.create(preset).calc(start, end, None)
    np.testing.assert_array_equal(dis_flow(preset)(start, end), expected)


def test_opencv_has_one_thread_until_the_last_of_those_who_need_it_is_done():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert cv2.getNumThreads() == 1, "another thread still measures"
        second.__exit__(None, None, None)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_a_process_that_is_forked_off_amid_it_counts_anew():
    """A thread of its parent holds the lock at that moment, or is counted, and is not there to let go."""
    threads = cv2.getNumThreads()
    with one_thread():
        child = os.fork()
        if not child:
            with one_thread():
                os._exit(0 if flow._single._users == 1 else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert cv2.getNumThreads() == threads
