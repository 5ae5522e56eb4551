import csv
import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from stored_clips import store_of
from trees import pictures, write_avi, write_images, write_mp4

from vadistill.data.frames import FrameStore, write_frames
from vadistill.data.video import frames_of
from vadistill.data.windows import FrameWindows, resize
from vadistill.errors import InputError
from vadistill.inference import stream
from vadistill.inference.backend import Scores
from vadistill.inference.score_table import score_all, write_scores
from vadistill.inference.stream import FRAMES_AHEAD, StreamTimes, assemble, score_video, source_rate
from vadistill.models.student import Student, frame_scores, scale_frames
from vadistill.settings import Student as Settings
from vadistill.student_scoring import BATCH, score_clip, windows_of

SIDES = (1, 4)
CPU = torch.device("cpu")
NETWORK = Settings(height=24, width=40, base_width=2, downsamplings=2, depth=1, heads=1, head_width=4, frame_step=3)


class Reference:
    """A small student in torch, as it comes."""

    name, size, offsets, resolutions, conditions = "reference", (24, 40), (-3, 0, 3), SIDES, None

    def __init__(self):
        torch.manual_seed(0)
        self.student = Student(NETWORK, SIDES).eval()

    @torch.inference_mode()
    def __call__(self, frames):
        maps = self.student(scale_frames(torch.from_numpy(frames)))
        return Scores(frame_scores(maps).numpy(), {g: grid[:, 0].numpy() for g, grid in maps.items()})


class Means:
    """Scores that say which frame was judged."""

    name, size, offsets, resolutions, conditions = "means", (8, 8), (-3, 0, 3), (), None

    def __call__(self, frames):
        self.given = frames
        return Scores(frames[:, 3:6].mean((1, 2, 3)).astype(np.float32), {})


def noise(count, height=30, width=50):
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def joined(parts):
    parts = list(parts)
    maps = {g: np.concatenate([part.maps[g] for part in parts]) for g in parts[0].maps}
    return Scores(np.concatenate([part.score for part in parts]), maps)


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
    expected = score_clip(backend.student, windows_of([store.path], NETWORK), CPU)
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
    expected = score_clip(backend.student, windows_of([tmp_path / "a.h5"], NETWORK), CPU)
    assert_same(joined(score_video(source, backend, BATCH)), expected)
    assert source_rate(source) == source_rate(tmp_path / "a.h5") == (None if kind == "images" else 25)


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


def endless(asked):
    for t in range(10**9):
        asked.append(t)
        yield np.full((8, 8, 3), t % 256, np.uint8)


def given(monkeypatch, frames):
    monkeypatch.setattr(stream, "read_source", lambda *_: frames)


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
        run_within(5, score_video("x.mp4", Means(), 1000))
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


class Slow(Means):
    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, frames):
        time.sleep(self.seconds * len(frames))
        return super().__call__(frames)


@pytest.mark.parametrize("slow", ["decoding", "resizing", "inference"])
def test_the_times_say_which_part_limits(slow, monkeypatch):
    pauses = {"decoding": 0.0, "resizing": 0.0, "inference": 0.0, slow: 0.005}

    def source():
        for frame in noise(40, 8, 8):
            time.sleep(pauses["decoding"])
            yield frame

    monkeypatch.setattr(stream, "resize", lambda frame, size: time.sleep(pauses["resizing"]) or resize(frame, size))
    given(monkeypatch, source())
    times = StreamTimes()
    started = time.perf_counter()
    list(score_video("x.mp4", Slow(pauses["inference"]), 4, times))
    total = time.perf_counter() - started
    assert times.limit == slow and times.frames == 40
    assert 0.2 <= getattr(times, slow) <= times.total <= total
    assert times.inference + times.waiting <= times.total
    assert (times.waiting > times.inference) == (slow != "inference")
    assert str(times) == f"40 frames, {40 / times.total:.1f} frames/s, limited by {slow}"


def test_the_parts_overlap(monkeypatch):
    """Three parts of 0.2 s each take less than the 0.6 s that they sum to."""

    def source():
        for frame in noise(40, 8, 8):
            time.sleep(0.005)
            yield frame

    monkeypatch.setattr(stream, "resize", lambda frame, size: time.sleep(0.005) or resize(frame, size))
    given(monkeypatch, source())
    times = StreamTimes()
    list(score_video("x.mp4", Slow(0.005), 4, times))
    assert times.decoding + times.resizing + times.inference > 1.5 * times.total


def parts_of(scores, maps, batch):
    for start in range(0, len(scores), batch):
        chosen = slice(start, start + batch)
        yield Scores(scores[chosen], {g: grid[chosen] for g, grid in maps.items()})


@pytest.mark.parametrize("fps", [25.0, None])
def test_a_table_reads_back_as_written(fps, tmp_path):
    rng = np.random.default_rng(0)
    scores, maps = rng.random(11, np.float32), {g: rng.random((11, g, g), np.float32) for g in SIDES}
    path, archive = tmp_path / "new" / "a.csv", tmp_path / "new" / "a.npz"
    write_scores(path, parts_of(scores, maps, 4), fps, archive)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["frame", "time_s", "score"]
    assert [int(row["frame"]) for row in rows] == list(range(11))
    assert [row["time_s"] for row in rows] == [f"{t * 0.04:.3f}" if fps else "" for t in range(11)]
    np.testing.assert_array_equal(np.array([row["score"] for row in rows], np.float32), scores)
    assert max(len(row["score"]) for row in rows) < 15, "no digits that float32 does not have"
    with np.load(archive) as made:
        assert made.files == ["1x1", "4x4"]
        for g in SIDES:
            np.testing.assert_array_equal(made[f"{g}x{g}"], maps[g].astype(np.float16))
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.csv", "a.npz"]


def test_a_table_is_whole_or_not_there(tmp_path):
    path, archive = tmp_path / "a.csv", tmp_path / "a.npz"
    path.write_text("old")

    def broken():
        yield Scores(np.zeros(3, np.float32), {1: np.zeros((3, 1, 1), np.float32)})
        raise InputError("cut")

    with pytest.raises(InputError, match="cut"):
        write_scores(path, broken(), 25.0, archive)
    bad = Scores(np.array([0.5, np.nan], np.float32), {})
    with pytest.raises(InputError, match=r"a\.csv: the score of frame 1 is nan; expected a finite number"):
        write_scores(path, iter([bad]))
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_every_readable_source_is_scored(tmp_path, caplog, alone):
    caplog.set_level("INFO")
    write_avi(tmp_path / "one.avi", noise(9))
    (tmp_path / "two.mp4").write_text("no video")
    write_images(tmp_path / "cam.3", noise(5), ".png")
    sources = [tmp_path / name for name in ("one.avi", "two.mp4", "none.mkv", "cam.3")]
    errors = score_all(sources, tmp_path / "out", Reference(), 4, maps=True)
    assert len(errors) == 2 and "two.mp4: not a readable video" in errors[0] and "none.mkv: missing" in errors[1]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "cam.3.csv",
        "cam.3.npz",
        "one.csv",
        "one.npz",
    ]
    scored = [line for line in caplog.messages if " frames/s, limited by " in line]
    assert [line.split(" frames,")[0] for line in scored] == [f"{sources[0]}: 9", f"{sources[3]}: 5"]
    for line, name in zip(scored, ("one", "cam.3"), strict=True):
        size = (tmp_path / "out" / f"{name}.csv").stat().st_size
        assert f"wrote {tmp_path}/out/{name}.csv ({size} bytes), {tmp_path}/out/{name}.npz (" in line
    table = np.genfromtxt(tmp_path / "out" / "one.csv", delimiter=",", names=True, dtype=np.float32)
    np.testing.assert_array_equal(table["score"], joined(score_video(sources[0], Reference(), 4)).score)


def test_sources_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"out/a\.csv: 2 sources are named 'a'"):
        score_all([tmp_path / "x" / "a.avi", tmp_path / "y" / "a.mp4"], tmp_path / "out", Means(), 4)
    assert not (tmp_path / "out").exists()
