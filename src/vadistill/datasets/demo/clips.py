"""Clips of the generated data set, drawn frame by frame with exact masks of the anomalies."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import cv2
import numpy as np

from vadistill.datasets.demo import clip_names
from vadistill.datasets.demo.actors import KINDS, Actor, anomaly, crowd, fits
from vadistill.datasets.demo.drawing import Sprite, draw, paste, shadow
from vadistill.datasets.demo.scene import Scene, make_scene
from vadistill.errors import InputError
from vadistill.settings import DemoConfig

Event = tuple[str, tuple[int, int]]  # kind of the anomaly; first frame, last frame + 1
Box = tuple[str, float, float, float, float]
ARCH_DEPTH = 0.9  # metres before the archway within which people fade into its dark
# A thing counts, with its box or as an anomaly, where so much of it is seen: of less, nobody could tell what it is.
LEAST_VISIBLE = 0.25  # share of it
LEAST_AREA = 10  # pixels


@dataclass(frozen=True)
class Light:
    """Light and camera of one clip.

    Args:
        brightness: Factor of each frame (T,).
        tint: Factor of blue, green and red (3,).
        shadows: Share of the light that a shadow takes.
        clouds: How deep the drifting shade of the clouds is.
        drift: Cells of the cloud texture that it moves a frame, in x and y.
        noise: Standard deviation of the sensor noise in grey levels.
        wind: How far the tops of the trees are moved in each frame (T,), as a share of the frame's height.
    """

    brightness: np.ndarray
    tint: np.ndarray
    shadows: float
    clouds: float
    drift: tuple[float, float]
    noise: float
    wind: np.ndarray


@dataclass(frozen=True)
class DrawnClip:
    """A clip that draws any of its frames on demand; equal seeds draw equal pixels."""

    scene: Scene
    light: Light
    actors: tuple[Actor, ...]
    seed: int

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray, list[Box]]:
        """Return frame (H, W, 3) uint8 BGR, mask (H, W) bool of what is seen of the anomalies, and boxes.

        Both are of things of which a quarter or more is within the frame and not hidden. A box is the class and x1, y1,
        x2, y2 in pixels, half-open, of what is within the frame.
        """
        scene, light = self.scene, self.light
        figures = [(actor, actor.shapes(index)) for actor in self.actors if actor.present[index]]
        frame = scene.background * (1 - light.shadows * scene.shade)[..., None]
        for _, shapes in figures:
            if (cast := shadow(shapes, scene.camera, scene.sun)) is not None:
                frame[cast[0]] *= 1 - light.shadows * cast[1][..., None]
        layers: list[tuple[float, Sprite, Actor | None]] = [
            (prop.z, prop.blown(light.wind[index] * scene.camera.height), None) for prop in scene.props
        ]
        for actor, shapes in figures:
            if (drawn := self._sprite(actor, index, shapes)) is not None:
                layers.append((actor.position[index, 1], drawn, actor))
        layers.sort(key=lambda layer: -layer[0])
        owner = np.full(frame.shape[:2], -1, np.int16)
        for number, (_, sprite, _) in enumerate(layers):
            paste(frame, sprite)
            owner[sprite.window][sprite.solid] = number
        mask = np.zeros(owner.shape, bool)
        boxes: list[Box] = []
        for number, (_, sprite, owned_by) in enumerate(layers):
            if owned_by is None:
                continue
            seen = owner[sprite.window] == number
            if seen.sum() < max(LEAST_AREA, LEAST_VISIBLE * sprite.whole_area):
                continue
            boxes.append((owned_by.label, *_bounds(sprite)))
            if owned_by.anomalous[index]:
                mask[sprite.window] |= seen
        return self._expose(frame, index), mask, boxes

    def _sprite(self, actor: Actor, index: int, shapes: list) -> Sprite | None:
        sprite = draw(shapes, self.scene.camera)
        light = (self.scene.layout.wall - actor.position[index, 1]) / ARCH_DEPTH
        if sprite is None or light >= 1:
            return sprite
        # Fades into the archway.
        bgra = (sprite.bgra * max(0.0, light)).astype(np.uint8)
        return Sprite(sprite.top, sprite.left, bgra, sprite.whole_area)

    def _expose(self, frame: np.ndarray, index: int) -> np.ndarray:
        """Return the frame under drifting clouds as a noisy sensor sees it, (H, W, 3) uint8."""
        light = self.light
        height, width = frame.shape[:2]
        rng = np.random.default_rng([self.seed, index])
        row, column = np.mgrid[0 : height : height / 12, 0 : width : width / 20].astype(np.float32)
        column = column * np.float32(20 / width) + np.float32(light.drift[0] * index)
        row = row * np.float32(20 / width) + np.float32(light.drift[1] * index)
        shade = cv2.remap(self.scene.clouds, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        shade = cv2.resize(1 - light.clouds * np.clip(0.5 + shade, 0, 1), (width, height))
        jitter = 1 + 0.004 * rng.standard_normal()
        frame *= (shade * (light.brightness[index] * jitter))[..., None] * light.tint
        frame += (light.noise * rng.standard_normal((height, width), np.float32))[..., None]
        return np.clip(frame, 0, 255).astype(np.uint8)


def _bounds(sprite: Sprite) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(sprite.solid.any(1)), np.flatnonzero(sprite.solid.any(0))
    top, left = sprite.top, sprite.left
    return (
        float(left + columns[0]),
        float(top + rows[0]),
        float(left + columns[-1] + 1),
        float(top + rows[-1] + 1),
    )


def random_light(rng: np.random.Generator, frames: int) -> Light:
    """Draw the light and the camera of a clip of ``frames`` frames."""
    moment = np.arange(frames)
    drift = sum(
        size * np.sin(2 * np.pi * moment / rng.uniform(*period) + rng.uniform(0, 6))
        for size, period in ((0.05, (90, 260)), (0.02, (30, 60)))
    )
    sway = rng.uniform(0.001, 0.012) * (
        np.sin(moment / rng.uniform(2.5, 4)) + 0.6 * np.sin(moment / rng.uniform(1.2, 2))
    )
    return Light(
        brightness=rng.uniform(0.85, 1.1) * (1 + drift),
        tint=(1 + rng.uniform(-0.03, 0.03, 3)).astype(np.float32),
        shadows=float(rng.uniform(0.2, 0.5)),
        clouds=float(rng.uniform(0.05, 0.25)),
        drift=(float(rng.uniform(-0.25, 0.25)), float(rng.uniform(-0.1, 0.1))),
        noise=float(rng.uniform(1.0, 4.0)),
        wind=sway.astype(np.float32),
    )


def random_clip(scene: Scene, seed: int, frames: int, events: list[Event]) -> DrawnClip:
    """Return a clip with a random crowd and light; ``events`` are kinds of anomalies with their windows of frames."""
    rng = np.random.default_rng([seed, 2])
    actors = [actor for kind, window in events for actor in anomaly(kind, scene, rng, frames, window)]
    people = rng.uniform(2.0, 5.5)
    return DrawnClip(scene, random_light(rng, frames), (*actors, *crowd(scene, rng, frames, people, actors)), seed)


def make_clip(settings: DemoConfig, split: str, name: str) -> DrawnClip:
    """Return the clip ``name`` of ``split``.

    Raises:
        InputError: There is no such clip.
    """
    names = clip_names(settings, split)
    if name not in names:
        raise InputError(f"demo: no clip '{name}' in {split}; it has {names[0]} to {names[-1]}")
    scene = scene_of_clip(settings, names.index(name))
    seed = crc32(f"{settings.seed}/{split}/{name}".encode())
    events = planned_events(settings, name) if split == "test" else []
    return random_clip(scene, seed, settings.frames, events)


def render_clip(settings: DemoConfig, split: str, name: str) -> Iterator[tuple[np.ndarray, np.ndarray, list[Box]]]:
    """Yield frame (H, W, 3) uint8 BGR, anomaly mask (H, W) bool and boxes of each frame of a clip.

    Raises:
        InputError: There is no such clip.
    """
    clip = make_clip(settings, split, name)
    return (clip.frame(index) for index in range(settings.frames))


def scene_of_clip(settings: DemoConfig, index: int) -> Scene:
    """Return the place of a split's clip ``index``, counted from 0: places take turns."""
    return _scene(settings.seed + index % settings.scenes, settings.height, settings.width)


@lru_cache(maxsize=2)
def _scene(seed: int, height: int, width: int) -> Scene:
    return make_scene(seed, height, width)


def planned_events(settings: DemoConfig, name: str) -> list[Event]:
    """Return the one or two anomalies of a test clip; the kinds take turns, so that six clips show them all."""
    index = clip_names(settings, "test").index(name)
    scene = scene_of_clip(settings, index)
    order = np.random.default_rng([settings.seed, 3]).permutation(len(KINDS))
    rng = np.random.default_rng([settings.seed, 4, index])
    kinds = [KINDS[order[index % len(KINDS)]]]
    if index % 2:
        kinds.append(KINDS[order[(index + 2 + index // len(KINDS)) % len(KINDS)]])
    frames = settings.frames
    parts = [(0, frames)] if len(kinds) == 1 else [(0, frames // 2), (frames // 2, frames)]
    events = []
    for kind, (low, high) in zip(kinds, parts, strict=True):
        share = rng.uniform(0.32, 0.5) if len(kinds) == 1 else rng.uniform(0.2, 0.28)
        length = max(3, round(share * frames))
        first = int(rng.integers(low, high - length + 1))
        if not fits(kind, scene, length):
            first = int(rng.choice([end for end in (0, frames - length) if low <= end <= high - length]))
        events.append((kind, (first, first + length)))
    return events
