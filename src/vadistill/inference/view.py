"""Drift and blindness: has the camera moved, is it dark, covered or frozen, has the scene changed for the detector?

A detector knows no other view than that of its training clips: where the view is another one, its scores mean nothing
and are not to be alarmed on. A picture is looked at five times a second, small and in gray, and compared with what the
camera usually shows. NumPy alone is needed, and as much memory as a few small pictures take.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby

import numpy as np

from vadistill.errors import InputError, in_one_line

SIZE = (90, 160)  # rows and columns of a small picture
WINDOW = np.outer(np.hanning(SIZE[0]), np.hanning(SIZE[1])).astype(np.float32)
BLOCK = 10  # its pixels along the side of a place where edges are looked for
KEPT = 200  # small pictures of which a normal view is made, at most; from half of them on once there are more frames
RARE = 1.0  # percentile of normal frames that stands for the lowest usual value
LOOK_EVERY, MOMENT = 0.2, 1e-6  # seconds between looks, and by how much sums of frame times may miss them
# Of the thresholds, see docs/drift.md. The first three are shares of what is usual.
DARK, UNLIKE, FAINT = 0.5, 0.5, 0.4
ONE_VIEW = 0.15  # least likeness of two clips' backgrounds in one view (docs/drift.md)
BLIND = 0.5  # share of the places with edges that have lost them, from which on the lens is covered
NOISE = 2.0  # gray levels; what lossy coding of one and the same frame changes: +-1 before and after
STILL_SHARE = 0.005  # of the pixels, which may change in a frozen picture
AGREED = 0.9  # share of the looks in a time that decides
ODD, EVEN = 0.5, 0.4  # shares of high scores over which the scene has changed, and under which it no longer has
PARTS = 60  # of a window of scores


class State(StrEnum):
    """What a stream is said to be."""

    USUAL = "usual"
    DARK = "dark"
    COVERED = "covered"
    MOVED = "moved"
    FROZEN = "frozen"
    SCORES = "scores"


def small_picture(frame: np.ndarray) -> np.ndarray:
    """Return a frame (H, W, 3) uint8 BGR of any size as a gray picture ``SIZE`` float32: means of 2x2 samples.

    Gray is the green channel, which weighs most in gray anyway, to save time.

    Raises:
        InputError: It is no such frame.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise InputError(
            f"a frame is {frame.shape} {frame.dtype}; expected (height, width, 3) uint8, blue, green and red"
        )
    rows, columns = ((2 * np.arange(2 * to) + 1) * of // (4 * to) for to, of in zip(SIZE, frame.shape, strict=False))
    samples = frame[rows[:, None], columns, 1].astype(np.float32)
    halved = samples[::2] + samples[1::2]
    return (halved[:, ::2] + halved[:, 1::2]) / 4


class Background:
    """A small picture that others are compared with.

    Args:
        picture: ``SIZE``, gray levels.
    """

    def __init__(self, picture: np.ndarray) -> None:
        self._spectrum = _spectrum(picture)
        self._edges = _edges(picture)
        # The clearer half of the places: elsewhere a little noise would do for edges.
        self._clear = self._edges >= max(1.0, float(np.median(self._edges)))

    def response(self, picture: np.ndarray) -> np.ndarray:
        """Return the phase correlation ``SIZE`` with a picture; its peak (y, x) is by how much the picture is moved.

        At most 1, where one picture is the other one moved around the border. Lighter or darker makes no difference.
        Kuglin and Hines, The phase correlation image alignment method, 1975; with a Hann window.
        """
        crossed = _spectrum(picture) * self._spectrum.conj()
        return np.fft.irfft2(crossed / (np.abs(crossed) + 1e-6), SIZE)

    def shift(self, picture: np.ndarray) -> tuple[int, int]:
        """Return by how many small pixels (y, x) a picture is moved down and to the right of this one."""
        peak = np.unravel_index(self.response(picture).argmax(), SIZE)
        y, x = ((int(at) + side // 2) % side - side // 2 for at, side in zip(peak, SIZE, strict=True))
        return y, x

    def likeness(self, picture: np.ndarray) -> float:
        """Return the highest response to a picture that is moved by at most one small pixel."""
        return float(self.response(picture)[np.ix_((-1, 0, 1), (-1, 0, 1))].max())

    def blind_share(self, picture: np.ndarray) -> float:
        """Return at which share of the places with edges a picture has lost them; 0 of a background without edges."""
        clear = self._clear
        return float(np.mean(_edges(picture)[clear] < FAINT * self._edges[clear])) if clear.any() else 0.0


@dataclass(frozen=True, eq=False)
class NormalView:
    """What a camera usually shows.

    Attributes:
        background: ``SIZE`` float32, the median of small pictures.
        brightness: Lowest usual mean of a small picture.
        likeness: Lowest usual ``Background.likeness``.
        change: Smallest usual change from a frame to the next one in gray levels, see ``_change``.
        frames: Number of normal frames that it was made of.
    """

    background: np.ndarray
    brightness: float
    likeness: float
    change: float
    frames: int

    @classmethod
    def of(cls, frames: Iterable[np.ndarray]) -> "NormalView":
        """Return the view of normal frames (H, W, 3) uint8 BGR; see ``ViewSampler``."""
        sampler = ViewSampler()
        for frame in frames:
            sampler(frame)
        return sampler.view()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what ``from_arrays`` reads: small arrays of plain numbers."""
        return {name: np.asarray(value) for name, value in asdict(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "NormalView":
        """Return the view that was kept in arrays.

        Raises:
            InputError: They are damaged.
        """
        try:
            background = np.asarray(arrays["background"], np.float32)
            brightness, likeness, change = (float(arrays[name]) for name in ("brightness", "likeness", "change"))
            if background.shape != SIZE or not np.isfinite([*background.flat, brightness, likeness, change]).all():
                raise ValueError(f"a background {background.shape}, or numbers that are not finite")
            return cls(background, brightness, likeness, change, int(arrays["frames"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the record of the normal view is damaged ({in_one_line(error)}); make it of normal clips again"
            ) from error


class ViewSampler:
    """Makes a normal view of frames that come one by one, of one clip after the other, all of one camera.

    Every n-th of them is kept, small, and n doubles whenever ``KEPT`` are there.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[np.ndarray, float]] = []  # with the change from the frame before it
        self._step, self._count = 1, 0
        self._before: np.ndarray | None = None

    def __call__(self, frame: np.ndarray) -> None:
        """Take the next normal frame (H, W, 3) uint8 BGR.

        Raises:
            InputError: It is no such frame.
        """
        place = self._count % self._step
        self._count += 1
        if place not in (0, self._step - 1):
            return
        picture = small_picture(frame)
        if place == 0:
            self._kept.append((picture, math.inf if self._before is None else _change(self._before, picture)))
            if len(self._kept) == KEPT:
                self._kept, self._step = self._kept[::2], 2 * self._step
        self._before = picture

    def view(self) -> NormalView:
        """Return what the frames have in common.

        Raises:
            InputError: There are fewer than two.
        """
        if self._count < 2:
            raise InputError(f"{self._count} normal frames; expected at least two, of which the usual view is made")
        pictures = np.stack([picture for picture, _ in self._kept])
        background = np.median(pictures, axis=0)
        likenesses = [*map(Background(background).likeness, pictures)]
        changes = [change for _, change in self._kept[1:]]
        brightness, likeness, change = (
            float(np.percentile(values, RARE)) for values in (pictures.mean((1, 2)), likenesses, changes)
        )
        return NormalView(background, brightness, likeness, change, self._count)


class ViewCheck:
    """Says of a stream, frame by frame, whether the camera shows what it usually shows.

    A state is said when nine tenths of the looks in the last ``hold`` seconds were unusual, and taken back when nine
    tenths were usual again, so that who passes close to the lens does not cover it, and flicker toggles nothing.

    Args:
        view: What the camera usually shows.
        hold: Seconds for which a state must last; frames that are further apart than this say nothing.
        still: Seconds without any change after which a picture looks frozen. More for places where nothing moves, and
            cameras with next to no noise.

    Attributes:
        state: What the stream is said to be, at first ``usual``.
    """

    def __init__(self, view: NormalView, hold: float = 5.0, still: float = 10.0) -> None:
        if not (0 < hold < math.inf and 0 < still < math.inf):
            raise InputError(f"hold {hold}, still {still}; expected seconds above 0 of both")
        self.state = State.USUAL
        self._view, self._hold, self._still = view, hold, still
        self._background = Background(view.background)
        self._changed = min(NOISE, view.change / 2)
        self._looks: deque[tuple[float, State]] = deque()
        self._reference: tuple[float, np.ndarray] | None = None

    def update(self, frame: np.ndarray, seconds: float) -> State:
        """Return what the stream is said to be, from a frame (H, W, 3) uint8 BGR of any size and its time.

        After a gap, or where time goes back, the seconds of a state are counted anew.

        Raises:
            InputError: It is no such frame.
        """
        if not self.due(seconds):
            return self.state
        last = self._looks[-1][0] if self._looks else -math.inf
        if not 0 <= seconds - last <= self._hold:
            self._looks.clear()
            self._reference = None
        self._looks.append((seconds, self._look(small_picture(frame), seconds)))
        while len(self._looks) > 1 and self._looks[1][0] <= seconds - self._hold + MOMENT:
            self._looks.popleft()
        if self._looks[0][0] <= seconds - self._hold + MOMENT:
            self._vote()
        return self.state

    def due(self, seconds: float) -> bool:
        """Return whether a frame of this time is looked at; others change nothing."""
        last = self._looks[-1][0] if self._looks else -math.inf
        return not 0 <= seconds - last < LOOK_EVERY - MOMENT

    def _look(self, picture: np.ndarray, seconds: float) -> State:
        """Return what a picture looks like: the first state whose sign is there."""
        if self._reference is None or _change(self._reference[1], picture) > self._changed:
            self._reference = seconds, picture
        if picture.mean() < DARK * self._view.brightness:
            return State.DARK
        if self._background.blind_share(picture) > BLIND:
            return State.COVERED
        if self._background.likeness(picture) < UNLIKE * self._view.likeness:
            return State.MOVED
        return State.FROZEN if seconds - self._reference[0] >= self._still - MOMENT else State.USUAL

    def _vote(self) -> None:
        counts = Counter(state for _, state in self._looks)
        state, most = counts.most_common(1)[0]
        enough = AGREED * len(self._looks)
        # Several unusual states by turns are unusual, but none of them takes the place of the other.
        if most >= enough or (self.state == State.USUAL and len(self._looks) - counts[State.USUAL] >= enough):
            self.state = state


class ScoreCheck:
    """Says of a stream whether its scores are higher than usual for so long that the scene must have changed.

    The median of the scores in a window lies above a level when more than half of them do, so that counting is enough.

    Args:
        level: Score that few normal frames reach (``Alarms.high``), smoothed as those that are checked.
        window: Seconds; nothing is said before.

    Attributes:
        state: ``scores`` or ``usual``.
    """

    def __init__(self, level: float, window: float = 600.0) -> None:
        if not (math.isfinite(level) and 0 < window < math.inf):
            raise InputError(f"level {level}, window {window}; expected a finite score and seconds above 0")
        self.state = State.USUAL
        self._level, self._window = level, window
        self._parts: deque[list[float]] = deque()  # start, scores, high scores; PARTS of them and one
        self._start = self._last = -math.inf

    def update(self, score: float, seconds: float) -> State:
        """Return what the stream is said to be, from the score of a frame and its time.

        After a gap as long as the window, or where time goes back, counting begins anew.
        """
        if not 0 <= seconds - self._last <= self._window:
            self._parts.clear()
            self._start = seconds
        self._last = seconds
        if not self._parts or seconds - self._parts[-1][0] >= self._window / PARTS:
            self._parts.append([seconds, 0, 0])
        self._parts[-1][1] += 1
        self._parts[-1][2] += score > self._level
        while self._parts[0][0] < seconds - self._window - MOMENT:
            self._parts.popleft()
        if seconds - self._start >= self._window - MOMENT:
            share = sum(part[2] for part in self._parts) / sum(part[1] for part in self._parts)
            if share > ODD:
                self.state = State.SCORES
            elif share < EVEN:
                self.state = State.USUAL
        return self.state


def intervals(states: Iterable[State]) -> Iterator[tuple[State, int, int]]:
    """Yield (state, start, end) of the half-open runs of frames whose state is not ``usual``, as they end."""
    start = 0
    for state, run in groupby(states):
        end = start + sum(1 for _ in run)
        if state != State.USUAL:
            yield state, start, end
        start = end


def _spectrum(picture: np.ndarray) -> np.ndarray:
    return np.fft.rfft2((picture - picture.mean()) * WINDOW)


def _edges(picture: np.ndarray) -> np.ndarray:
    """Return the mean difference of neighbours in each place of ``BLOCK`` x ``BLOCK`` pixels."""
    steps = np.zeros(SIZE, np.float32)
    steps[:, 1:] += np.abs(np.diff(picture, axis=1))
    steps[1:] += np.abs(np.diff(picture, axis=0))
    return steps.reshape(SIZE[0] // BLOCK, BLOCK, SIZE[1] // BLOCK, BLOCK).mean((1, 3))


def _change(one: np.ndarray, other: np.ndarray) -> float:
    """Return by how many gray levels pictures differ, but for the ``STILL_SHARE`` of pixels that differ most."""
    differences = np.abs(one - other).ravel()
    place = int((1 - STILL_SHARE) * differences.size)
    return float(np.partition(differences, place)[place])
