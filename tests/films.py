"""Small films in many codecs and containers, made with PyAV, and what other readers than the package's say of them."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter

RATE = 25
INTERLACED = 0x40000 | 0x20000000  # FFmpeg's flags ildct and ilme
SETTINGS = {
    "libx264": {"preset": "veryfast", "g": "12", "bf": "2", "crf": "12"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=12:bframes=2:pools=none"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx-vp9": {"cpu-used": "8", "deadline": "realtime", "g": "12"},
    "mpeg2video": {"g": "12", "bf": "2", "qmin": "2", "qmax": "4"},
    "mpeg4": {"g": "12", "bf": "2", "qmin": "2", "qmax": "4"},
}


def scenes(count: int = 30, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames (H, W, 3) that differ: waves that move to the left, with one corner marked."""
    y, x = np.mgrid[:height, :width]
    made = []
    for t in range(count):
        frame = 128 + 90 * np.stack(
            [np.sin((x + 2 * t) / 5), np.sin((x + 2 * t) / 5 + y / 9), np.cos(x / 9 + t / 7)], 2
        )
        frame[:10, :16] = (0, 0, 250)
        made.append(cv2.blur(frame.astype(np.uint8), (3, 3)))
    return made


@contextmanager
def usual_priority() -> Iterator[None]:
    """Give this thread back its priority: run by root, SVT-AV1 makes whoever calls it a real-time thread.

    All that the process does later would then go before the rest of the machine: its threads wait for others that never
    get their turn.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def write_film(
    path: Path,
    codec: str,
    frames: Sequence[np.ndarray] | None = None,
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    seconds_of_sound: float = 0.0,
    prepare: Callable[[av.VideoStream], None] = lambda stream: None,
    container: dict[str, str] | None = None,
    kind: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a film.

    Args:
        path: Its ending chooses the container.
        codec: FFmpeg's name of the encoder.
        frames: (H, W, 3) BGR frames; ``scenes`` without.
        pixels: FFmpeg's name of the pixel format.
        times: Of the frames in milliseconds; a constant rate without.
        seconds_of_sound: Length of a sound track beside it.
        prepare: Sets up the stream.
        container: Options of the container.
        kind: FFmpeg's name of the container, where the ending does not say it.
        options: Of the encoder, in place of ``SETTINGS``.
    """
    frames = scenes() if frames is None else frames
    with usual_priority(), av.open(str(path), "w", kind, options=container or {}) as film:
        stream = film.add_stream(codec, rate=RATE)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.options = SETTINGS.get(codec, {}) if options is None else options
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        prepare(stream)
        name = "aac" if path.suffix in (".mp4", ".mkv") else "mp2"
        sound = film.add_stream(name, rate=48000, layout="mono") if seconds_of_sound else None
        for t, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="bgr24").reformat(format=pixels)
            picture.pts = t if times is None else times[t]
            picture.time_base = Fraction(1, RATE) if times is None else Fraction(1, 1000)
            film.mux(stream.encode(picture))
        film.mux(stream.encode())
        if sound:
            _write_sound(film, sound, seconds_of_sound)
    return path


def _write_sound(film: av.container.OutputContainer, sound: av.AudioStream, seconds: float) -> None:
    silence = np.zeros((1, 1024), np.float32 if sound.codec_context.name == "aac" else np.int16)
    for start in range(0, round(48000 * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(silence, "fltp" if silence.dtype == np.float32 else "s16", "mono")
        frame.sample_rate, frame.pts = 48000, start
        film.mux(sound.encode(frame))
    film.mux(sound.encode())


def interlaced(stream: av.VideoStream) -> None:
    """Let an encoder code interlaced frames."""
    stream.codec_context.flags |= INTERLACED


def woven(count: int = 30) -> list[np.ndarray]:
    """Interlaced frames: the even rows of one scene and the odd rows of the next one."""
    fields = scenes(2 * count)
    made = [frame.copy() for frame in fields[::2]]
    for frame, later in zip(made, fields[1::2], strict=True):
        frame[1::2] = later[1::2]
    return made


def remux(source: Path, target: Path, kept: Callable[[int], bool], kind: str | None = None) -> Path:
    """Copy the packets of a film for whose number ``kept`` is true, as they are."""
    with av.open(str(source)) as film, av.open(str(target), "w", kind) as copy:
        stream = copy.add_stream_from_template(film.streams.video[0])
        packets = (packet for packet in film.demux(video=0) if packet.size)
        for number, packet in enumerate(packets):
            if kept(number):
                packet.stream = stream
                copy.mux(packet)
    return target


def by_opencv(path: Path) -> list[np.ndarray]:
    """Decode with the FFmpeg that OpenCV has built in."""
    capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while (given := capture.read())[0]:
        frames.append(given[1])
    return frames


def by_pyav(path: Path) -> list[np.ndarray]:
    """Decode without a filter: colours by the scaler alone, nothing turned or deinterlaced."""
    scaler = VideoReformatter()
    with av.open(str(path)) as film:
        return [_scaled(scaler, frame) for frame in film.decode(video=0)]


def _scaled(scaler: VideoReformatter, frame: av.VideoFrame) -> np.ndarray:
    return scaler.reformat(frame, format="bgr24", interpolation=Interpolation.BICUBIC, threads=1).to_ndarray()


def by_filters(path: Path, *filters: tuple[str, str]) -> list[np.ndarray]:
    """Decode through a chain of FFmpeg's filters from the first frame on."""
    with av.open(str(path)) as film:
        frames = list(film.decode(video=0))
    graph, first = Graph(), frames[0]
    buffer = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=Fraction(1, 1000))
    chain = [graph.add(*step) for step in (*filters, ("scale", "flags=bicubic"), ("format", "bgr24"))]
    graph.link_nodes(buffer, *chain, graph.add("buffersink")).configure()
    return list(_drained(graph, [*frames, None]))


def _drained(graph: Graph, frames: Iterable[av.VideoFrame | None]) -> Iterable[np.ndarray]:
    for frame in frames:
        graph.vpush(frame)
        while True:
            try:
                yield graph.vpull().to_ndarray()
            except (av.BlockingIOError, av.EOFError):
                break
