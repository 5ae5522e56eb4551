"""Frames of a clip's source, a video file or a folder of images, decoded in order; of a video also their times."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import chain
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vadistill.io.media.frame_size import check_size
from vadistill.io.media.pictures import Pictures
from vadistill.io.media.video_check import Evidence
from vadistill.io.media.video_file import ffmpeg_words, film_of, opened

log = logging.getLogger(__name__)
BACK = 0.5  # seconds; a frame that is earlier by less is out of order, by more there is a new clock
MOST_FAILURES = 1000  # of reading, one after the other; then the rest of the file is given up

Listener = Callable[[], AbstractContextManager[Sequence[str]]]  # collects what FFmpeg says


class Moments(Protocol):
    """Takes the times of frames as they come: a list, deque or array."""

    def append(self, seconds: float, /) -> None:
        """Take one more."""


def frames_of(source: str | Path, threads: int = 1, moments: Moments | None = None) -> Iterator[np.ndarray]:
    """Yield every frame of a video file or folder of images as (H, W, 3) uint8 BGR.

    Interlaced frames are deinterlaced, and pictures turned and mirrored as the file says (``io.media.pictures``).

    Args:
        source: The video or folder.
        threads: In which FFmpeg decodes a video. More than one change nothing but what damaged frames look like.
        moments: Gets the presentation time of each frame in seconds after the first one's, before the frame is yielded;
            nothing of a folder.

    Raises:
        InputError: There are no frames, one cannot be decoded, their sizes differ, or a video is not whole
            (``vadistill.io.media.video_check``).
    """
    source = Path(source)
    if source.is_dir():
        from vadistill.io.media.image_folder import images_of  # OpenCV's, which videos do not need

        return (image.frame for image in images_of(source))
    frames = wanted_frames_of(source, lambda _: True, threads, moments)
    return (frame for frame in frames if frame is not None)


def wanted_frames_of(
    video: Path, wanted: Callable[[int], bool], threads: int = 1, moments: Moments | None = None
) -> Iterator[np.ndarray | None]:
    """Yield the frames of a video as ``frames_of`` does, and None for those that nobody looks at.

    All are decoded, since others are made from them; a quarter of a frame's time goes into its colours, and that is
    saved.

    Args:
        video: The file.
        wanted: Whether frame t is looked at; asked for each when the one before it has been taken.
        threads: As ``frames_of``.
        moments: As ``frames_of``; of every frame.

    Raises:
        InputError: As ``frames_of``.
    """
    return _video_frames(video, threads, deque(maxlen=0) if moments is None else moments, wanted)


def frame_rate(source: str | Path) -> float | None:
    """Return the frames a second of a video, their mean where it varies; None for images or where nothing is known.

    Raises:
        InputError: As ``frames_of`` for a file that cannot be opened.
    """
    if Path(source).is_dir():
        return None
    with closing(opened(Path(source))) as container:
        film = film_of(container, Path(source))
        # The mean is off where few frames are known (DV), the guess where the rate varies: each is then too high.
        rates = [rate for rate in (film.average_rate, film.guessed_rate) if rate]
    return float(min(rates)) if rates else None


def stated_length(path: Path) -> int | None:
    """Return how many frames a video says it has, by its number or its length and rate; None where it does not.

    Raises:
        InputError: As ``frames_of`` for a file that cannot be opened.
    """
    with closing(opened(path)) as container:
        film = film_of(container, path)
        if film.frames:
            return film.frames
        seconds = container.duration / av.time_base if container.duration else None
        return round(seconds * film.average_rate) if seconds and film.average_rate else None


def _video_frames(
    path: Path, threads: int, moments: Moments, wanted: Callable[[int], bool]
) -> Iterator[np.ndarray | None]:
    with closing(opened(path)) as container:
        film = film_of(container, path)
        if len(container.streams.video) > 1:
            log.warning("%s: stream %d is taken of several with pictures: %s", path, film.index, _listed(container))
        evidence, clock, pictures = Evidence(path, container, film), _Clock(container, film), Pictures(path, film)
        times: deque[float] = deque()
        size, count = None, 0
        for frame in _decoded(container, film, evidence, threads):
            if frame is not None:
                times.append(clock.time(frame))
                evidence.shown(times[-1])
            for picture in pictures.rest() if frame is None else pictures.of(frame, wanted(count)):
                if picture is not None:
                    size = size or picture.shape
                    check_size(picture, size, f"{path}: frame {count}")
                count += 1
                moments.append(times.popleft())
                yield picture
        evidence.check(count)


def _listed(container: InputContainer) -> str:
    known = (stream for stream in container.streams.video if stream.codec_context)
    return ", ".join(f"{stream.index} ({stream.width}x{stream.height})" for stream in known)


def _decoded(
    container: InputContainer, film: VideoStream, evidence: Evidence, threads: int
) -> Iterator[VideoFrame | None]:
    """Yield the frames of a film that can be used, as they are decoded, and None after the last one."""
    decoder = film.codec_context
    decoder.thread_count, decoder.thread_type = threads, "AUTO"
    listen: Listener = ffmpeg_words if threads == 1 else lambda: nullcontext(())
    for packet in chain(_packets(container, film, evidence, listen), (None,)):  # None: what the decoder still holds
        frames, failure = [], None
        with listen() as words:
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError as error:
                failure = error
        if failure:
            evidence.undecodable(packet, failure, words)
        yield from evidence.frames(packet, frames, () if failure else words)
    yield None


def _packets(container: InputContainer, film: VideoStream, evidence: Evidence, listen: Listener) -> Iterator[Packet]:
    """Yield the film's packets; reading goes on behind places that cannot be read."""
    packets, failures = container.demux(), 0
    while failures < MOST_FAILURES:
        packet, failure = None, None
        with listen() as words:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                failure = error
        if failure:
            evidence.unreadable(failure, words)
            packets, failures = container.demux(), failures + 1
            continue
        evidence.said(words)
        if packet is None:
            return
        failures = 0
        if packet.size:  # others mark the end of a stream, or a frame that is left as the one before
            evidence.packet(packet)
            if packet.stream_index == film.index:
                yield packet


class _Clock:
    """Times of frames in seconds after the first one, from their presentation times.

    Where those are out of order, or the container has none (AVI), the decoding times of the packets by which the frames
    came out tell them, as FFmpeg guesses it. A frame without either follows the one before at the film's rate. Where
    the clock jumps back, as where parts of a recording were joined, time goes on at that rate, too.
    """

    def __init__(self, container: InputContainer, film: VideoStream) -> None:
        self._tick, self._step = float(film.time_base or 0), 1 / float(film.guessed_rate or 25)
        self._last: dict[str, int | None] = {"pts": None, "dts": None}
        self._faults = {"pts": int(container.format.name == "avi"), "dts": 0}
        self._zero: int | None = None  # the stated time that stands for ``_shift`` seconds
        self._shift = 0.0
        self._time: float | None = None

    def time(self, frame: VideoFrame) -> float:
        """Return the time of the next frame."""
        stated, following = self._stated(frame), 0.0 if self._time is None else self._time + self._step
        if stated is None:
            self._time = following
            return following
        time = following if self._zero is None else self._shift + (stated - self._zero) * self._tick
        if self._zero is None or self._time is None or time < self._time - BACK:
            self._zero, self._shift, time = stated, following, following
        self._time = time if self._time is None else max(time, self._time)
        return self._time

    def _stated(self, frame: VideoFrame) -> int | None:
        for name in ("pts", "dts"):
            value, last = getattr(frame, name), self._last[name]
            if value is not None:
                self._faults[name] += last is not None and value <= last
                self._last[name] = value
        if self._faults["pts"] > self._faults["dts"] or frame.pts is None:
            return frame.dts
        return frame.pts
