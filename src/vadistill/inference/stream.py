"""From a video to frame scores, in three threads: decoding, resizing and assembling, inference.

Every frame is decoded and resized once, and the flow between two frames is measured once, however many windows they are
part of; a few frames and two batches are held in memory, however long the video is. Windows are those of
``vadistill.windows.loader.FrameWindows``.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from vadistill.errors import InputError
from vadistill.extras import extra
from vadistill.inference.backend import Backend, BatchScores
from vadistill.io.files import checked_path
from vadistill.io.formats import ending
from vadistill.io.media.depth import Range
from vadistill.io.media.video import Moments, frame_rate, stated_length, wanted_frames_of
from vadistill.io.read_ahead import ReadAhead
from vadistill.io.resize import resize
from vadistill.io.window import window_indices
from vadistill.windows.shape import NO_FLOW, window_shape

if TYPE_CHECKING:  # what only some sources and students need
    from vadistill.io.frames import FrameStore
    from vadistill.windows.flow_planes import FlowPlanes

STORED = ".h5"  # ending of a clip stored by vadistill.io.frames
FRAMES_AHEAD = 8  # decoded ones that wait to be resized
T = TypeVar("T")


class Look(Protocol):
    """Somebody who looks at the frames of a video as they are decoded."""

    def wants(self, t: int) -> bool:
        """Return whether it needs the picture of frame t; asked when it has taken the one before."""
        ...

    def __call__(self, frame: np.ndarray | None) -> None:
        """Take the next frame (H, W, 3) uint8 BGR; None for one that neither it nor anybody else needs."""
        ...


@dataclass
class StreamTimes:
    """Where the seconds of a chain went; the parts overlap, so that their sum may exceed the total.

    Attributes:
        frames: How many came.
        decoding: In the first thread.
        resizing: In the second thread.
        assembling: Windows from resized frames, with their flow, also in the second thread.
        inference: In the caller's thread.
        waiting: Of the caller's thread for windows.
        total: From the first frame asked for to the last score given, with what the caller did in between.
        size: Width and height of the first frame in pixels; known when the first scores are.
    """

    frames: int = 0
    decoding: float = 0.0
    resizing: float = 0.0
    assembling: float = 0.0
    inference: float = 0.0
    waiting: float = 0.0
    total: float = 0.0
    size: tuple[int, int] | None = None

    @contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Add what the block takes to a part; each part belongs to one thread."""
        started = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - started)

    @property
    def limit(self) -> str:
        """What the busiest thread does: ``decoding``, ``resizing`` (with assembling) or ``inference``."""
        busy = {"decoding": self.decoding, "resizing": self.resizing + self.assembling, "inference": self.inference}
        return max(busy, key=busy.__getitem__)

    def __str__(self) -> str:
        return f"{self.frames} frames, {self.frames / self.total:.1f} frames/s, limited by {self.limit}"


def score_video(
    source: str | Path,
    backend: Backend,
    batch: int = 16,
    times: StreamTimes | None = None,
    decoders: int = 1,
    moments: Moments | None = None,
    offsets: Sequence[int] | None = None,
    every: int = 1,
    look: Look | None = None,
) -> Generator[BatchScores, None, None]:
    """Yield the scores of successive frames, ``batch`` of them at a time and at last what is left.

    An error in any thread, an interrupt or a caller that stops early ends all threads before it is passed on.

    Args:
        source: A video, a folder of images, or a clip stored by ``vadistill.io.frames`` (.h5).
        backend: The student.
        batch: Frames scored at once.
        times: Where to note how long each part takes.
        decoders: Threads in which FFmpeg decodes a video.
        moments: Gets the time of each frame in seconds after the first one, before its score is yielded; nothing where
            times are unknown.
        offsets: Of a window's frames from the judged one, in place of the backend's own.
        every: Every so many frames one is scored, the first one first; those behind it have its score and maps.
        look: Gets every frame as it is decoded, in the first thread.

    Raises:
        InputError: The source cannot be read to its end (see ``vadistill.io.media.video.frames_of``), or a number is
            below 1.
    """
    if every < 1 or batch < 1:
        raise InputError(f"every {every}, batch {batch}: expected at least 1 of both")
    times = times or StreamTimes()
    depth = backend.conditions.depth if backend.conditions else None
    offsets = offsets or backend.offsets
    used = _used(offsets, every)
    wanted = used if look is None else lambda t: used(t) or look.wants(t)
    decoded = read_wanted(Path(source), decoders, moments, depth, wanted)
    if look:
        decoded = _looked_at(decoded, look)
    frames = ReadAhead(_timed(decoded, times, "decoding"), FRAMES_AHEAD)
    windows = ReadAhead(assemble(frames, backend.size, offsets, batch, times, backend.flow, every), 1)
    # The frames are closed first, so that the thread that waits for them ends at once and not after a whole batch.
    with times.measured("total"), closing(decoded), closing(windows), closing(frames):
        scored = _inferred(windows, backend, times)
        yield from scored if every == 1 else _held(scored, every, times)


def _used(offsets: Sequence[int], every: int) -> Callable[[int], bool]:
    """Return what says whether frame t is part of a window, where every so many frames one is scored."""
    used = {offset % every for offset in (0, *offsets)}
    return lambda t: t % every in used


def _looked_at(
    frames: Generator[np.ndarray | None, None, None], look: Look
) -> Generator[np.ndarray | None, None, None]:
    with closing(frames):
        for frame in frames:
            look(frame)
            yield frame


def _inferred(windows: Iterator[np.ndarray], backend: Backend, times: StreamTimes) -> Iterator[BatchScores]:
    for given in _timed(windows, times, "waiting"):
        with times.measured("inference"):
            scores = backend(given)
        yield scores


def _held(parts: Iterator[BatchScores], every: int, times: StreamTimes) -> Iterator[BatchScores]:
    """Give the scores of every so many frames to those behind them; how many are behind the last one, times knows."""
    last, given = None, 0
    for part in parts:
        known = part if last is None else _joined(last, part)
        ready = BatchScores(known.score[:-1], {g: grid[:-1] for g, grid in known.maps.items()})
        last = BatchScores(known.score[-1:], {g: grid[-1:] for g, grid in known.maps.items()})
        given += every * len(ready.score)
        if len(ready.score):
            yield _repeated(ready, every)
    if last is not None:
        yield _repeated(last, times.frames - given)


def _joined(one: BatchScores, other: BatchScores) -> BatchScores:
    maps = {g: np.concatenate([one.maps[g], grid]) for g, grid in other.maps.items()}
    return BatchScores(np.concatenate([one.score, other.score]), maps)


def _repeated(part: BatchScores, count: int) -> BatchScores:
    return BatchScores(part.score.repeat(count), {g: grid.repeat(count, 0) for g, grid in part.maps.items()})


def read_source(source: Path) -> Generator[np.ndarray, None, None]:
    """Yield the frames (H, W, 3) uint8 BGR of a video, a folder of images or a stored clip; see ``score_video``."""
    with closing(read_wanted(source)) as frames:
        for frame in frames:
            if frame is not None:
                yield frame


def read_wanted(
    source: Path,
    decoders: int = 1,
    moments: Moments | None = None,
    depth: Range | None = None,
    wanted: Callable[[int], bool] = lambda _: True,
) -> Generator[np.ndarray | None, None, None]:
    """Yield frames as ``read_source``, or None for those of a video that are not ``wanted``.

    Of a stored clip without times, frame t is at t divided by the frames a second, where they are known. ``depth`` are
    the values of images of more than 8 bits that become 0 and 255, as in training; None for the full range of 16 bits.
    """
    if checked_path(source).is_dir():
        from vadistill.io.media.image_folder import images_of

        yield from (image.frame for image in images_of(source, depth))
        return
    if ending(source) != STORED:
        yield from wanted_frames_of(source, wanted, decoders, moments)
        return
    with closing(_stored(source)) as store:
        times = store.times
        if times is None and store.fps:
            times = np.arange(len(store)) / store.fps
        for t, frame in enumerate(store):
            if moments is not None and times is not None:
                moments.append(float(times[t]))
            yield frame


def _stored(source: str | Path) -> "FrameStore":
    with extra("train"):
        from vadistill.io.frames import FrameStore

    return FrameStore(source)


def source_rate(source: str | Path) -> float | None:
    """Return the frames a second that a source of ``score_video`` declares, if it does."""
    return _stored(source).fps if ending(source) == STORED else frame_rate(source)


def source_length(source: str | Path) -> int | None:
    """Return about how many frames a source of ``score_video`` has, where it says so."""
    source = Path(source)
    if source.is_dir():
        return None
    return len(_stored(source)) if ending(source) == STORED else stated_length(source)


def assemble(
    frames: Iterable[np.ndarray | None],
    size: tuple[int, int],
    offsets: Sequence[int],
    batch: int,
    times: StreamTimes,
    flow: str = NO_FLOW,
    every: int = 1,
) -> Generator[np.ndarray, None, None]:
    """Yield the windows of all frames, or of every so many, (batch, C, H, W) uint8 and at last what is left.

    They lie in two arrays by turns: one that was yielded holds until the next but one is asked for. None may stand for
    a frame that is part of no window.
    """
    behind, ahead = max(0, -min(offsets)), max(0, *offsets)
    ring = np.empty((behind + 1 + ahead, 3 if flow == NO_FLOW else 4, *size), np.uint8)
    windows = np.empty((2, batch, *window_shape(size, offsets, flow)), np.uint8)
    turn = filled = 0
    planes = _planes(flow)
    for t, known in _centres(frames, ring, ahead, times, planes, _used(offsets, every)):
        if t % every:
            continue
        with times.measured("assembling"):
            indices = window_indices(t, known, offsets)
            window = [ring[index % len(ring)] for index in indices]
            for place, frame in enumerate(window):
                windows[turn, filled, 3 * place : 3 * place + 3] = frame[:3]
            if planes:
                windows[turn, filled, 3 * len(window) :] = planes([frame[3] for frame in window], indices)
        filled += 1
        if filled == batch:
            yield windows[turn]
            turn, filled = 1 - turn, 0
    if filled:
        yield windows[turn, :filled]


def _planes(flow: str) -> "FlowPlanes | None":
    if flow == NO_FLOW:
        return None
    from vadistill.windows.flow_planes import FlowPlanes

    return FlowPlanes(flow)


def _centres(
    frames: Iterable[np.ndarray | None],
    ring: np.ndarray,
    ahead: int,
    times: StreamTimes,
    planes: "FlowPlanes | None",
    used: Callable[[int], bool],
) -> Iterator[tuple[int, int]]:
    """Put frames into the ring, resized; yield each t whose window is there, and how many frames came.

    The ring is (R, 3, H, W), or (R, 4, H, W) where there are planes, which want the frame in gray, too.

    A window is there when its last frame is. After the last frame of all, their number is the clip's length, so that
    ``window_indices`` tells in both cases what to take. Frames that are not used are not resized.
    """
    known = 0
    for frame in frames:
        if frame is not None and used(known):
            times.size = times.size or (frame.shape[1], frame.shape[0])
            with times.measured("resizing"):
                resized, place = resize(frame, ring.shape[2:]), ring[known % len(ring)]
                place[:3] = resized.transpose(2, 0, 1)
                if planes:
                    place[3] = planes.gray(resized)
        known += 1
        times.frames = known
        if known > ahead:
            yield known - 1 - ahead, known
    for t in range(max(0, known - ahead), known):
        yield t, known


def _timed(items: Iterator[T], times: StreamTimes, part: str) -> Generator[T, None, None]:
    while True:
        with times.measured(part):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
