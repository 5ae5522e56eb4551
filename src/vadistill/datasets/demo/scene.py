"""The place that the camera watches: what of it is drawn once, and where people walk."""

from dataclasses import dataclass

import cv2
import numpy as np

from vadistill.datasets.demo.drawing import Camera, Shape, Sprite, draw, shadow

GRASS = ((52, 112, 92), (48, 104, 78), (62, 118, 104))
PAVING = ((158, 168, 174), (142, 158, 172), (168, 170, 170))
BRICK = ((88, 112, 166), (112, 146, 182), (128, 134, 146), (96, 124, 150))
LEAVES = ((42, 96, 62), (34, 84, 52), (48, 108, 92))


@dataclass(frozen=True)
class Layout:
    """Where things stand, in metres: z of the lanes and of the wall, x of the path that crosses the promenade."""

    near_pavement: float
    near_lane: float
    far_lane: float
    lane_width: float
    path: float
    path_width: float
    wall: float

    @property
    def promenade(self) -> tuple[float, float]:
        """Near and far edge of the promenade."""
        return self.near_lane - self.lane_width / 2 - 0.2, self.far_lane + self.lane_width / 2 + 0.2


@dataclass(frozen=True)
class Prop:
    """A thing that stands still at depth ``z``; the wind moves its top if it ``sways``."""

    sprite: Sprite
    z: float
    sways: bool

    def blown(self, wind: float) -> Sprite:
        """Return the sprite with its top moved by ``wind`` pixels."""
        if not self.sways:
            return self.sprite
        height, width = self.sprite.bgra.shape[:2]
        shear = np.array([[1, -wind / height, wind], [0, 1, 0]], np.float32)
        return Sprite(self.sprite.top, self.sprite.left, cv2.warpAffine(self.sprite.bgra, shear, (width, height)), 1)


@dataclass(frozen=True)
class Scene:
    """A drawn place: background (H, W, 3) and shade (H, W) of what stands still, both float32."""

    camera: Camera
    layout: Layout
    sun: tuple[float, float]
    background: np.ndarray
    shade: np.ndarray
    clouds: np.ndarray
    props: tuple[Prop, ...]


def make_scene(seed: int, height: int, width: int) -> Scene:
    """Return the scene of ``seed`` for frames of ``height`` x ``width`` pixels."""
    rng = np.random.default_rng([seed, 1])
    camera = Camera(
        height, width, rng.uniform(1.8, 2.0) * height, rng.uniform(0.02, 0.07) * height, rng.uniform(4.3, 4.9)
    )
    foot = camera.focal * camera.above / (height - camera.horizon)  # depth of the frame's last row
    layout = Layout(
        near_pavement=foot + rng.uniform(0.0, 0.3),
        near_lane=foot + rng.uniform(3.9, 4.3),
        far_lane=foot + rng.uniform(7.0, 7.5),
        lane_width=2.0,
        path=rng.choice([-1, 1]) * rng.uniform(1.0, 3.0),
        path_width=3.6,
        wall=foot + rng.uniform(14.5, 16.0),
    )
    sun = (float(rng.uniform(0.45, 0.8)), float(rng.uniform(-0.3, 0.1)))
    solid, soft = _furniture(rng, camera, layout)
    shade = np.zeros((height, width), np.float32)
    for shapes in [*solid, *(crown for crown, _ in soft)]:
        if (cast := shadow(shapes, camera, sun)) is not None:
            shade[cast[0]] = np.maximum(shade[cast[0]], cast[1])
    props = [_prop(shapes, camera, False) for shapes in solid]
    props += [_prop(crown, camera, True) for crown, _ in soft] + [_prop(trunk, camera, False) for _, trunk in soft]
    return Scene(
        camera,
        layout,
        sun,
        _background(rng, camera, layout),
        cv2.GaussianBlur(shade, (0, 0), height / 150),
        _smooth_noise(rng, 64, (8, 4)),
        tuple(prop for prop in props if prop is not None),
    )


def _prop(shapes: list[Shape], camera: Camera, sways: bool) -> Prop | None:
    sprite = draw(shapes, camera)
    z = float(np.mean(np.concatenate([shape.points for shape in shapes])[:, 2]))
    return None if sprite is None else Prop(sprite, z, sways)


def _furniture(
    rng: np.random.Generator, camera: Camera, layout: Layout
) -> tuple[list[list[Shape]], list[tuple[list[Shape], list[Shape]]]]:
    """Return what stands on the lawns: lamps and benches, and trees as (crown, trunk)."""
    side = -np.sign(layout.path)
    near_edge, far_edge = layout.promenade
    solid = [_lamp(x, near_edge - 0.3) for x in (layout.path + side * 2.6, layout.path - side * 5.5)]
    solid += [_bench(x, far_edge + 0.7) for x in layout.path + side * np.array([3.5, 7.0])]
    far = (far_edge + layout.wall) / 2
    trees = [(layout.path + side * rng.uniform(4.5, 6.0), far + rng.uniform(-0.5, 1.0), rng.uniform(0.8, 1.0))]
    trees += [(layout.path - side * rng.uniform(3.5, 4.5), far + rng.uniform(-1, 0.5), rng.uniform(0.8, 1.1))]
    near = layout.near_lane - layout.lane_width / 2 - 0.9
    trees += [(side * (camera.half_width(near) - rng.uniform(0.0, 0.4)), near, rng.uniform(0.8, 0.9))]
    return solid, [_tree(rng, *tree) for tree in trees]


def _lamp(x: float, z: float) -> list[Shape]:
    iron = (58, 60, 56)
    return [
        Shape(np.array([[x, 0.0, z], [x, 3.3, z]]), 0.05, iron),
        Shape(np.array([[x, 0.0, z], [x, 0.5, z]]), 0.09, iron),
        Shape(np.array([[x, 3.5, z]]), 0.2, (205, 225, 232)),
        Shape(np.array([[x - 0.15, 3.72, z], [x + 0.15, 3.72, z]]), 0.05, iron),
    ]


def _bench(x: float, z: float) -> list[Shape]:
    wood, iron = (62, 98, 138), (60, 62, 60)
    legs = [Shape(np.array([[x + d, 0.0, z], [x + d, 0.45, z]]), 0.04, iron) for d in (-0.75, 0.75)]
    back = [Shape(np.array([[x - 0.9, y, z + 0.2], [x + 0.9, y, z + 0.2]]), 0.07, wood) for y in (0.85, 0.65)]
    return [*back, *legs, Shape(np.array([[x - 0.9, 0.45, z - 0.1], [x + 0.9, 0.45, z - 0.1]]), 0.08, wood)]


def _tree(rng: np.random.Generator, x: float, z: float, size: float) -> tuple[list[Shape], list[Shape]]:
    trunk = [Shape(np.array([[x, 0.0, z], [x, 2.4 * size, z]]), 0.15 * size, (46, 66, 82))]
    colour = np.array(LEAVES[rng.integers(len(LEAVES))])
    crown = []
    for share in np.linspace(0, 1, 150):
        direction = rng.normal(size=3)
        # Later leaves are drawn in front: they lie farther up and to the left, where the sun is.
        offset = direction / np.linalg.norm(direction) * [1.5, 1.15, 0.3] + [-0.2 * share, 0.3 * share, 0]
        centre = np.array([[x, 3.0 * size, z]]) + offset * size * rng.uniform(0.55, 1)
        shade = (0.68 + 0.5 * share + rng.normal(0, 0.08)) * colour
        crown.append(Shape(centre, size * rng.uniform(0.18, 0.36), tuple(np.clip(shade, 0, 255))))
    return crown, trunk


def _background(rng: np.random.Generator, camera: Camera, layout: Layout) -> np.ndarray:
    """Paint lawn, walkways and façade by casting a ray through every pixel of a finer grid."""
    fine = 3
    row, column = np.mgrid[0 : camera.height * fine, 0 : camera.width * fine].astype(np.float32)
    row, column = (row + 0.5) / fine, (column + 0.5) / fine
    z = camera.focal * camera.above / np.maximum(row - camera.horizon, 1e-3)
    facade = z > layout.wall
    z = np.minimum(z, layout.wall)
    x = (column - camera.width / 2) * z / camera.focal
    y = camera.above - (row - camera.horizon) * z / camera.focal
    image = _ground(rng, layout, x, z)
    image[facade] = _facade(rng, layout, x[facade], y[facade])
    near_wall = np.clip((z - layout.wall + 1.2) / 1.2, 0, 1) * ~facade
    image *= (1 - 0.35 * near_wall)[..., None]
    return cv2.resize(np.clip(image, 0, 255), (camera.width, camera.height), interpolation=cv2.INTER_AREA)


def _ground(rng: np.random.Generator, layout: Layout, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    coarse, medium = (_smooth_noise(rng, 256, octaves) for octaves in ((4, 8, 16), (64, 128)))
    tall = _sample(coarse, x, z, 12) * 0.22 + _sample(medium, x, 0.5 * z, 6) * 0.2
    grass = _paint(GRASS[rng.integers(len(GRASS))], 1 + tall)
    # Mown in stripes, as lawns on a campus are.
    grass *= 1 + 0.05 * np.sign(np.sin(np.pi * (x + 0.35 * z) / 1.6))[..., None]
    slab_x, slab_z = np.floor(x / 0.9).astype(int), np.floor(z / 0.9).astype(int)
    tones = rng.normal(0, 0.045, 97)[(slab_x * 7 + slab_z * 13) % 97]
    joints = ((x / 0.9) % 1 < 0.05) | ((z / 0.9) % 1 < 0.07)
    wear = _sample(coarse, x, z, 9) * 0.1 + _sample(medium, x, z, 5) * 0.06
    paving = _paint(PAVING[rng.integers(len(PAVING))], 1 + tones + wear - 0.16 * joints)
    gravel = _paint((128, 150, 168), 1 + 0.16 * _sample(medium, x, z, 3) + wear)

    low, high = layout.promenade
    from_path = np.abs(x - layout.path) - layout.path_width / 2
    from_promenade = np.abs(z - (low + high) / 2) - (high - low) / 2
    from_pavement = np.abs(z - layout.near_pavement) - 0.8
    image = np.where((from_path < 0)[..., None], gravel, grass)
    paved = (from_promenade < 0) | (from_pavement < 0)
    image = np.where(paved[..., None], paving, image)
    kerb = (np.abs(from_promenade) < 0.1) & (from_path > 0) | (np.abs(from_pavement) < 0.08) & (from_path > 0)
    kerb |= (np.abs(from_path) < 0.08) & (from_promenade > 0) & (from_pavement > 0)
    image[kerb] = np.array((188, 194, 196)) * (1 + wear[kerb])[:, None]
    middle = (np.abs(z - (low + high) / 2) < 0.09) & ((x / 1.8) % 1 < 0.6) & (from_path > 0)
    image[middle] = np.array((206, 214, 216)) * (1 + wear[middle])[:, None]
    return image


def _facade(rng: np.random.Generator, layout: Layout, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return BGR (n, 3) of points of the wall: brick, a plinth, windows, a hedge and an archway over the path."""
    course = np.floor(y / 0.26).astype(int)
    brick = np.floor(x / 0.62 + 0.5 * (course % 2)).astype(int)
    tones = rng.normal(0, 0.06, 89)[(course * 17 + brick * 5) % 89]
    joints = ((y / 0.26) % 1 < 0.14) | ((x / 0.62 + 0.5 * (course % 2)) % 1 < 0.06)
    image = _paint(BRICK[rng.integers(len(BRICK))], 1 + tones + 0.12 * joints)
    stone = np.array((170, 182, 190))
    image[(y < 0.5) | (np.abs(y - 3.75) < 0.14)] = stone

    along = (x - layout.path) % 3.4 - 1.7  # from the middle of a window; the archway stands between two of them
    floor = np.where(y > 3.9, y - 3.3, y)
    inside = (np.abs(np.abs(along)) < 0.8) & (np.abs(floor - 2.05) < 0.85)
    frame = (np.abs(along) < 0.95) & (np.abs(floor - 2.0) < 1.0)
    image[frame] = stone
    glass = 62 + 30 * (floor - 1.2) + 16 * np.sin(2.1 * along + 3.3 * floor + brick)
    image[inside] = np.stack([glass * 1.25, glass * 1.1, glass], 1)[inside]
    bars = inside & ((np.abs(along) < 0.05) | (np.abs(floor - 2.3) < 0.05))
    image[bars] = (214, 220, 222)

    hedge_top = 0.85 + 0.1 * np.sin(5 * x) + 0.06 * np.sin(13 * x)
    leaves = rng.normal(0, 0.16, 1009)[(np.floor(x * 9).astype(int) * 31 + np.floor(y * 9).astype(int) * 7) % 1009]
    hedge = (y < hedge_top) & (np.abs(x - layout.path) > 1.9)
    image[hedge] = _paint((40, 86, 58), 0.75 + 0.4 * y + leaves)[hedge]

    from_arch = np.where(y < 2.2, np.abs(x - layout.path), np.hypot(x - layout.path, y - 2.2))
    image[from_arch < 1.75] = stone * 0.95
    dark = from_arch < 1.45
    image[dark] = _paint((34, 34, 36), 1.3 - 0.25 * y)[dark]
    return image


def _paint(colour: tuple[float, float, float], factor: np.ndarray) -> np.ndarray:
    return np.array(colour, np.float32) * factor[..., None].astype(np.float32)


def _smooth_noise(rng: np.random.Generator, size: int, octaves: tuple[int, ...]) -> np.ndarray:
    """Return noise (size, size) in about [-1, 1] that tiles; an octave is a number of grains along a side."""
    total = np.zeros((size, size), np.float32)
    for grains in octaves:
        grid = np.pad(rng.uniform(-1, 1, (grains, grains)).astype(np.float32), 2, mode="wrap")
        step = size // grains
        fine = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += fine[2 * step : 2 * step + size, 2 * step : 2 * step + size]
    return total / np.sqrt(len(octaves))


def _sample(texture: np.ndarray, x: np.ndarray, z: np.ndarray, period: float) -> np.ndarray:
    """Return the texture at ground points; it repeats every ``period`` metres."""
    size = len(texture)
    row, column = (np.floor(axis / period * size).astype(int) % size for axis in (z, x))
    return texture[row, column]
