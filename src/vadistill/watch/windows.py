"""Which frames of a live stream are analysed, and the windows that a detector sees of them.

A window's frames lie as far apart in time as when the detector's thresholds were found, whatever the camera's rate.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vadistill.io.resize import resize
from vadistill.windows.shape import NO_FLOW, window_shape

MOMENT = 1e-6  # seconds
LATE = 2.0  # intervals between frames, and half a window's step, by which a frame may be late
TOO_SLOW = 1.9  # steps between frames from which on hardly any window has frames of its own
AVERAGED = 0.1  # share of the newest interval in the average one


class Window(NamedTuple):
    """What a detector sees of one moment.

    Attributes:
        came: Unix time in seconds at which the middle frame came.
        seconds: Presentation time of the middle frame.
        planes: (C, H, W) uint8.
        frame: (H, W, 3) uint8 BGR, the middle frame as it came.
    """

    came: float
    seconds: float
    planes: np.ndarray
    frame: np.ndarray


class _Place(NamedTuple):
    """A frame that some window waits for: from ``seconds`` on, for the window ``number``, at a place in it."""

    seconds: float
    number: int
    place: int


class WindowMaker:
    """Picks frames by their presentation times and makes windows of them.

    Args:
        size: Height and width of the detector's input in pixels.
        offsets: Of a window's frames from the middle one, in frames, such as (-3, 0, 3).
        step: Seconds between neighbours of a window.
        rate: Windows a second.
        flow: Preset of the flow beside the frames, or ``none``.

    Attributes:
        missed: Windows that were due and got no frames in time, or one frame at two places: it would see no motion.
        interval: Average seconds between frames of the stream; 0 before two have come.
    """

    def __init__(
        self, size: tuple[int, int], offsets: Sequence[int], step: float, rate: float, flow: str = NO_FLOW
    ) -> None:
        self.missed, self.interval = 0, 0.0
        self._size, self._shape = size, window_shape(size, tuple(offsets), flow)
        unit = min((abs(offset) for offset in offsets if offset), default=1)
        self._offsets = [offset / unit * step for offset in offsets]
        self._middle = list(offsets).index(0)
        self._period, self._step, self._half = 1 / rate, step, step / 2
        self._planes = _flow_planes(flow)
        self._last: float | None = None
        self._begin(0.0)
        self._due: list[_Place] = []

    def wants(self, seconds: float) -> bool:
        """Return whether a window needs the frame of this presentation time; to be asked for every frame."""
        if self._last is None or not 0 < seconds - self._last <= max(2.0, 10 * self.interval, 4 * self._period):
            self._begin(seconds)
        elif self.interval:
            self.interval += AVERAGED * (seconds - self._last - self.interval)
        else:
            self.interval = seconds - self._last
        self._last = seconds
        self._plan(seconds)
        return bool(self._due) and self._due[0].seconds <= seconds + MOMENT

    def take(self, came: float, seconds: float, frame: np.ndarray) -> list[Window]:
        """Take a frame (H, W, 3) uint8 BGR that was wanted; return the windows that are whole now."""
        resized = resize(frame, self._size)
        gray = self._planes.gray(resized) if self._planes else None
        made = []
        while self._due and self._due[0].seconds <= seconds + MOMENT:
            due = heapq.heappop(self._due)
            if seconds - due.seconds > LATE * self.interval + self._half:
                self.missed += self._waiting.pop(due.number, None) is not None
                continue
            parts = self._waiting.get(due.number)
            if parts is None:  # one of its frames was missed
                continue
            if any(image is resized for image, _ in parts.values()):
                self.missed += 1
                del self._waiting[due.number]
                continue
            parts[due.place] = resized, gray
            if due.place == self._middle:
                self._middles[due.number] = came, seconds, frame
            if len(parts) == len(self._offsets):
                del self._waiting[due.number]
                came_then, shown, middle = self._middles.pop(due.number)
                made.append(Window(came_then, shown, self._joined(parts), middle))
        for number in self._middles.keys() - self._waiting.keys():
            del self._middles[number]
        return made

    @property
    def too_slow(self) -> bool:
        """Return whether a window's frames lie nearer to each other than those of the stream."""
        return self.interval > TOO_SLOW * self._step

    def _begin(self, seconds: float) -> None:
        """Forget what waits: the stream begins here, or goes on here behind a gap."""
        self._due = []
        self._waiting: dict[int, dict[int, tuple[np.ndarray, np.ndarray | None]]] = {}
        self._middles: dict[int, tuple[float, float, np.ndarray]] = {}
        self._number, self._centre = 0, seconds - min(self._offsets)

    def _plan(self, seconds: float) -> None:
        """Note what the windows need whose first frame is due."""
        while self._centre + min(self._offsets) <= seconds + MOMENT:
            for place, offset in enumerate(self._offsets):
                heapq.heappush(self._due, _Place(self._centre + offset, self._number, place))
            self._waiting[self._number] = {}
            self._number += 1
            self._centre += self._period

    def _joined(self, parts: dict[int, tuple[np.ndarray, np.ndarray | None]]) -> np.ndarray:
        planes = np.empty(self._shape, np.uint8)
        for place in range(len(parts)):
            planes[3 * place : 3 * place + 3] = parts[place][0].transpose(2, 0, 1)
        if self._planes:
            planes[3 * len(parts) :] = self._planes([gray for _, gray in map(parts.__getitem__, range(len(parts)))])
        return planes


def _flow_planes(flow: str):
    if flow == NO_FLOW:
        return None
    from vadistill.windows.flow_planes import FlowPlanes

    return FlowPlanes(flow)
