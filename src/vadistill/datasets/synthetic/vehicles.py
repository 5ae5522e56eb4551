"""Drawn cyclists and carts in place of cut-outs: shapes that the cut-outs of people do not have."""

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
DISTANCE = 100.0  # metres from the camera: so far away that it is drawn without perspective of its own
FROM_ABOVE = 0.35  # height of the camera over its distance
FORESHORTENED = 3.0  # times as long as it looks is a way along the line of sight
AROUND = 14  # metres along the sides of a picture in which a vehicle has room
GROUND = 0.75  # of the picture's height: the row on which it stands
VISIBLE = 32  # of 255: where it covers as much, thin wheels too, is its box
LEVELS = (1, 99)  # percentiles of a frame's grey levels
GRAY = 3.0  # grey levels: deviation of the differences between the channels of a gray film, which may have a tint


def vehicles(
    kind: str, path: np.ndarray, height: Callable[[float], float], frame: np.ndarray, rng: np.random.Generator
) -> Iterator[Placed]:
    """Yield a vehicle, as it moves along a path, in successive frames.

    Args:
        kind: ``cycling`` or ``driving``.
        path: (T, 2) where it stands, in pixels; of a single frame, it is seen from the side.
        height: Of a person in pixels, by the row of the feet; less than a pixel counts as one.
        frame: (H, W, 3) uint8 of the clip: the vehicle is neither brighter nor darker than it, and in gray where it is.
        rng: Its looks.
    """
    style, phase = random_style(rng), float(rng.uniform(0, 2 * np.pi))
    dark, bright = np.percentile(frame, LEVELS)
    tint = frame.mean((0, 1)) - frame.mean() if _is_gray(frame) else None
    steps = np.diff(path, axis=0)
    steps = np.concatenate([steps, steps[-1:]]) if len(steps) else np.array([[1.0, 0.0]])
    for foot, step in zip(path, steps, strict=True):
        metre = max(height(foot[1]), 1.0) / PERSON
        across, along = step[0], -FORESHORTENED * step[1]
        phase += 2 * np.pi * float(np.hypot(across, along)) / metre / METRES_A_TURN
        drawn, ground = _drawn(kind, style, float(np.arctan2(along, across)), phase, metre)
        image = drawn.image.astype(np.float32) if tint is None else _gray(drawn.image) + tint
        levels = (dark + (bright - dark) / 255 * image).clip(0, 255)
        x1, _, x2, y2 = drawn.box
        beside = np.array([(x1 + x2) / 2, y2]) - ground  # of the box's lower middle, from where it stands
        yield Placed(replace(drawn, image=levels.astype(np.uint8)), 1.0, foot + beside)


def _is_gray(frame: np.ndarray) -> bool:
    """Return whether a frame (H, W, 3) uint8 shows no colours, but perhaps a tint."""
    wide = frame.astype(np.float32)
    return bool((wide[..., 1:] - wide[..., :-1]).std((0, 1)).max() < GRAY)


def _gray(image: np.ndarray) -> np.ndarray:
    """Return an image (h, w, 3) uint8 BGR without colours."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _drawn(kind: str, style: Style, heading: float, phase: float, metre: float) -> tuple[Cutout, np.ndarray]:
    """Return a vehicle, a metre of which is so many pixels, and where (2,) in its image it stands.

    Heading and phase are in radians as in ``Pose``.
    """
    side = int(AROUND * metre) + 8
    row = GROUND * side
    camera = Camera(side, side, metre * DISTANCE, row - FROM_ABOVE * DISTANCE * metre, FROM_ABOVE * DISTANCE)
    sprite = draw(DRAWN[kind](style, Pose(0.0, DISTANCE, heading, phase)), camera)
    assert sprite is not None  # it stands in the middle of the picture
    rows, columns = (np.flatnonzero((sprite.bgra[..., 3] >= VISIBLE).any(axis)) for axis in (1, 0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
    alpha = sprite.bgra[..., 3].astype(np.float32) / 255
    return Cutout(_paint(sprite.bgra), alpha, box, True), np.array([side / 2 - sprite.left, row - sprite.top])


def _paint(bgra: np.ndarray) -> np.ndarray:
    """Return the colours (h, w, 3) uint8 of a premultiplied picture (h, w, 4) uint8, and around it those beside it.

    Else what is black there would darken its outline where it is pasted between pixels.
    """
    wide = bgra.astype(np.float32)
    around = np.where(wide[..., 3:] > VISIBLE, wide, cv2.blur(wide, (5, 5)))
    return (255 * around[..., :3] / around[..., 3:].clip(1e-3)).clip(0, 255).astype(np.uint8)
