"""One camera's thread: states, connecting again, and ends."""

import logging
import time

import pytest
from films import scenes, write_film
from live_sources import free_port, http_server, motion_jpeg, needs_rtsp, rtsp_server, until

from vadistill.watch import reader as reader_module
from vadistill.watch import stream
from vadistill.watch.alarm import CameraState, CameraStatus
from vadistill.watch.config import File, Http, Rtsp, address_of
from vadistill.watch.reader import CameraReader

pytestmark = pytest.mark.slow  # real servers and processes

RAW = {"preset": "veryfast", "g": "25", "bf": "0", "aud": "1"}


class Taker:
    """Wants every second frame."""

    def __init__(self):
        self.asked, self.taken = 0, []

    def wants(self, frame):
        self.asked += 1
        return self.asked % 2 == 1

    def take(self, frame):
        self.taken.append(frame)


def started(source):
    status, taker = CameraStatus("yard", address_of(source)), Taker()
    made = CameraReader(status, source, taker)
    made.start()
    return made, status, taker


@pytest.fixture
def quick(monkeypatch):
    """Pauses and time-outs of a tenth."""
    for module, name, value in (
        (reader_module, "FIRST_PAUSE", 0.05),
        (reader_module, "LONGEST_PAUSE", 0.3),
        (reader_module, "SILENT", 1.0),
        (stream, "OPENING", 2.0),
        (stream, "READING", 2.0),
    ):
        monkeypatch.setattr(module, name, value)


def test_only_frames_that_are_wanted_are_converted(tmp_path, monkeypatch):
    converted, plain = [], stream.Frame.image
    monkeypatch.setattr(stream.Frame, "image", property(lambda frame: converted.append(0) or plain.fget(frame)))
    monkeypatch.setattr(Taker, "take", lambda taker, frame: taker.taken.append(frame.image.shape))
    write_film(tmp_path / "a.mp4", "libx264", scenes(20))
    made, _, taker = started(File(kind="file", path=tmp_path / "a.mp4", real_time=False))
    made.join(20)
    assert taker.asked == 20 and len(converted) == 10 and taker.taken == [(48, 64, 3)] * 10


def test_a_file_is_over_and_not_begun_again(tmp_path):
    write_film(tmp_path / "a.mp4", "libx264", scenes(20))
    made, status, taker = started(File(kind="file", path=tmp_path / "a.mp4", real_time=False))
    until(lambda: status.state == CameraState.ENDED)
    made.join(5)
    assert (status.frames_in, status.reconnects, status.problem) == (20, 0, "")
    assert taker.asked == 20 and len(taker.taken) == 10 and taker.taken[0].image.shape == (48, 64, 3)
    assert abs(status.last_frame - time.time()) < 60
    made.check()
    assert status.state == CameraState.ENDED


def test_a_file_that_is_missing_is_dead_until_it_is_there(tmp_path, quick, caplog):
    caplog.set_level(logging.INFO)
    _, status, _ = started(File(kind="file", path=tmp_path / "a.mp4", real_time=False))
    until(lambda: status.state == CameraState.DEAD and status.reconnects >= 3)
    assert "missing" in status.problem
    assert sum("missing; expected" in line for line in caplog.messages if "dead" not in line) == 1, "said once"
    write_film(tmp_path / "b.mp4", "libx264", scenes(20))
    (tmp_path / "b.mp4").rename(tmp_path / "a.mp4")
    until(lambda: status.state == CameraState.ENDED)
    assert status.frames_in == 20


def test_a_stream_that_falls_silent_is_dead_in_time_and_alive_again(quick):
    with http_server(motion_jpeg(scenes(5), silent_from=10)) as port:
        made, status, _ = started(Http(kind="http", url=f"http://127.0.0.1:{port}/"))
        until(lambda: status.state == CameraState.LIVE)
        until(lambda: made.check() or status.state == CameraState.DEAD)
        assert time.time() - status.last_frame < 5
        assert status.problem
        until(lambda: status.state == CameraState.LIVE)  # connected again, ten frames more
        assert status.reconnects >= 1
        made.stop()
        assert not made.is_alive() or made.daemon


@needs_rtsp
def test_a_camera_that_is_cut_off_comes_back_by_itself(tmp_path, quick):
    film = write_film(tmp_path / "a.h264", "libx264", scenes(50), options=RAW)
    port = free_port()
    source = Rtsp(kind="rtsp", url=f"rtsp://u:secret@127.0.0.1:{port}/0")
    made, status, _ = started(source)
    until(lambda: made.check() or status.state == CameraState.DEAD)
    for _ in range(3):
        before = status.frames_in
        with rtsp_server(film, port=port):
            until(lambda before=before: status.state == CameraState.LIVE and status.frames_in > before + 5)
        until(lambda: made.check() or status.state == CameraState.DEAD)
    assert status.reconnects >= 3 and "secret" not in status.problem + status.source
    begun = time.monotonic()
    made.stop()
    assert time.monotonic() - begun < 3


def test_a_taker_that_fails_does_not_end_the_camera(tmp_path, quick, caplog):
    write_film(tmp_path / "a.mp4", "libx264", scenes(20))
    status = CameraStatus("yard", "")

    class Bad(Taker):
        def take(self, frame):
            raise RuntimeError("of the taker")

    made = CameraReader(status, File(kind="file", path=tmp_path / "a.mp4", real_time=False), Bad())
    made.start()
    until(lambda: status.reconnects >= 2)
    assert status.problem == "reading fails (RuntimeError)" and status.state == CameraState.DEAD
    made.stop()
