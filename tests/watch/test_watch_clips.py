"""Clips and snapshots of alarms, decoded again."""

import resource
import time
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from vadistill.watch import clips
from vadistill.watch.alarm import Alarm, Phase
from vadistill.watch.clips import STRIP, ClipRecorder, ClipWriter, Still
from vadistill.watch.config import CameraConfig
from vadistill.watch.store import Store

ALARM = Alarm(
    id="a1", camera="yard", zone="", phase=Phase.START, start=110.0, end=None, peak=110.0, score=0.9, threshold=0.5,
    box=(0.5, 0.5, 0.25, 0.25),
)  # fmt: skip
RATE = 5


def config(**more):
    return CameraConfig.model_validate({"source": {"kind": "file", "path": "x.mp4"}, **more})


def image(number, height=60, width=90):
    made = np.full((height, width, 3), 40, np.uint8)
    made[10:30, (number * 2) % 70 : (number * 2) % 70 + 20] = (0, 200, 250)
    return made


def recorded(tmp_path, times, start=110.0, end=113.0, ends=True, size=(60, 90), **more):
    store = Store(tmp_path)
    writer = ClipWriter(store)
    recorder = ClipRecorder(config(**more), writer)
    for number, moment in enumerate(times):
        recorder.add(moment, image(number, *size), 0.9 if start <= moment <= end else 0.1)
        if abs(moment - start) < 0.01:
            recorder.start(ALARM)
            recorder.snapshot(ALARM, image(number, *size), np.eye(4, dtype=np.float32))
        if ends and abs(moment - end) < 0.01:
            recorder.end(replace(ALARM, phase=Phase.END, end=end))
    recorder.close()
    writer.stop()
    return tmp_path / "clips/a1.mp4"


def read(path):
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(film.decode(video=0))
    return [float(frame.pts * frame.time_base) for frame in frames], [f.to_ndarray(format="bgr24") for f in frames]


def test_a_clip_has_what_was_before_and_behind(tmp_path):
    times = 100 + np.arange(150) / RATE
    seconds, pictures = read(recorded(tmp_path, times, pre_roll=4, post_roll=3))
    assert seconds == pytest.approx(np.arange(51) / RATE, abs=1e-3)  # from 106 to 116
    assert pictures[0].shape == (60 + STRIP, 90, 3)
    differences = [np.abs(pictures[7][:60].astype(int) - image(number)).mean() for number in range(150)]
    assert int(np.argmin(differences)) % 35 == 37 % 35  # the picture comes again


def test_the_curve_has_a_cursor_at_the_frame(tmp_path):
    _, pictures = read(recorded(tmp_path, 100 + np.arange(150) / RATE, pre_roll=4, post_roll=3))
    across = [int(picture[60 + 10 :].min(2).mean(0).argmax()) for picture in pictures]
    np.testing.assert_allclose(across, np.arange(51) / 50 * 89, atol=2)


def test_times_of_a_clip_are_the_true_ones(tmp_path):
    times = np.sort(np.concatenate([[110.0, 113.0], np.random.default_rng(0).uniform(100, 125, 80)]))
    seconds, _ = read(recorded(tmp_path, times, pre_roll=5, post_roll=5))
    kept = times[(times >= 105) & (times <= 125)]
    assert len(seconds) <= len(kept) and seconds[0] == 0
    assert seconds == pytest.approx(kept[: len(seconds)] - kept[0], abs=2e-3)


def test_a_long_alarm_has_a_clip_of_bounded_length(tmp_path):
    times = 100 + np.arange(600) / RATE
    seconds, _ = read(recorded(tmp_path, times, end=210.0, pre_roll=2, longest_clip=20))
    assert 19 <= seconds[-1] <= 20.3


def test_a_clip_that_is_cut_off_by_the_end_of_the_watch_is_written(tmp_path):
    seconds, _ = read(recorded(tmp_path, 100 + np.arange(60) / RATE, ends=False, pre_roll=2))
    assert seconds[-1] == pytest.approx(3.8, abs=1e-3)


def test_odd_sides_are_cut_and_other_sizes_brought_to_the_first(tmp_path):
    _, pictures = read(recorded(tmp_path, 100 + np.arange(100) / RATE, size=(61, 91)))
    assert pictures[0].shape == (60 + STRIP, 90, 3)


def test_the_snapshot_shows_heat_and_box(tmp_path):
    recorded(tmp_path, 100 + np.arange(100) / RATE)
    made = cv2.imread(str(tmp_path / "snapshots/a1.jpg")).astype(int)
    assert made.shape == (60, 90, 3)
    red = (made[..., 2] > 150) & (made[..., 0] < 120) & (made[..., 1] < 130)
    rows, _ = np.nonzero(red[28:48, 43:70])
    assert len(rows) > 30, "a box at the peak"


class Put(ClipWriter):
    """Notes what is to be written, and writes nothing."""

    def __init__(self, folder):
        super().__init__(Store(folder))
        self.clips = []

    def put(self, alarm, stills):
        self.clips.append((alarm, [still.time for still in stills]))


@pytest.fixture
def put(tmp_path):
    writer = Put(tmp_path)
    yield writer
    writer.stop()


def fill(recorder, first, count, side=60):
    for number in range(first, first + count):
        recorder.add(number / RATE, image(number, side, side), 0.1)


def test_a_clip_that_is_full_is_written_while_its_alarm_goes_on(put):
    recorder = ClipRecorder(config(pre_roll=2, longest_clip=20), put)
    fill(recorder, 0, 100)
    recorder.start(ALARM)
    fill(recorder, 100, 200)
    ((alarm, times),) = put.clips
    assert (alarm.id, times[0], times[-1]) == ("a1", pytest.approx(17.8), pytest.approx(37.8))
    recorder.end(replace(ALARM, phase=Phase.END, end=59.0))
    fill(recorder, 300, 100)
    recorder.close()
    assert len(put.clips) == 1, "once"


def test_half_of_a_clip_at_most_is_before_its_alarm(put):
    recorder = ClipRecorder(config(pre_roll=60, post_roll=0, longest_clip=10), put)
    fill(recorder, 0, 500)
    recorder.start(replace(ALARM, start=99.8))
    fill(recorder, 500, 100)
    ((_, times),) = put.clips
    assert (times[0], times[-1]) == (pytest.approx(94.8), pytest.approx(104.8))


def test_memory_before_an_alarm_is_bounded_by_seconds_and_bytes(put, monkeypatch):
    recorder = ClipRecorder(config(pre_roll=2), put)
    fill(recorder, 0, 1000)
    recorder.start(ALARM)
    recorder.close()
    assert len(put.clips.pop()[1]) == 2 * RATE + 1
    frame = len(cv2.imencode(".jpg", image(0, 60, 60), [cv2.IMWRITE_JPEG_QUALITY, clips.QUALITY])[1])
    monkeypatch.setattr(clips, "BEFORE_BYTES", 4 * frame)
    fill(recorder, 1000, 100)
    recorder.start(ALARM)
    recorder.close()
    assert 2 <= len(put.clips.pop()[1]) <= 5


def test_memory_of_a_clip_is_bounded(put, monkeypatch, caplog):
    monkeypatch.setattr(clips, "CLIP_BYTES", 50_000)
    recorder = ClipRecorder(config(longest_clip=3600), put)
    fill(recorder, 0, 10)
    recorder.start(ALARM)
    fill(recorder, 10, 1000)
    assert len(put.clips) == 1 and put._held <= 50_000 and 10 < len(put.clips[0][1]) < 1000
    assert caplog.messages == ["alarm a1: its clip ends early, to save memory"]


def test_memory_of_all_clips_is_bounded_and_comes_back(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(clips, "HELD_BYTES", 60_000)
    writer = ClipWriter(Store(tmp_path))
    recorders = [ClipRecorder(config(longest_clip=3600), writer) for _ in range(4)]
    for number, recorder in enumerate(recorders):
        fill(recorder, 0, 5)
        recorder.start(replace(ALARM, id=f"a{number}"))
    for number in range(5, 100):
        for recorder in recorders:
            fill(recorder, number, 1)
            assert writer._held <= 60_000
    for recorder in recorders:
        recorder.close()
    writer.stop()
    assert writer._held == 0 and all("to save memory" in line for line in caplog.messages)
    assert len(list((tmp_path / "clips").glob("[!.]*.mp4"))) == 4


def test_an_alarm_before_the_first_frame_has_a_clip(put):
    recorder = ClipRecorder(config(), put)
    recorder.start(ALARM)
    recorder.close()
    assert put.clips == []
    recorder.start(ALARM)
    fill(recorder, 0, 3)
    recorder.close()
    assert len(put.clips[0][1]) == 3


def test_a_snapshot_that_cannot_be_made_does_not_hold_the_alarm_up(put, caplog):
    ClipRecorder(config(), put).snapshot(ALARM, image(0), np.empty((0, 0), np.float32))
    assert ["alarm a1: its snapshot cannot be written" in line for line in caplog.messages] == [True]


def stills(count=60, side=120):
    images = [np.random.default_rng(n).integers(0, 256, (side, side, 3), np.uint8) for n in range(count)]
    return [Still(n / RATE, cv2.imencode(".jpg", one)[1].tobytes(), 0.1) for n, one in enumerate(images)]


def write(writer, alarm, pictures):
    assert writer.hold(sum(len(still.jpeg) for still in pictures))
    writer.put(alarm, pictures)


def comes(path):
    """Return whether a file comes."""
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return path.exists()


def test_a_full_disk_is_one_line_and_the_next_clip_is_written(tmp_path, caplog):
    writer, pictures = ClipWriter(Store(tmp_path)), stills()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # writes fail in their middle, as on a full disk
    try:
        write(writer, replace(ALARM, id="large"), pictures)
        write(writer, replace(ALARM, id="small"), stills(2, 32))
        assert comes(tmp_path / "clips/small.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    write(writer, replace(ALARM, id="later"), pictures)
    writer.stop()
    assert [line.split(" (")[0] for line in caplog.messages] == ["alarm large: its clip cannot be written"]
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == ["later.mp4", "small.mp4"]
    assert len(read(tmp_path / "clips/later.mp4")[0]) == 60


def test_a_clip_that_fails_otherwise_does_not_end_the_thread(tmp_path, caplog):
    writer = ClipWriter(Store(tmp_path))
    write(writer, replace(ALARM, id="bad"), [Still(0.0, b"no JPEG", 0.1)])
    write(writer, ALARM, stills(3))
    writer.stop()
    assert ["alarm bad: its clip cannot be written" in line for line in caplog.messages] == [True]
    assert len(read(tmp_path / "clips/a1.mp4")[0]) == 3
