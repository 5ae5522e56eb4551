"""Frames of live sources, read by PyAV: cameras, streams, devices, files that are played, the standard input."""

import os
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from vadistill.errors import InputError, in_one_line
from vadistill.io.files import checked_path
from vadistill.io.media.video_file import DEMUXERS
from vadistill.watch.config import Device, File, Http, Rtsp, Source, Stdin, address_of

OPENING, READING = 10.0, 8.0  # seconds within which a source must open, and send something
MOST_PIXELS = 4096 * 2304  # of a frame: more costs seconds each on a small machine
MOST_FAILURES = 200  # packets in a row that cannot be decoded
PROBED = {"probesize": "2000000", "analyzeduration": "5000000"}  # bytes, microseconds: headers end somewhere
BEHIND = 2.0  # seconds by which a live stream may be late; then key frames alone are decoded
CAUGHT_UP = 0.5  # seconds of lateness at which all frames are decoded again
LOOKED_BACK = 10.0  # seconds in which not one frame came in time of a stream that is late: some come in bursts
GIVEN = 5.0  # seconds of key frames alone in which a stream comes nearer; else it has paused, and nothing waits
DRIFT = 1e-3  # seconds a second by which a camera's clock may go wrong, and not count as late
STARVED, FULL = 0.5, 60.0  # seconds by which the frames of a playlist are late, or early: it is played from there on
STEP = 0.04  # seconds from a frame to the next one where times are unknown
JUMP, BACK = 10.0, 0.5  # seconds; times that jump further on, or back, begin anew


class StreamError(InputError):
    """A source that cannot be opened, or read on."""


class Frame:
    """A decoded frame; its picture is made where it is asked for.

    Attributes:
        time: Unix time in seconds at which it came.
        seconds: Presentation time since the stream began, never falling.
    """

    def __init__(self, time: float, seconds: float, frame: VideoFrame) -> None:
        self.time, self.seconds = time, seconds
        self._frame = frame
        self._image: np.ndarray | None = None

    @property
    def image(self) -> np.ndarray:
        """Return its picture (H, W, 3) uint8 BGR."""
        if self._image is None:
            made = self._frame.reformat(format="bgr24", interpolation=Interpolation.BICUBIC)
            self._image = made.to_ndarray()
        return self._image


def frames_of(source: Source, over: threading.Event) -> Iterator[Frame]:
    """Yield the frames of a source as they come; of a file until its end, unless it is looped.

    A live source that is decoded more slowly than it comes is caught up with: of what is late, key frames alone are
    decoded, and given.

    Args:
        source: As in the file of cameras.
        over: Ends it, at the latest ``READING`` seconds later.

    Raises:
        StreamError: It cannot be opened, sends nothing for ``READING`` seconds, ends, or cannot be decoded; in words
            without credentials.
    """
    live = not isinstance(source, File)
    begun = 0.0
    while not over.is_set():
        last = begun
        with closing(_opened(source)) as container:
            film = _film(container, source)
            pace = _pace(container, source, over)
            for seconds, frame in _timed(_decoded(container, film, source, over), film):
                last = begun + seconds
                if pace.passes(seconds, film):
                    yield Frame(time.time(), last, frame)
        if over.is_set():
            return
        if live:
            raise StreamError(f"{address_of(source)}: the stream has ended")
        if not source.loop:  # type: ignore[union-attr]
            return
        begun = last + float(1 / (film.average_rate or 25))


class _Pace:
    """Plays a file at its own times, or as fast as it can be read."""

    def __init__(self, real_time: bool, over: threading.Event) -> None:
        self._start, self._real_time, self._over = time.monotonic(), real_time, over

    def passes(self, seconds: float, _: VideoStream) -> bool:
        """Wait until it is a frame's time; always true."""
        ahead = self._start + seconds - time.monotonic()
        if self._real_time and ahead > 0:
            self._over.wait(ahead)
        return True


class Playout:
    """Plays a playlist at its own times, whose frames come in bursts; where none is there, it is played later on."""

    def __init__(self, over: threading.Event) -> None:
        self._start: float | None = None
        self._over = over

    def passes(self, seconds: float, _: VideoStream) -> bool:
        """Wait until it is a frame's time; always true."""
        now = time.monotonic()
        ahead = (now if self._start is None else self._start) + seconds - now
        if self._start is None or not -STARVED <= ahead <= FULL:
            self._start = now - seconds
        elif ahead > 0:
            self._over.wait(ahead)
        return True


class Lateness:
    """Keeps up with a live stream: by how much longer than the quickest frame did a frame take to come?"""

    def __init__(self) -> None:
        self._least: float | None = None
        self._before = time.monotonic()
        self._recent = deque[tuple[float, float]]()  # frames that took less than all behind them: when, how long
        self._skipping: tuple[float, float] | None = None  # since when, and how late it was then

    def passes(self, seconds: float, film: VideoStream) -> bool:
        """Return whether a frame is to be shown; decode key frames alone while the stream is late."""
        now = time.monotonic()
        taken = now - seconds
        if self._least is None or abs(taken - self._least) > 3600:
            self._least = taken
        self._least = min(taken, self._least + DRIFT * (now - self._before))
        self._before = now
        while self._recent and self._recent[-1][1] >= taken:
            self._recent.pop()
        self._recent.append((now, taken))
        while now - self._recent[0][0] > LOOKED_BACK:
            self._recent.popleft()
        late = (taken if self._skipping else self._recent[0][1]) - self._least
        if self._skipping and late <= CAUGHT_UP:
            self._skip(film, None)
        elif self._skipping and now - self._skipping[0] > GIVEN:
            if late > self._skipping[1] - CAUGHT_UP:  # it comes no nearer: the camera has paused
                self._least = taken
                self._skip(film, None)
            else:
                self._skipping = now, late
        elif not self._skipping and late > BEHIND:
            self._skip(film, (now, late))
        return True

    def _skip(self, film: VideoStream, since: tuple[float, float] | None) -> None:
        self._skipping = since
        self._recent.clear()
        film.codec_context.skip_frame = "NONKEY" if since else "DEFAULT"


def _pace(container: InputContainer, source: Source, over: threading.Event) -> _Pace | Playout | Lateness:
    """Return what says when a frame is shown."""
    if isinstance(source, File):
        return _Pace(source.real_time, over)
    return Playout(over) if container.format.name == "hls" else Lateness()


def _opened(source: Source) -> InputContainer:
    name, options, kind = _place(source)
    try:
        return av.open(
            name, format=kind, options={**PROBED, **options}, timeout=(OPENING, READING), metadata_errors="replace"
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        more = "; or its certificate is none that `verify` trusts" if getattr(source, "verify", False) else ""
        raise StreamError(f"{address_of(source)}: cannot be opened ({_reason(error)}{more})") from None


def _place(source: Source) -> tuple[str, dict[str, str], str | None]:
    """Return FFmpeg's name of a source, options that leave it no other one, and the name of its format."""
    micro = str(int(READING * 1e6))
    if isinstance(source, Rtsp):
        return source.url.get_secret_value(), {
            **_trust(source), "rtsp_transport": source.transport, "timeout": micro,
            "protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls,crypto",
        }, "rtsp"  # fmt: skip
    if isinstance(source, Http):
        return source.url.get_secret_value(), {
            **_trust(source), "rw_timeout": micro,
            "protocol_whitelist": "http,https,tcp,tls,crypto,hls", "user_agent": "vadistill",
            "format_whitelist": ",".join((*DEMUXERS, "hls", "aac", "webvtt")), "max_reload": "10",
        }, None  # fmt: skip
    if isinstance(source, File):
        path = checked_path(source.path)
        if not path.is_file():
            raise StreamError(f"{path}: missing; expected a video file")
        return f"file:{os.path.abspath(path)}", {
            "format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "file",
        }, None  # fmt: skip
    if isinstance(source, Device):
        if not source.path.is_char_device():
            raise StreamError(f"{source.path}: no device; expected one such as /dev/video0")
        return str(source.path), {}, "v4l2"
    assert isinstance(source, Stdin)
    return "pipe:0", {"protocol_whitelist": "pipe"}, source.format


def _trust(source: Rtsp | Http) -> dict[str, str]:
    """Return FFmpeg's options of whose certificate is taken."""
    if source.verify is False:
        return {"tls_verify": "0"}
    file = ssl.get_default_verify_paths().cafile if source.verify is True else str(source.verify)
    if file is None or not os.path.isfile(file):
        raise StreamError(f"{file or 'certificates of the system'}: missing; expected a PEM file that `verify` names")
    return {"tls_verify": "1", "ca_file": file}


def _film(container: InputContainer, source: Source) -> VideoStream:
    films = [stream for stream in container.streams.video if stream.codec_context is not None]
    if not films:
        raise StreamError(f"{address_of(source)}: no film in it that FFmpeg decodes")
    film = max(films, key=lambda stream: stream.width * stream.height)
    _check_size(film.width, film.height, source)
    film.codec_context.thread_count = 1  # many cameras share the processors
    film.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return film


def _check_size(width: int, height: int, source: Source) -> None:
    if width * height > MOST_PIXELS:
        raise StreamError(
            f"{address_of(source)}: frames of {width}x{height} pixels; expected at most {MOST_PIXELS} pixels: choose "
            "another stream of the camera"
        )


def _decoded(
    container: InputContainer, film: VideoStream, source: Source, over: threading.Event
) -> Iterator[VideoFrame]:
    # Of all streams: PyAV would look for the next packet of one for ever, where sound goes on without a picture.
    packets, failures, seen = container.demux(), 0, time.monotonic()
    while not over.is_set():
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            if isinstance(error, av.EOFError):
                return
            raise StreamError(f"{address_of(source)}: breaks off ({_reason(error)})") from None
        if packet is None:
            return
        if packet.stream != film:
            if time.monotonic() - seen > READING:
                raise StreamError(f"{address_of(source)}: no picture for {READING:g} seconds, only other streams")
            continue
        try:
            frames = film.codec_context.decode(packet)
        except av.FFmpegError as error:
            failures += 1
            if failures > MOST_FAILURES:
                raise StreamError(f"{address_of(source)}: cannot be decoded ({_reason(error)})") from None
            continue
        for frame in frames:
            failures = 0
            _check_size(frame.width, frame.height, source)
            yield frame
            seen = time.monotonic()  # behind it: whoever plays the frames may have waited


def _timed(frames: Iterator[VideoFrame], film: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
    """Yield (presentation seconds since the first frame, frame); seconds never fall."""
    tick = float(film.time_base or 0)
    zero: float | None = None
    last = -STEP
    for frame in frames:
        stated = None if frame.pts is None else frame.pts * tick
        if stated is None:
            seconds = last + STEP
        else:
            if zero is None or not -BACK < stated - zero - last < JUMP:  # the first one, or a new clock
                zero = stated - last - STEP
            seconds = max(stated - zero, last + 1e-3)
        last = seconds
        yield max(0.0, seconds), frame


def _reason(error: Exception) -> str:
    """Return why FFmpeg failed, without the address, in which there may be credentials."""
    if isinstance(error, av.ExitError):
        return "nothing came in time"
    if isinstance(error, av.FFmpegError):
        return in_one_line(Exception(error.strerror))
    return type(error).__name__
