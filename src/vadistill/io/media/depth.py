"""Images of more than 8 bits a channel: their values, the range that becomes 8 bits, and how it is measured."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from vadistill.errors import InputError
from vadistill.io.files import checked_path, whole_file

log = logging.getLogger(__name__)
PERCENTILES = (0.1, 99.9)
NARROW = 25.5  # grey levels of 255: less makes nearly black images
# The range is measured on at most so many images, and so many values of each file, but at least so many of each page.
IMAGES, VALUES, PAGE_VALUES = 4000, 4096, 64
SPREAD = "the setting frames.depth: percentiles of the workflow"
Range = tuple[float, float]


class ToBytes:
    """Turns the values of a clip's images to 8 bits, and says what came in.

    8-bit images stay as they are. Deeper ones are scaled from ``scale``, the values that become 0 and 255; without it
    the full range of 16 bits is taken, by dropping the lower byte.
    """

    def __init__(self, scale: Range | None = None):
        """Take the range (low, high) of the data set, or None for the full range of the type."""
        self.scale, self.plain = scale, 0
        self.kinds: set[str] = set()
        self.low, self.high, self.lost = np.inf, -np.inf, 0

    def __call__(self, values: np.ndarray, name: str) -> np.ndarray:
        """Return (H, W, 3) uint8 of an image's values (H, W, 3).

        Raises:
            InputError: They are no 8 or 16-bit numbers and there is no range.
        """
        if values.dtype == np.uint8:
            self.plain += 1
            return values
        if self.scale is None and values.dtype != np.uint16:
            raise InputError(
                f"{name}: its values are {values.dtype}, without a full range; expected 8 or 16 bits, or {SPREAD}"
            )
        finite = np.isfinite(values)
        self.kinds.add(str(values.dtype))
        self.lost += int((~finite).any(axis=2).sum())
        if finite.any():
            known = values[finite]
            self.low, self.high = min(self.low, float(known.min())), max(self.high, float(known.max()))
        if self.scale is None:
            return (values >> 8).astype(np.uint8)
        low, high = self.scale
        levels = (np.where(finite, values, low).astype(np.float64) - low) * (255 / (high - low))
        return np.clip(levels, 0, 255).round().astype(np.uint8)

    def report(self, folder: Path) -> None:
        """Say in the log what range came in, where images were deeper than 8 bits, or should have been."""
        if self.plain and (self.kinds or self.scale):
            log.warning("%s: %d images have 8 bits and stay as they are, unlike the deeper ones", folder, self.plain)
        if not self.kinds:
            return
        low, high = self.scale or (0, 65535)
        text = f"{folder}: {', '.join(sorted(self.kinds))} values from {self.low:g} to {self.high:g}"
        span = (self.high - self.low) * 255 / 65535
        if self.scale is None and span < NARROW:
            log.warning("%s come to %.0f of 255 grey levels at full range; %s spreads them", text, span, SPREAD)
        else:
            log.info("%s; %g to %g become 0 to 255", text, low, high)
        if self.lost:
            log.warning("%s: %d pixels are not finite and become 0", folder, self.lost)


def say_film_depth(path: Path, frame: VideoFrame) -> None:
    """Say in the log what values a frame of a grey film of more than 8 bits has: sensors often use a part of them."""
    name, bits = frame.format.name, max(part.bits for part in frame.format.components)
    if bits <= 8 or not name.startswith("gray") or name.startswith("grayf"):
        return
    plane = frame.planes[0]
    values = np.frombuffer(bytes(plane), ">u2" if name.endswith("be") else "<u2").reshape(-1, plane.line_size // 2)
    values = values[: frame.height, : frame.width]
    levels = int(np.ptp(values)) * 255 / (2**bits - 1)
    text = f"{path}: of {bits} bits; its first frame's values from {values.min()} to {values.max()}"
    if levels < NARROW:
        remedy = f"{SPREAD} spreads those of images, not of videos"
        log.warning("%s come to %.0f of 255 grey levels at full range; %s", text, levels, remedy)
    else:
        log.info("%s; 0 to %d become 0 to 255", text, 2**bits - 1)


def measure_range(images: Sequence[Path], seed: int = 0) -> Range | None:
    """Return the range of deep images: percentiles 0.1 and 99.9 of values drawn at random; None for 8-bit ones alone.

    Of at most 4,000 images, spread evenly, 4,096 values each are drawn, or 64 of every page where a file has many.

    Raises:
        InputError: All values are equal.
    """
    from vadistill.io.media.image_file import page_count, pages_of, values_of  # OpenCV's, which videos do not need

    draw, drawn = np.random.default_rng(seed), []
    chosen = np.linspace(0, len(images) - 1, min(len(images), IMAGES)).round().astype(int) if images else ()
    for path in (images[i] for i in chosen):
        count = page_count(path)
        single = values_of(path.read_bytes(), path) if count == 1 else None
        for values in pages_of(path, count) if count > 1 else [] if single is None else [single]:
            if values.dtype != np.uint8:
                sample = draw.choice(values.ravel(), max(VALUES // count, PAGE_VALUES))
                drawn.append(sample[np.isfinite(sample)])
    if not drawn:
        return None
    low, high = np.percentile(np.concatenate(drawn).astype(np.float64), PERCENTILES)
    if not low < high:
        raise InputError(f"{images[0].parent}: all values of the training images are {low:g}; expected pictures")
    return float(low), float(high)


def write_range(path: Path, scale: Range | None) -> None:
    """Write the range of a data set as JSON."""
    content = {"range": scale, "percentiles": PERCENTILES, "of": "values of training images deeper than 8 bits"}
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_range(path: str | Path) -> Range | None:
    """Return what ``write_range`` wrote.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        scale = json.loads(checked_path(path).read_text(encoding="utf-8"))["range"]
        return None if scale is None else (float(scale[0]), float(scale[1]))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path}: no range of images in it; delete it to have it made again") from error
