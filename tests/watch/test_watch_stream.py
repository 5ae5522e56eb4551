"""Frames of live sources from real servers, and what becomes of streams that are broken."""

import socket
import subprocess
import sys
import threading
import time
from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import av
import numpy as np
import pytest
from films import scenes, write_film
from live_sources import (
    DEADLINE,
    certificate_in,
    files_of,
    free_port,
    http_server,
    motion_jpeg,
    needs_openssl,
    needs_rtsp,
    rtsp_server,
    until,
    with_password,
)

from vadistill.watch import stream
from vadistill.watch.config import Device, File, Http, Rtsp, Stdin
from vadistill.watch.stream import StreamError, frames_of

pytestmark = pytest.mark.slow  # real servers and processes

RAW = {"preset": "veryfast", "g": "25", "bf": "0", "aud": "1"}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    write_film(folder / "film.mp4", "libx264", scenes(50, 96, 128))
    write_film(folder / "film.ts", "libx264", scenes(50, 96, 128))
    write_film(folder / "film.h264", "libx264", scenes(50, 96, 128), options=RAW)
    return folder


def file_of(path, **more):
    return File(kind="file", path=path, **{"real_time": False, **more})


def some(source, count):
    made, over = [], threading.Event()
    for frame in frames_of(source, over):
        made.append(frame)
        if len(made) == count:
            break
    return made


def test_a_file_gives_its_frames_at_their_times(films):
    made = list(frames_of(file_of(films / "film.mp4"), threading.Event()))
    with av.open(str(films / "film.mp4")) as film:
        expected = [frame.to_ndarray(format="bgr24") for frame in film.decode(video=0)]
    assert [frame.seconds for frame in made] == pytest.approx(np.arange(50) / 25)
    for frame, picture in zip(made, expected, strict=True):
        assert frame.image.shape == picture.shape
        assert np.abs(frame.image.astype(int) - picture).mean() < 3


def test_a_file_is_played_at_its_own_pace(films):
    begun = time.monotonic()
    made = some(file_of(films / "film.mp4", real_time=True), 26)
    assert 0.95 <= time.monotonic() - begun < DEADLINE and made[-1].time - made[0].time >= 0.95


def test_a_looped_file_goes_on_and_its_time_never_falls(films):
    made = some(file_of(films / "film.mp4", loop=True), 120)
    assert np.diff([frame.seconds for frame in made]) == pytest.approx(0.04, abs=1e-3)


@needs_rtsp
def test_rtsp(films):
    with rtsp_server(films / "film.h264", mounts=2) as (port, _):
        source = Rtsp(kind="rtsp", url=f"rtsp://127.0.0.1:{port}/1")
        made = some(source, 60)
    assert made[0].image.shape == (96, 128, 3)
    assert np.diff([frame.seconds for frame in made]) == pytest.approx(0.04, abs=5e-3)


def check_trust(source, films):
    """Any certificate is taken, unless it is to be verified: then one that is named, and for the right host."""
    assert len(some(source(), 5)) == 5
    assert len(some(source(verify=films / "own.pem"), 5)) == 5
    with pytest.raises(StreamError, match=r"cannot be opened .* certificate"):
        some(source(verify=True), 5)
    with pytest.raises(StreamError, match=r"cannot be opened .* certificate"):
        some(source(host="127.0.0.1", verify=films / "own.pem"), 5)
    with pytest.raises(StreamError, match=r"none\.pem: missing; expected a PEM file that `verify` names"):
        some(source(verify=films / "none.pem"), 5)


@needs_rtsp
@needs_openssl
def test_rtsps(films):
    def source(host="localhost", **more):
        return Rtsp(kind="rtsp", url=f"rtsps://{host}:{port}/0", **more)

    with rtsp_server(films / "film.h264", certificate=certificate_in(films)) as (port, _):
        check_trust(source, films)


@needs_openssl
def test_https(films):
    def source(host="localhost", **more):
        return Http(kind="http", url=f"https://{host}:{port}/", **more)

    with http_server(motion_jpeg(scenes(10, 96, 128)), certificate_in(films)) as port:
        check_trust(source, films)


@pytest.mark.parametrize("way", ["Basic", "Digest"])
def test_http_with_a_password(way):
    with http_server(with_password(motion_jpeg(scenes(10, 96, 128)), way, "viewer", "p@ss")) as port:
        assert len(some(Http(kind="http", url=f"http://viewer:p%40ss@127.0.0.1:{port}/live?size=1"), 5)) == 5
        with pytest.raises(StreamError, match="401 Unauthorized") as refused:
            some(Http(kind="http", url=f"http://viewer:wrong@127.0.0.1:{port}/live"), 5)
    assert "wrong" not in str(refused.value) and "viewer" not in str(refused.value)


@needs_rtsp
def test_an_rtsp_server_that_dies_ends_the_stream(films):
    with rtsp_server(films / "film.h264") as (port, process):
        frames = frames_of(Rtsp(kind="rtsp", url=f"rtsp://u:secret@127.0.0.1:{port}/0"), threading.Event())
        next(frames)
        process.kill()
        with pytest.raises(StreamError, match=r"ended|breaks off") as told:
            for _ in frames:
                pass
    assert "secret" not in str(told.value)


def test_motion_jpeg():
    with http_server(motion_jpeg(scenes(20))) as port:
        made = some(Http(kind="http", url=f"http://user:secret@127.0.0.1:{port}/video?key=1"), 15)
    assert made[0].image.shape == (48, 64, 3) and len({frame.seconds for frame in made}) == 15


def test_hls(tmp_path):
    with av.open(str(tmp_path / "live.m3u8"), "w", "hls", options={"hls_time": "1", "hls_list_size": "0"}) as film:
        out = film.add_stream("libx264", rate=25)
        out.height, out.width, out.pix_fmt = 48, 64, "yuv420p"
        for picture in scenes(60):
            film.mux(out.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        film.mux(out.encode())
    with http_server(files_of(tmp_path)) as port:
        made = some(Http(kind="http", url=f"http://127.0.0.1:{port}/live.m3u8"), 40)
    assert len(made) == 40


def test_sound_without_a_picture_ends_the_stream(monkeypatch):
    """Reading ends, though packets come for ever, and as soon as it is to end."""
    film, sound = SimpleNamespace(codec_context=None), SimpleNamespace()
    container = SimpleNamespace(demux=lambda: iter(lambda: SimpleNamespace(stream=sound), None))
    monkeypatch.setattr(stream, "READING", 0.2)
    source = Http(kind="http", url="http://127.0.0.1/a")
    with pytest.raises(StreamError, match=r"no picture for 0\.2 seconds, only other streams"):
        next(stream._decoded(container, film, source, threading.Event()))
    over = threading.Event()
    over.set()
    assert list(stream._decoded(container, film, source, over)) == []


def test_frames_that_are_played_slowly_do_not_end_the_stream(monkeypatch):
    """Sound may come first behind a frame for which somebody waited longer than a source may be silent."""
    clock, frame = [0.0], SimpleNamespace(width=4, height=4)
    monkeypatch.setattr(stream.time, "monotonic", lambda: clock[0])
    film = SimpleNamespace(codec_context=SimpleNamespace(decode=lambda packet: [frame]))
    packets = [SimpleNamespace(stream=one) for one in (film, "sound", film)]
    frames = stream._decoded(
        SimpleNamespace(demux=lambda: iter(packets)), film, Http(kind="http", url="http://h/a"), threading.Event()
    )
    assert next(frames) is frame
    clock[0] += 5 * stream.READING
    assert next(frames) is frame and next(frames, None) is None


def test_hls_that_grows_is_watched_without_a_break(tmp_path):
    """A live playlist, of which a segment comes every second: frames come evenly, and none is left out."""
    folder, over = tmp_path / "live", threading.Event()
    folder.mkdir()

    def record():
        options = {"hls_time": "1", "hls_list_size": "0"}  # a busy machine may be late
        with av.open(str(folder / "live.m3u8"), "w", "hls", options=options) as film:
            out = film.add_stream("libx264", rate=25, options={"g": "25", "preset": "ultrafast"})
            out.height, out.width, out.pix_fmt = 48, 64, "yuv420p"
            begun, pictures = time.monotonic(), scenes(50)
            for number in range(1500):
                if over.wait(max(0.0, begun + number / 25 - time.monotonic())):
                    break
                film.mux(out.encode(av.VideoFrame.from_ndarray(pictures[number % 50], format="bgr24")))

    recorder = threading.Thread(target=record)
    recorder.start()
    try:
        until(lambda: len(list(folder.glob("*.ts"))) >= 4)
        with http_server(files_of(folder)) as port:
            made = some(Http(kind="http", url=f"http://127.0.0.1:{port}/live.m3u8"), 250)
    finally:
        over.set()
        recorder.join()
    assert np.diff([frame.seconds for frame in made]) == pytest.approx(0.04, abs=5e-3)
    came = np.diff([frame.time for frame in made])
    assert (came > 0.015).mean() > 0.7, "at their own times, not in bursts"


def test_a_playlist_opens_no_local_file(tmp_path, films):
    """A camera must not make the watch read this machine's files."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2,", f"file://{films}/film.ts", "#EXT-X-ENDLIST"]
    (tmp_path / "live.m3u8").write_text("\n".join(lines))
    with http_server(files_of(tmp_path)) as port, pytest.raises(StreamError):
        some(Http(kind="http", url=f"http://127.0.0.1:{port}/live.m3u8"), 1)
    (tmp_path / "list.mp4").write_text("\n".join(lines))
    with pytest.raises(StreamError, match="cannot be opened"):
        some(file_of(tmp_path / "list.mp4"), 1)


def test_the_standard_input(films):
    code = (
        "import threading\nfrom vadistill.watch.stream import frames_of\nfrom vadistill.watch.config import Stdin\n"
        "print(sum(1 for _ in zip(range(20), frames_of(Stdin(kind='stdin', format='h264'), threading.Event()))))"
    )
    with (films / "film.h264").open("rb") as film:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=film, capture_output=True, text=True, timeout=DEADLINE
        )
    assert done.stdout == "20\n", done.stderr
    assert stream.address_of(Stdin(kind="stdin")) == "-"


def garbage(path):
    path.write_bytes(np.random.default_rng(0).bytes(300_000))


def cut_header(path, film):
    path.write_bytes(film.read_bytes()[:500])


@pytest.mark.parametrize("name", ["missing", "garbage", "text", "cut", "no device", "folder"])
def test_what_is_no_stream_is_one_line(name, tmp_path, films):
    path = tmp_path / "it.mp4"
    makers = {
        "garbage": partial(garbage, path),
        "text": lambda: path.write_text("dear"),
        "cut": lambda: cut_header(path, films / "film.mp4"),
        "folder": path.mkdir,
    }
    makers.get(name, lambda: None)()
    source = Device(kind="device", path=path) if name == "no device" else file_of(path)
    with pytest.raises(StreamError) as told:
        some(source, 1)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_damage_in_the_middle_costs_frames_and_no_more(films, tmp_path):
    content = bytearray((films / "film.h264").read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(3000, len(content), 200):
        content[place] ^= 255
    (tmp_path / "it.h264").write_bytes(content)
    assert 0 < len(list(frames_of(file_of(tmp_path / "it.h264"), threading.Event()))) <= 50


def test_frames_that_change_their_size_go_on(films, tmp_path):
    write_film(tmp_path / "other.h264", "libx264", scenes(25, 48, 64), options=RAW)
    content = (films / "film.h264").read_bytes() + (tmp_path / "other.h264").read_bytes()
    (tmp_path / "both.h264").write_bytes(content)
    shapes = [frame.image.shape for frame in frames_of(file_of(tmp_path / "both.h264"), threading.Event())]
    assert shapes[0] == (96, 128, 3) and shapes[-1] == (48, 64, 3)


def test_huge_frames_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "MOST_PIXELS", 48 * 64)
    write_film(tmp_path / "a.mp4", "libx264", scenes(5, 50, 64))
    with pytest.raises(StreamError, match="frames of 64x50 pixels; expected at most 3072 pixels"):
        some(file_of(tmp_path / "a.mp4"), 1)


@pytest.mark.parametrize("speaks", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX-A: b\r\n" * 5])
def test_a_server_that_says_nothing_more_is_given_up(speaks, monkeypatch):
    """Connected, and then silence; the same for headers that do not end."""
    monkeypatch.setattr(stream, "OPENING", 1.0)
    monkeypatch.setattr(stream, "READING", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, held = server.getsockname()[1], []

        def accept():
            connection, _ = server.accept()
            held.append(connection)
            connection.sendall(speaks)

        threading.Thread(target=accept, daemon=True).start()
        begun = time.monotonic()
        with pytest.raises(StreamError, match="cannot be opened"):
            some(Http(kind="http", url=f"http://127.0.0.1:{port}/"), 1)
        assert time.monotonic() - begun < 15
        for connection in held:
            connection.close()


def test_headers_without_end_are_given_up(monkeypatch):
    monkeypatch.setattr(stream, "OPENING", 1.0)
    monkeypatch.setattr(stream, "READING", 1.0)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                try:
                    for _ in range(20_000):
                        if over.is_set():
                            return
                        connection.sendall(b"X-Long: " + b"a" * 1000 + b"\r\n")
                        time.sleep(0.001)
                except OSError:
                    pass

        threading.Thread(target=speak, daemon=True).start()
        begun = time.monotonic()
        with pytest.raises(StreamError):
            some(Http(kind="http", url=f"http://127.0.0.1:{server.getsockname()[1]}/"), 1)
        assert time.monotonic() - begun < 30
        over.set()


def test_nobody_there_is_one_line_without_credentials():
    for kind, scheme in ((Rtsp, "rtsp"), (Http, "http")):
        source = kind(kind=scheme, url=f"{scheme}://user:secret@127.0.0.1:{free_port()}/live?token=abc")
        with pytest.raises(StreamError, match="cannot be opened") as told:
            some(source, 1)
        assert "secret" not in str(told.value) and "abc" not in str(told.value)


def lateness_of(monkeypatch, late, seconds=60):
    """Return whether key frames alone are decoded, frame by frame, of a stream that is late(number, skips) seconds."""
    now, film = [0.0], SimpleNamespace(codec_context=SimpleNamespace(skip_frame="DEFAULT"))
    monkeypatch.setattr(stream.time, "monotonic", lambda: now[0])
    lateness, skips = stream.Lateness(), []
    for number in range(round(25 * seconds)):
        now[0] = 1000 + number * 0.04 * 1.0005 + late(number, bool(skips) and skips[-1])
        lateness.passes(number * 0.04, film)
        skips.append(film.codec_context.skip_frame == "NONKEY")
    return np.array(skips)


def test_a_stream_that_is_late_is_caught_up_with(monkeypatch):
    """What waits is gone through by key frames alone."""
    waiting = [0.0]

    def late(number, skips):
        if number == 250:
            waiting[0] = 8.0
        waiting[0] = max(0.0, waiting[0] - 0.1 * skips)
        return waiting[0]

    skips = lateness_of(monkeypatch, late)
    assert not skips[:250].any() and waiting[0] < 0.6
    assert 50 <= skips.sum() <= 110 and not skips[-500:].any()


def test_a_stream_that_paused_is_not_late_for_ever(monkeypatch):
    """Behind a pause of the camera nothing waits: its frames are all decoded again."""
    skips = lateness_of(monkeypatch, lambda number, skips: 4.0 * (number >= 250), 120)
    assert skips.sum() * 0.04 <= 1.5 * stream.GIVEN and not skips[-1000:].any()


def test_a_stream_that_comes_in_bursts_or_by_a_slow_clock_is_not_late(monkeypatch):
    assert not lateness_of(monkeypatch, lambda number, skips: 6.0 - number * 0.04 % 6.0).any()
    assert not lateness_of(monkeypatch, lambda number, skips: 0.0, 600).any()


def test_a_playlist_is_played_at_its_own_times(monkeypatch):
    """Frames come in bursts of four seconds, and are passed on at an even pace from the second burst on."""
    clock, over = [0.0], threading.Event()
    monkeypatch.setattr(stream.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(over, "wait", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    pace, shown = stream.Playout(over), []
    for number in range(1000):
        clock[0] = max(clock[0], 4.1 * (number // 100))  # a segment of 4 seconds is there; each a little later
        pace.passes(number * 0.04, None)
        shown.append(clock[0])
    steps = np.diff(shown)
    assert steps.max() < 0.7 and np.median(steps) == pytest.approx(0.04, abs=1e-6)


def test_times_that_step_back_begin_anew():
    film = SimpleNamespace(time_base=Fraction(1, 1000))
    stated = [*range(0, 4000, 40), *range(1000, 3000, 40)]  # the camera's clock goes 3 seconds back
    made = [seconds for seconds, _ in stream._timed((SimpleNamespace(pts=pts) for pts in stated), film)]
    assert np.diff(made) == pytest.approx(0.04, abs=1e-6)
