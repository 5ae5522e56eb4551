"""Drawn cyclists and carts in place of cut-outs: objects whose shape no normal clip has."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import numpy as np

from vadistill.datasets.demo.drawing import Camera, draw
from vadistill.datasets.demo.figures import Pose, Style, cart, cyclist, random_style
from vadistill.datasets.synthetic.cutouts import Cutout, Placed

DRAWN = {"cycling": cyclist, "driving": cart}
PERSON = 1.72  # metres
METRES_A_TURN = 5.0  # of the pedals
FROM_ABOVE = 0.35  # height of the camera over its distance
FORESHORTENED = 3.0  # times as long as it looks is a way along the line of sight
DISTANCE = 100.0  # metres from the camera: so far away that it is drawn without perspective of its own
AROUND = 14  # metres along the sides of a picture in which a vehicle has room
LEVELS = (1, 99)  # percentiles of a frame's grey levels
GRAY = 6.0  # grey levels by which the channels of a gray film, which compression may colour, differ on average


def vehicles(
    kind: str, path: np.ndarray, height: Callable[[float], float], frame: np.ndarray, rng: np.random.Generator
) -> Iterator[Placed]:
    """Yield a vehicle, as it moves along a path, in successive frames.

    Args:
        kind: ``cycling`` or ``driving``.
        path: (T, 2) where it stands, in pixels.
        height: Of a person in pixels, by the row of the feet.
        frame: (H, W, 3) uint8 of the clip: the vehicle is neither brighter nor darker than it, and in gray where it is.
        rng: Its looks.
    """
    style, phase = random_style(rng), float(rng.uniform(0, 2 * np.pi))
    (dark, bright), gray = np.percentile(frame, LEVELS), _is_gray(frame)
    steps = np.diff(path, axis=0, append=path[-1:] + (path[-1:] - path[-2:-1] if len(path) > 1 else 1.0))
    for foot, step in zip(path, steps, strict=True):
        metre = max(height(foot[1]), 1.0) / PERSON
        across, along = step[0], -FORESHORTENED * step[1]
        phase += 2 * np.pi * float(np.hypot(across, along)) / metre / METRES_A_TURN
        drawn = _drawn(kind, style, float(np.arctan2(along, across)), phase, metre)
        image = _gray(drawn.image) if gray else drawn.image
        levels = dark + (bright - dark) / 255 * image
        yield Placed(replace(drawn, image=levels.astype(np.uint8)), 1.0, foot)


def _is_gray(frame: np.ndarray) -> bool:
    """Return whether a frame (H, W, 3) uint8 shows no colours."""
    return bool((frame.max(2).astype(float) - frame.min(2)).mean() < GRAY)


def _gray(image: np.ndarray) -> np.ndarray:
    """Return an image (h, w, 3) uint8 BGR without colours."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _drawn(kind: str, style: Style, heading: float, phase: float, metre: float) -> Cutout:
    """Return a vehicle, a metre of which is so many pixels; heading and phase in radians as in ``Pose``."""
    side = int(AROUND * metre) + 8
    camera = Camera(side, side, metre * DISTANCE, side * 0.75 - FROM_ABOVE * DISTANCE * metre, FROM_ABOVE * DISTANCE)
    sprite = draw(DRAWN[kind](style, Pose(0.0, DISTANCE, heading, phase)), camera)
    assert sprite is not None  # it stands in the middle of the picture
    bgra = sprite.bgra.astype(np.float32)
    alpha = bgra[..., 3] / 255
    image = bgra[..., :3] / np.maximum(alpha, 1e-3)[..., None]
    rows, columns = (np.flatnonzero(sprite.solid.any(axis)) for axis in (1, 0))
    if not len(rows):
        rows, columns = np.arange(len(alpha)), np.arange(alpha.shape[1])
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
    return Cutout(image.clip(0, 255).astype(np.uint8), alpha, box, True)
