"""How the training clips of a model were filmed, and in what another clip differs from them.

Only the rate, the shape and the range of values of the frames are known; what they show is not looked at.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from vadistill.errors import InputError, in_one_line

KEY = "training_clips"  # among the settings that a model keeps
RATE_TOLERANCE, ASPECT_TOLERANCE = 0.10, 0.05  # relative differences that are not worth a word
MOST = 50  # different rates, and sizes, that are kept

T = TypeVar("T")


class Filmed(Protocol):
    """A clip: width and height of its frames in pixels, its frames a second, if known, and ``FrameStore.depth``."""

    width: int
    height: int
    fps: float | None
    depth: tuple[float, float] | None


@dataclass(frozen=True)
class Conditions:
    """How some clips were filmed.

    Attributes:
        clips: How many they are.
        frames_per_second: Different rates, ascending; empty where none is known.
        sizes: Different sizes (width, height) in pixels, from the tallest to the widest shape.
        depth: Values of images of more than 8 bits that became 0 and 255; None for the full range of 16 bits.
    """

    clips: int
    frames_per_second: tuple[float, ...]
    sizes: tuple[tuple[int, int], ...]
    depth: tuple[float, float] | None = None

    @classmethod
    def of(cls, clips: Iterable[Filmed]) -> "Conditions":
        """Return how these clips were filmed."""
        known = list(clips)
        rates = sorted({round(clip.fps, 3) for clip in known if clip.fps})
        sizes = sorted({(clip.width, clip.height) for clip in known}, key=lambda size: (_aspect(size), size))
        depth = next((clip.depth for clip in known if clip.depth), None)  # one for a whole data set
        return cls(len(known), _thinned(rates), _thinned(sizes), depth)

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "Conditions | None":
        """Return the conditions among a model's settings; None of a model that was made before they were kept.

        Raises:
            InputError: They are damaged.
        """
        if KEY not in settings:
            return None
        try:
            kept = settings[KEY]
            rates = tuple(float(rate) for rate in kept["frames_per_second"] if rate > 0)
            sizes = tuple((int(width), int(height)) for width, height in kept["sizes"] if width > 0 and height > 0)
            depth = None
            if kept.get("depth"):
                low, high = kept["depth"]
                depth = float(low), float(high)
            return cls(int(kept["clips"]), rates, sizes, depth)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the model's record '{KEY}' is damaged ({in_one_line(error)}); distil it again"
            ) from error

    def record(self) -> dict[str, Any]:
        """Return what ``read`` reads."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def differences(self, size: tuple[int, int], rate: float | None, video: bool = False) -> list[str]:
        """Return in what a clip differs from all of these clips, for each point a few words.

        Args:
            size: Width and height of its frames in pixels.
            rate: Its frames a second, if known.
            video: Whether it is a video, whose values are scaled by no range.
        """
        found = []
        if rate and self.frames_per_second and _ratio(rate, self.nearest_rate(rate)) > 1 + RATE_TOLERANCE:
            found.append(f"{rate:g} frames/s (training: {self._rates_text})")
        shapes = {_orientation(one) for one in self.sizes}
        closest = min((_ratio(_aspect(size), _aspect(one)) for one in self.sizes), default=1.0)
        turned = shapes | {_orientation(size)} == {"landscape", "portrait"} and _orientation(size) not in shapes
        if turned or closest > 1 + ASPECT_TOLERANCE:
            known = " to ".join(dict.fromkeys(_shape_text(self.sizes[end]) for end in (0, -1)))
            found.append(f"{_shape_text(size)} (training: {known})")
        if video and self.depth:
            low, high = self.depth
            found.append(f"a video (training: images with {low:g} to {high:g} as 0 to 255)")
        return found

    def nearest_rate(self, rate: float) -> float:
        """Return the one of the known rates that is nearest to a rate, by their ratio."""
        return min(self.frames_per_second, key=lambda known: _ratio(known, rate))

    @property
    def _rates_text(self) -> str:
        """The known rates as text: "25", or "10 to 30"."""
        return " to ".join(dict.fromkeys(f"{self.frames_per_second[end]:g}" for end in (0, -1)))


def frame_step(offsets: Sequence[int]) -> int:
    """Return how many frames lie between neighbours of a window; 0 of a window of one frame."""
    return min((abs(offset) for offset in offsets if offset), default=0)


def with_step(offsets: Sequence[int], step: int) -> tuple[int, ...]:
    """Return the offsets of a window with another step between its frames."""
    present = frame_step(offsets)
    return tuple(offset // present * step for offset in offsets) if present else tuple(offsets)


def matched_step(step: int, rate: float, trained: float) -> int:
    """Return the step at ``rate`` that spans about the time of ``step`` at the rate ``trained``, at least 1."""
    return max(1, int(step * rate / trained + 0.5))


def _thinned(values: Sequence[T]) -> tuple[T, ...]:
    """Return at most ``MOST`` of sorted values, evenly spread, with the first and the last."""
    count = min(len(values), MOST)
    return tuple(values[i * (len(values) - 1) // max(count - 1, 1)] for i in range(count))


def _aspect(size: tuple[int, int]) -> float:
    return size[0] / size[1]


def _ratio(one: float, other: float) -> float:
    return max(one / other, other / one)


def _shape_text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} {_orientation(size)}"


def _orientation(size: tuple[int, int]) -> str:
    width, height = size
    return "square" if width == height else "landscape" if width > height else "portrait"
