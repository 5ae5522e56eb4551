"""Windows of a live stream are those that ``vadistill score`` assembles of the same frames."""

import numpy as np
import pytest

from vadistill.inference.stream import StreamTimes, assemble
from vadistill.watch.windows import WindowMaker

SIZE = (12, 16)


def frames_of(count, height=24, width=32):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def windows_of(frames, times, maker):
    made = []
    for frame, seconds in zip(frames, times, strict=True):
        if maker.wants(seconds):
            made += maker.take(1000 + seconds, seconds, frame)
    return made


@pytest.mark.parametrize(("rate", "step", "analysed"), [(25, 3, 5), (25, 6, 25), (10, 1, 2), (12, 3, 4)])
@pytest.mark.parametrize("flow", ["none", "fast"])
def test_windows_are_those_of_a_scored_video(rate, step, analysed, flow):
    frames, every = frames_of(60), rate // analysed
    maker = WindowMaker(SIZE, (-3, 0, 3), step / rate, analysed, flow)
    made = windows_of(frames, np.arange(60) / rate, maker)
    offsets = (-step, 0, step)
    expected = [window.copy() for batch in assemble(frames, SIZE, offsets, 1, StreamTimes(), flow) for window in batch]
    centres = range(step, 60 - step, every)
    assert [round(window.seconds * rate) for window in made] == list(centres) and maker.missed == 0
    for window, centre in zip(made, centres, strict=True):
        np.testing.assert_array_equal(window.planes, expected[centre])
        assert window.frame is frames[centre] and window.came == pytest.approx(1000 + centre / rate)


def test_few_frames_are_wanted():
    maker, wanted = WindowMaker(SIZE, (-3, 0, 3), 0.24, 1.0), 0
    for t, frame in enumerate(frames_of(250)):
        if maker.wants(t / 25):
            wanted += 1
            maker.take(t / 25, t / 25, frame)
    assert wanted <= 3 * 10 + 2


def test_a_stream_with_jitter_gives_windows_of_nearly_even_times():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.07, 500))
    maker = WindowMaker(SIZE, (-1, 0, 1), 0.25, 5)
    made = windows_of(frames_of(500), times, maker)
    assert len(made) >= 0.95 * 5 * (times[-1] - 1)
    assert np.abs(np.diff([window.seconds for window in made]) - 0.2).max() < 0.08


def test_a_gap_makes_no_window_and_holds_nothing_up():
    times = np.concatenate([np.arange(50) / 25, 60 + np.arange(50) / 25])
    maker = WindowMaker(SIZE, (-1, 0, 1), 0.24, 5)
    made = windows_of(frames_of(100), times, maker)
    seconds = np.array([window.seconds for window in made])
    assert (seconds < 2).sum() >= 6 and (seconds >= 60).sum() >= 6
    assert not ((seconds > 1.8) & (seconds < 60.2)).any()


def test_frames_that_are_missing_cost_the_windows_that_need_them():
    times = [t / 25 for t in range(100) if not 40 <= t < 60]
    maker = WindowMaker(SIZE, (-1, 0, 1), 0.24, 5)
    made = windows_of(frames_of(len(times)), times, maker)
    assert maker.missed >= 3
    assert not [window for window in made if 1.4 < window.seconds < 2.3]
    assert [window for window in made if window.seconds > 2.5]


def test_times_that_go_back_begin_anew():
    times = [*(t / 25 for t in range(50)), *(t / 25 for t in range(50))]
    made = windows_of(frames_of(100), times, WindowMaker(SIZE, (-1, 0, 1), 0.24, 5))
    assert len(made) >= 14 and made[-1].seconds < 2


@pytest.mark.parametrize(("rate", "share"), [(1, 0.0), (2, 0.0), (3, 0.5), (5, 0.9), (12, 0.95)])
def test_a_slow_camera_has_no_window_that_sees_one_frame_twice(rate, share):
    """Such a window would see no motion; the windows that it costs are counted, and the camera is said to be slow."""
    maker = WindowMaker(SIZE, (-1, 0, 1), 0.25, 5)
    count = 40 * rate
    made = windows_of(frames_of(count), np.arange(count) / rate, maker)
    for window in made:
        seen = {window.planes[3 * place : 3 * place + 3].tobytes() for place in range(3)}
        assert len(seen) == 3
    assert share * 195 <= len(made) <= 200 and len(made) + maker.missed >= 180
    assert maker.too_slow == (rate < 3)
