import os
import signal
import threading
import time
from contextlib import closing

import h5py
import numpy as np
import pytest
import torch
from stored_clips import store_of
from stream_parts import NETWORK, Means, Reference, joined, noise
from trees import pictures, write_avi, write_images, write_mp4

from vadistill.errors import InputError
from vadistill.inference import stream
from vadistill.inference.stream import FRAMES_AHEAD, StreamTimes, assemble, score_video
from vadistill.io.frames import FrameStore, write_frames
from vadistill.io.media import pictures as media_pictures
from vadistill.io.media.video import frames_of
from vadistill.io.resize import resize
from vadistill.student.graph import ScoringNetwork
from vadistill.student.scoring import windows_of
from vadistill.windows.loader import FrameWindows
from vadistill.windows.scoring import BATCH, score_windows

CPU = torch.device("cpu")


def assert_same(made, expected):
    np.testing.assert_array_equal(made.score, expected[0])
    assert made.maps.keys() == expected[1].keys()
    for g, grid in made.maps.items():
        np.testing.assert_array_equal(grid, expected[1][g])


@pytest.fixture
def alone():
    """No thread outlives a test."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("size", [(30, 50), (24, 40)])
@pytest.mark.parametrize("offsets", [(-3, 0, 3), (-2, -1, 0, 1, 2)])
@pytest.mark.parametrize(("length", "batch"), [(1, 1), (17, 4)])
def test_windows_have_the_flow_of_the_stored_clip(size, offsets, length, batch, tmp_path):
    store = store_of(tmp_path, "a", noise(length))
    expected = FrameWindows([store.path], size, offsets, flow="fast")
    made = np.concatenate([part.copy() for part in assemble(store, size, offsets, batch, StreamTimes(), "fast")])
    assert made.shape[1] == 3 * len(offsets) + 4 and (length == 1 or made[:, -4:].std() > 1)
    np.testing.assert_array_equal(made, torch.stack([expected[t][0] for t in range(length)]).numpy())


@pytest.mark.parametrize("size", [(30, 50), (24, 40), (40, 51)])
@pytest.mark.parametrize("offsets", [(-3, 0, 3), (-2, -1, 0, 1, 2), (0,), (0, 2), (-2, 0)])
@pytest.mark.parametrize(("length", "batch"), [(1, 1), (2, 5), (4, 4), (17, 4), (17, 17), (17, 64)])
def test_windows_are_those_of_the_stored_clip(size, offsets, length, batch, tmp_path):
    store = store_of(tmp_path, "a", noise(length))
    expected = FrameWindows([store.path], size, offsets)
    made = [part.copy() for part in assemble(store, size, offsets, batch, StreamTimes())]
    assert [len(part) for part in made] == [batch] * (length // batch) + [length % batch] * (length % batch > 0)
    np.testing.assert_array_equal(np.concatenate(made), torch.stack([expected[t][0] for t in range(length)]).numpy())


def test_scores_of_a_stored_clip_are_those_of_the_workflow(tmp_path, alone):
    store, backend = store_of(tmp_path, "a", noise(2 * BATCH + 5)), Reference()
    expected = score_windows(ScoringNetwork(backend.student), windows_of([store.path], NETWORK), CPU)
    assert_same(joined(score_video(store.path, backend, BATCH)), expected)
    for batch in (1, 7, 64):
        np.testing.assert_allclose(joined(score_video(store.path, backend, batch)).score, expected[0], rtol=1e-5)


@pytest.mark.parametrize("kind", ["a.avi", "a.mp4", "images"])
def test_a_source_scores_like_its_stored_clip(kind, tmp_path, alone):
    source, backend = tmp_path / kind, Reference()
    if kind == "images":
        write_images(source, noise(20), ".png")
    else:
        (write_avi if kind == "a.avi" else write_mp4)(source, noise(20))
    write_frames(tmp_path / "a.h5", "a", "test", source, "png")
    expected = score_windows(ScoringNetwork(backend.student), windows_of([tmp_path / "a.h5"], NETWORK), CPU)
    assert_same(joined(score_video(source, backend, BATCH)), expected)
    assert moments_of(source) == moments_of(tmp_path / "a.h5")
    assert moments_of(source) == pytest.approx([] if kind == "images" else [t / 25 for t in range(20)])


def moments_of(source):
    moments = []
    joined(score_video(source, Means(), 6, moments=moments))
    return moments


def test_times_of_a_stored_clip_without_times_follow_from_its_rate(tmp_path):
    write_mp4(tmp_path / "a.mp4", noise(7))
    write_frames(tmp_path / "a.h5", "a", "test", tmp_path / "a.mp4")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["times"]  # as in older stores
        file.attrs["fps"] = 5.0
    assert moments_of(tmp_path / "a.h5") == pytest.approx([0.2 * t for t in range(7)])
    assert moments_of(store_of(tmp_path, "b", noise(3)).path) == []


def test_decoding_in_several_threads_gives_the_same_frames(tmp_path, alone):
    write_mp4(tmp_path / "a.mp4", noise(20))
    for one, several in zip(frames_of(tmp_path / "a.mp4"), frames_of(tmp_path / "a.mp4", 3), strict=True):
        np.testing.assert_array_equal(one, several)
    expected, made = (joined(score_video(tmp_path / "a.mp4", Reference(), 6, decoders=n)) for n in (1, 3))
    assert_same(made, expected)


def test_every_frame_is_decoded_and_resized_once(tmp_path, monkeypatch):
    store, calls = store_of(tmp_path, "a", noise(23)), []
    read = FrameStore.read
    monkeypatch.setattr(FrameStore, "read", lambda self, t: calls.append(t) or read(self, t))
    monkeypatch.setattr(stream, "resize", lambda frame, size: calls.append("resized") or resize(frame, size))
    assert len(joined(score_video(store.path, Reference(), 4)).score) == 23
    assert calls.count("resized") == 23 and [t for t in calls if t != "resized"] == list(range(23))


class Looks:
    """Wants every tenth frame."""

    def __init__(self):
        self.seen = []

    def wants(self, t):
        return t % 10 == 0

    def __call__(self, frame):
        self.seen.append(frame is not None)


@pytest.mark.parametrize(("every", "look", "used"), [(1, False, 23), (5, False, 14), (6, False, 8), (6, True, 10)])
def test_only_frames_of_windows_and_for_who_looks_are_converted(every, look, used, tmp_path, monkeypatch):
    write_mp4(tmp_path / "a.mp4", noise(23))
    write_frames(tmp_path / "a.h5", "a", "test", tmp_path / "a.mp4", "png")
    converted, turned, looks = [], media_pictures._turned, Looks()
    monkeypatch.setattr(media_pictures, "_turned", lambda *given: converted.append(0) or turned(*given))
    made = joined(score_video(tmp_path / "a.mp4", Reference(), 4, every=every, look=looks if look else None))
    assert len(converted) == used and len(made.score) == 23
    np.testing.assert_array_equal(made.score, joined(score_video(tmp_path / "a.h5", Reference(), 4, every=every)).score)
    if look:
        assert len(looks.seen) == 23 and looks.seen[::10] == [True] * 3


def endless(asked):
    for t in range(10**9):
        asked.append(t)
        yield np.full((8, 8, 3), t % 256, np.uint8)


def given(monkeypatch, frames):
    monkeypatch.setattr(stream, "read_wanted", lambda *_: frames)


def test_the_threads_work_ahead_and_no_further_than_they_may(monkeypatch, alone):
    asked, batch, backend = [], 4, Means()
    given(monkeypatch, endless(asked))
    scored = score_video("x.mp4", backend, batch)
    for number in range(3):
        part = next(scored)
        np.testing.assert_array_equal(part.score, np.arange(number * batch, (number + 1) * batch))
        # While the caller does nothing: the next batch, three more for its last window, those that are queued.
        due = (number + 2) * batch + 3 + FRAMES_AHEAD
        deadline = time.monotonic() + 20
        while len(asked) < due and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert len(asked) == due
        np.testing.assert_array_equal(backend.given[:, 3, 0, 0], part.score, "a batch in use was written to")
    scored.close()


class Fault(Exception):
    """What no part of the chain raises by itself."""


def fail(error):
    raise error


def failing_source(error):
    yield from noise(20, 8, 8)
    raise error


class Failing(Means):
    def __init__(self, act):
        self.act, self.calls = act, 0

    def __call__(self, frames):
        self.calls += 1
        if self.calls == 3:
            self.act()
        return super().__call__(frames)


def run_within(seconds, parts):
    started = time.monotonic()
    try:
        return list(parts)
    finally:
        assert time.monotonic() - started < seconds


def test_an_error_of_the_decoder_arrives_after_the_whole_batches_before_it(monkeypatch, alone):
    error, made = Fault("bad"), []
    given(monkeypatch, failing_source(error))
    with pytest.raises(Fault) as raised:
        run_within(20, (made.append(part) for part in score_video("x.mp4", Means(), 4)))
    assert raised.value is error and len(made) == 4, "the window of frame 16 is there, the batch is not full"


def test_an_error_of_the_resizer_is_passed_on(monkeypatch, alone):
    error = Fault("bad")
    given(monkeypatch, endless([]))
    monkeypatch.setattr(stream, "resize", lambda *_: fail(error))
    with pytest.raises(Fault) as raised:
        run_within(20, score_video("x.mp4", Means(), 4))
    assert raised.value is error


@pytest.mark.parametrize("error", [Fault("bad"), KeyboardInterrupt()])
def test_an_error_of_the_backend_is_passed_on(error, monkeypatch, alone):
    given(monkeypatch, endless([]))
    with pytest.raises(type(error)) as raised:
        run_within(20, score_video("x.mp4", Failing(lambda: fail(error)), 4))
    assert raised.value is error


@pytest.fixture
def interruptible():
    """A background job of a shell ignores SIGINT, and Python then leaves it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_waiting_ends_all_threads_before_the_batch_is_full(monkeypatch, alone, interruptible):
    asked = []

    def slow():
        for frame in endless(asked):
            yield frame
            time.sleep(0.02)
            if len(asked) == 20:
                os.kill(os.getpid(), signal.SIGINT)

    given(monkeypatch, slow())
    with pytest.raises(KeyboardInterrupt):
        run_within(20, score_video("x.mp4", Means(), 1000))
    assert len(asked) < 100


def test_a_caller_that_stops_ends_all_threads(monkeypatch, alone):
    asked, closed = [], threading.Event()

    def source():
        try:
            yield from endless(asked)
        finally:
            closed.set()

    given(monkeypatch, source())
    for part in score_video("x.mp4", Means(), 4):
        assert part.score[0] == 0
        break
    assert closed.wait(5) and len(asked) < 30


@pytest.mark.parametrize("decoders", [1, 3])
def test_bad_sources_end_in_their_line(decoders, tmp_path, alone):
    write_avi(tmp_path / "cut.avi", pictures(19))
    whole = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) * 7 // 10])
    (tmp_path / "text.mp4").write_text("no video")
    write_images(tmp_path / "images", noise(5), ".png")
    (tmp_path / "images" / "003.png").write_bytes(b"")
    (tmp_path / "damaged.h5").write_bytes(b"nothing")
    expected = {
        "cut.avi": r"cut\.avi: truncated: \d+ of 19 frames could be decoded",
        "text.mp4": r"text\.mp4: not a readable video",
        "images": r"003\.png: not a readable image",
        "damaged.h5": r"damaged\.h5: not a readable HDF5 file",
        "none.h5": r"none\.h5: missing",
        "none.mp4": r"none\.mp4: missing; expected a video file",
    }
    for name, line in expected.items():
        with pytest.raises(InputError, match=line):
            run_within(20, score_video(tmp_path / name, Means(), 2, decoders=decoders))


class Clock:
    """Each thread has its own time, which only its own work moves."""

    def __init__(self):
        self.times = threading.local()

    def now(self):
        return getattr(self.times, "now", 0.0)

    def work(self, seconds):
        self.times.now = self.now() + seconds


class Slow(Means):
    def __init__(self, work):
        self.work = work

    def __call__(self, frames):
        self.work(len(frames))
        return super().__call__(frames)


@pytest.mark.parametrize("slow", ["decoding", "resizing", "inference"])
def test_the_times_say_which_part_limits(slow, monkeypatch):
    clock, costs = Clock(), {"decoding": 0.001, "resizing": 0.001, "inference": 0.001, slow: 0.005}
    monkeypatch.setattr(stream.time, "perf_counter", clock.now)

    def source():
        for frame in noise(40, 8, 8):
            clock.work(costs["decoding"])
            yield frame

    monkeypatch.setattr(stream, "resize", lambda frame, size: clock.work(costs["resizing"]) or resize(frame, size))
    given(monkeypatch, source())
    times = StreamTimes()
    for _ in score_video("x.mp4", Slow(lambda count: clock.work(costs["inference"] * count)), 4, times):
        clock.work(0.01)
    for part, cost in costs.items():
        assert getattr(times, part) == pytest.approx(40 * cost)
    assert times.limit == slow and times.frames == 40
    assert times.total == pytest.approx(times.inference + 10 * 0.01), "with what the caller did in between"
    assert str(times) == f"40 frames, {40 / times.total:.1f} frames/s, limited by {slow}"


def test_waiting_for_windows_is_measured(monkeypatch):
    clock, times = Clock(), StreamTimes()
    monkeypatch.setattr(stream.time, "perf_counter", clock.now)
    assert list(stream._timed((clock.work(2) for _ in range(3)), times, "waiting")) == [None] * 3
    assert times.waiting == 6


def test_the_parts_overlap(monkeypatch, alone):
    """The decoder waits for the scoring of the first batch to begin, and that for frames decoded and resized later."""
    held, scoring, sizes, overlaps = 24, threading.Event(), [], []  # 16 + 3 frames make the first batch

    def source():
        for t, frame in enumerate(endless([])):
            if t == held:
                scoring.wait(60)
            yield frame

    def during(count):
        scoring.set()
        deadline = time.monotonic() + 60
        while len(sizes) <= held and time.monotonic() < deadline:
            time.sleep(0.001)
        overlaps.append(len(sizes) > held)

    monkeypatch.setattr(stream, "resize", lambda frame, size: sizes.append(size) or resize(frame, size))
    given(monkeypatch, source())
    with closing(score_video("x.mp4", Slow(during), 16)) as scored:
        next(scored)
    assert overlaps == [True]
