"""A pinhole camera over a ground plane, and solid shapes drawn through it with anti-aliased edges.

World coordinates are metres: x to the right, y up, z away from the camera; the ground is y = 0.
"""

from dataclasses import dataclass

import cv2
import numpy as np

SUPERSAMPLING = 3
SUBPIXEL_BITS = 4
NEAREST = 1.0


@dataclass(frozen=True)
class Camera:
    """A camera that looks level through a shifted lens, so that upright things stay upright in the frame.

    Args:
        height: Frame height in pixels.
        width: Frame width in pixels.
        focal: Focal length in pixels.
        horizon: Row of the horizon in pixels.
        above: Metres between the camera and the ground.
    """

    height: int
    width: int
    focal: float
    horizon: float
    above: float

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels (n, 2) as (column, row) and pixels per metre (n,) of world points (n, 3)."""
        scale = self.focal / np.maximum(points[:, 2], NEAREST)
        column = self.width / 2 + points[:, 0] * scale
        row = self.horizon + (self.above - points[:, 1]) * scale
        return np.stack([column, row], 1), scale

    def half_width(self, z: float) -> float:
        """Return how many metres the frame shows on either side of its middle at depth ``z``."""
        return z * self.width / (2 * self.focal)


@dataclass(frozen=True)
class Shape:
    """A ball (one point), a capsule (two), a closed ring of wire (more) or, with radius 0, a filled polygon.

    Args:
        points: World coordinates (n, 3) in metres.
        radius: Of the ball, the capsule or the wire in metres.
        colour: BGR, 0 to 255.
    """

    points: np.ndarray
    radius: float
    colour: tuple[float, ...]


@dataclass(frozen=True)
class Sprite:
    """A drawn thing: premultiplied BGRA (h, w, 4) uint8 with its top left corner in the frame."""

    top: int
    left: int
    bgra: np.ndarray
    whole_area: float

    @property
    def solid(self) -> np.ndarray:
        """Pixels (h, w) bool of which the thing covers at least half."""
        return self.bgra[..., 3] >= 128

    @property
    def window(self) -> tuple[slice, slice]:
        """Where in the frame it lies."""
        height, width = self.bgra.shape[:2]
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def draw(shapes: list[Shape], camera: Camera, factor: int = SUPERSAMPLING) -> Sprite | None:
    """Draw shapes in their order, later ones in front; None if nothing of them is in the frame."""
    counts = [len(shape.points) for shape in shapes]
    pixels, scales = camera.project(np.concatenate([shape.points for shape in shapes]))
    radii = np.repeat([shape.radius for shape in shapes], counts) * scales
    low, high = (pixels - radii[:, None]).min(0) - 1, (pixels + radii[:, None]).max(0) + 2
    left, top = np.maximum(np.floor(low), 0).astype(int)
    right, bottom = np.minimum(np.ceil(high), (camera.width, camera.height)).astype(int)
    if right <= left or bottom <= top:
        return None
    canvas = np.zeros(((bottom - top) * factor, (right - left) * factor, 4), np.uint8)
    local = (pixels - (left, top)) * factor
    start = 0
    for shape, count in zip(shapes, counts, strict=True):
        _draw_shape(canvas, shape, local[start : start + count], radii[start] * factor)
        start += count
    bgra = cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    if not bgra[..., 3].any():
        return None
    share = (right - left) * (bottom - top) / np.prod(high - low)
    return Sprite(int(top), int(left), bgra, float((bgra[..., 3] >= 128).sum() / share))


def _draw_shape(canvas: np.ndarray, shape: Shape, pixels: np.ndarray, radius: float) -> None:
    points = np.round(pixels * (1 << SUBPIXEL_BITS)).astype(np.int32)
    colour = (*shape.colour, 255)
    if len(points) == 1:
        _ball(canvas, points[0], radius, colour)
    elif len(points) == 2:
        _line(canvas, points, radius, colour)
    elif shape.radius:
        thickness = max(1, round(2 * radius))
        cv2.polylines(canvas, [points], True, colour, thickness, shift=SUBPIXEL_BITS)
    else:
        cv2.fillPoly(canvas, [points], colour, shift=SUBPIXEL_BITS)
    if len(points) <= 2 and radius > 2:
        # The sun stands on the left: a lighter core, moved towards it, makes a limb look round.
        lighter = (*(min(255.0, 1.16 * value + 10) for value in shape.colour), 255)
        moved = points - np.int32(0.32 * radius * (1 << SUBPIXEL_BITS))
        if len(points) == 1:
            _ball(canvas, moved[0], 0.5 * radius, lighter)
        else:
            _line(canvas, moved, 0.45 * radius, lighter)


def _ball(canvas: np.ndarray, point: np.ndarray, radius: float, colour: tuple[float, ...]) -> None:
    size = max(1, round(radius * (1 << SUBPIXEL_BITS)))
    cv2.circle(canvas, (int(point[0]), int(point[1])), size, colour, -1, shift=SUBPIXEL_BITS)


def _line(canvas: np.ndarray, points: np.ndarray, radius: float, colour: tuple[float, ...]) -> None:
    ends = [(int(x), int(y)) for x, y in points]
    cv2.line(canvas, ends[0], ends[1], colour, max(1, round(2 * radius)), shift=SUBPIXEL_BITS)


def shadow(
    shapes: list[Shape], camera: Camera, sun: tuple[float, float]
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Return where shapes keep the sun from the ground: a window of the frame and its shade (h, w) in [0, 1].

    Args:
        shapes: What casts the shadow.
        camera: The camera.
        sun: Metres in x and z that the shadow of a point moves for each metre of its height.
    """
    lean = np.array([[1, 0, 0], [sun[0], 0, sun[1]], [0, 0, 1]])
    sprite = draw([Shape(shape.points @ lean, 0.7 * shape.radius, (0, 0, 0)) for shape in shapes], camera, factor=1)
    if sprite is None:
        return None
    return sprite.window, cv2.blur(sprite.bgra[..., 3], (3, 3)).astype(np.float32) / 255


def paste(frame: np.ndarray, sprite: Sprite) -> None:
    """Lay a sprite over the frame (H, W, 3) float32 in place."""
    region = frame[sprite.window]
    region *= 1 - sprite.bgra[..., 3:].astype(np.float32) / 255
    region += sprite.bgra[..., :3]
