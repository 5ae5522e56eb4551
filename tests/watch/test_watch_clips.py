"""Clips and snapshots of alarms, decoded again."""

import resource
import time
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

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
            recorder.start(ALARM, image(number, *size), np.eye(4, dtype=np.float32))
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


def test_memory_holds_the_last_seconds_alone(tmp_path):
    writer = ClipWriter(Store(tmp_path))
    recorder = ClipRecorder(config(pre_roll=2), writer)
    for number in range(1000):
        recorder.add(number / RATE, image(number), 0.1)
    assert len(recorder._before) <= 2 * RATE + 1
    writer.stop()


def stills(count=60, side=120):
    images = [np.random.default_rng(n).integers(0, 256, (side, side, 3), np.uint8) for n in range(count)]
    return [Still(n / RATE, cv2.imencode(".jpg", one)[1].tobytes(), 0.1) for n, one in enumerate(images)]


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
        writer.put(replace(ALARM, id="large"), pictures)
        writer.put(replace(ALARM, id="small"), stills(2, 32))
        assert comes(tmp_path / "clips/small.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.put(replace(ALARM, id="later"), pictures)
    writer.stop()
    assert [line.split(" (")[0] for line in caplog.messages] == ["alarm large: its clip cannot be written"]
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == ["later.mp4", "small.mp4"]
    assert len(read(tmp_path / "clips/later.mp4")[0]) == 60


def test_a_clip_that_fails_otherwise_does_not_end_the_thread(tmp_path, caplog):
    writer = ClipWriter(Store(tmp_path))
    writer.put(replace(ALARM, id="bad"), [Still(0.0, b"no JPEG", 0.1)])
    writer.put(ALARM, stills(3))
    writer.stop()
    assert ["alarm bad: its clip cannot be written" in line for line in caplog.messages] == [True]
    assert len(read(tmp_path / "clips/a1.mp4")[0]) == 3
