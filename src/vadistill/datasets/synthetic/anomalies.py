"""Synthetic anomalies in normal clips, made of the clips' own frames and objects.

The anomaly lies in the middle of a made clip, and fills it but where an object is replayed or occluded; before and
after it, the clip is as it was.
"""

import logging
from dataclasses import dataclass

import numpy as np

from vadistill.datasets.synthetic.cutouts import Change, background
from vadistill.datasets.synthetic.normal_clip import NormalClip, one_after_another
from vadistill.datasets.synthetic.pasting import OVERSIZED, changes
from vadistill.datasets.synthetic.replay import moments, replay
from vadistill.errors import InputError
from vadistill.settings import LEAST_FRAMES

log = logging.getLogger(__name__)

LEAST_MADE = 4  # frames of an interval that is played fast and what lies around it
BACKWARD = 0.75  # of the abnormal share: so many frames are played backward, between ones that are played forward
REPLAYED = ("hurried", "halting", "turning", "oversized")


@dataclass(frozen=True)
class Degree:
    """How abnormal what is made may be.

    Attributes:
        share: Of the made clip that is abnormal.
        pace: Range of the speed of what is played ``fast`` or is ``hurried``.
        haste: Range of the speed of a ``pasted`` or drawn object, times the usual one where it moves; of those of
            ``several`` and of an ``occluded`` one as well.
    """

    share: float
    pace: tuple[float, float]
    haste: tuple[float, float]


@dataclass(frozen=True)
class Plan:
    """A made clip of T frames.

    Attributes:
        source: (T,) which frame of the normal clip each frame shows.
        boxes: (T, N, 4) float32 xyxy of the at most N anomalies at once, in pixels, what is farther away first; zeros
            where there are none. A place among the N is no one object's through time.
        changes: What is changed in frames, by their number in the made clip: what is farther away first.
    """

    source: np.ndarray
    boxes: np.ndarray
    changes: dict[int, tuple[Change, ...]]

    def render(self, t: int, frame: np.ndarray) -> np.ndarray:
        """Return frame t of the made clip, given frame ``source[t]`` of the normal one, both (H, W, 3) uint8."""
        for change in self.changes.get(t, ()):
            frame = change.paste(frame)
        return frame


def plan(kind: str, clip: NormalClip, frames: int, degree: Degree, rng: np.random.Generator) -> Plan:
    """Plan an anomaly in a normal clip.

    Args:
        kind: ``fast``: an interval at a higher speed. ``backward``: an interval played backward. ``misplaced``: an
            object of another moment moves where no normal object stands. ``pasted``: a still object, enlarged, slides
            through the scene faster than is usual there. ``hurried``, ``halting``, ``turning``: an object
            passes its own path faster, stops on it, or goes back on it; else, as without objects, one is pasted.
            ``cycling``, ``driving``: a drawn cyclist or cart crosses the scene faster than is usual there.
            ``oversized``: an object on its own path is shown 1.7 to 2.5 times as large as it is; where none moves for
            long enough, a pasted one, as much larger than is usual there, slides at the usual speed. ``several``: two
            to four are pasted at once. ``occluded``: one is pasted in its usual size, behind whoever stands nearer to
            the camera.
        clip: The normal clip; where it has no object, what would be cut out of it is a drawn figure, and vehicles are
            as large as if people were a sixth of the frame high.
        frames: Greatest length of the made clip; it is taken from the middle of the usable frames.
        degree: How much of the clip is abnormal, and how fast it is.
        rng: What is pasted where, and how fast.

    Raises:
        InputError: Fewer than 12 frames are usable.
    """
    if len(clip.usable) < LEAST_FRAMES:
        raise InputError(
            f"{len(clip.usable)} usable frames; expected at least {LEAST_FRAMES} for a synthetic anomaly: leave the "
            "clip out of the training clips, or give a longer one"
        )
    count = min(frames, len(clip.usable))
    first = clip.usable.start + (len(clip.usable) - count) // 2
    if kind in ("fast", "backward"):
        if kind == "fast":
            source, abnormal = _fast(count, clip.usable, degree.share, rng.uniform(*degree.pace))
        else:
            source, abnormal = _backward(count, clip.usable, degree.share)
        return Plan(source, abnormal[:, None, None] * np.array([[0, 0, *clip.size[::-1]]], np.float32), {})
    source, middle = np.arange(first, first + count), _middle(count, degree.share)
    made = _replayed(kind, clip, source[middle], degree.pace, rng) if kind in REPLAYED else {}
    if not made:
        pasted = changes(kind, clip, source[middle], degree.haste, rng)
        made = {t: those for t, those in zip(source[middle].tolist(), pasted, strict=True) if those}
    boxes = np.zeros((count, max(map(len, made.values()), default=1), 4), np.float32)
    for t, those in made.items():
        boxes[t - first, : len(those)] = [one.box(clip.size) for one in those]
    return Plan(source, boxes, {t - first: those for t, those in made.items()})


def _replayed(
    kind: str, clip: NormalClip, shown: np.ndarray, pace: tuple[float, float], rng: np.random.Generator
) -> dict[int, tuple[Change, ...]]:
    """Return the changes by frame of the normal clip; none without an object."""
    moment_of = moments(kind, rng.uniform(*pace))
    scale = rng.uniform(*OVERSIZED) if kind == "oversized" else 1.0
    tracks = one_after_another(clip, shown, rng)
    if not tracks:
        log.warning("no object moves for long enough: one is pasted in place of one that is replayed")
        return {}
    empty = background(clip.read, clip.usable)
    return {t: (change,) for track in tracks for t, change in replay(track, moment_of, clip.read, empty, scale)}


def _middle(count: int, share: float) -> slice:
    """Return the middle ``share`` of ``count`` frames."""
    before = round((1 - share) / 2 * count)
    return slice(before, count - before)


def _fast(count: int, usable: range, share: float, pace: float) -> tuple[np.ndarray, np.ndarray]:
    """Return source frames (T,) and which are abnormal (T,): those that are reached by a leap, ``pace`` on average.

    A short clip is played as fast as its frames allow.
    """
    # At most share * T + 1 leaps, each of which passes over pace - 1 frames.
    fastest = 1 + (len(usable) - LEAST_MADE) / (1 + share * LEAST_MADE)
    if pace > fastest:
        log.info("%d usable frames: played at %.3g times the speed in place of %.3g", len(usable), fastest, pace)
        pace = fastest
    made = min(count, max(LEAST_MADE, int((len(usable) - (pace - 1)) / (1 + share * (pace - 1)))))
    step, abnormal = np.ones(made), np.zeros(made, bool)
    abnormal[_middle(made, share)] = True
    step[abnormal] = pace
    return _centred(step, usable), abnormal


def _backward(count: int, usable: range, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return source frames (T,) and which are abnormal (T,): those that are reached by a step back."""
    step = np.ones(count)
    step[_middle(count, BACKWARD * share)] = -1
    return _centred(step, usable), step != 1


def _centred(step: np.ndarray, usable: range) -> np.ndarray:
    """Return the frames (T,) that such steps (T,) lead to, in the middle of the usable ones."""
    path = np.floor(np.cumsum(step)).astype(int)
    path -= path.min()
    return path + usable.start + (len(usable) - 1 - path.max()) // 2
