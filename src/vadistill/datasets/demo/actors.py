"""Who does what in a clip: every actor as one pose a frame, normal or anomalous."""

from dataclasses import dataclass, replace

import numpy as np

from vadistill.datasets.demo import FRAME_RATE
from vadistill.datasets.demo.drawing import Camera, Shape
from vadistill.datasets.demo.figures import Pose, Style, bag, cart, cyclist, person, random_style
from vadistill.datasets.demo.scene import Layout, Scene

KINDS = ("run", "cycle", "cart", "throw", "against_flow", "loiter")
MOST_PEOPLE = 8
SPREAD = 2.0  # more people than the average that may be there at a time
WALKING = (1.05, 1.55)  # metres a second
SPEEDS = {"run": (3.2, 4.2), "cycle": (3.0, 4.6), "cart": (2.4, 3.4), "against_flow": WALKING, "throw": WALKING}
STRIDE = {False: 1.45, True: 2.6}  # metres of a whole cycle of the gait, walking and running
WHEEL_TURN = 5.0  # metres of a turn of the pedals
MARGIN = 1.3  # metres outside the frame at which ways begin and end, so that shadows enter smoothly
HALF_LENGTH = {"person": 0.3, "cyclist": 0.85, "cart": 1.2}  # metres
DRAW = {"person": person, "cyclist": cyclist, "cart": cart, "thing": bag}


@dataclass(frozen=True)
class Actor:
    """One figure over a whole clip of T frames.

    Args:
        label: Class name of the detector.
        style: Its looks.
        position: World x and z in metres (T, 2).
        heading: Radians (T,).
        phase: Radians of its gait (T,).
        stride: Size of its steps, 0 to 1 (T,).
        running: Whether it runs.
        up: Metres above the ground (T,).
        present: Frames in which it is there (T,) bool.
        anomalous: Frames in which what it does is an anomaly (T,) bool.
    """

    label: str
    style: Style
    position: np.ndarray
    heading: np.ndarray
    phase: np.ndarray
    stride: np.ndarray
    running: bool
    up: np.ndarray
    present: np.ndarray
    anomalous: np.ndarray

    def shapes(self, frame: int) -> list[Shape]:
        """Return the figure's shapes at ``frame``, the farthest first."""
        x, z = self.position[frame]
        heading, phase, stride = self.heading[frame], self.phase[frame], self.stride[frame]
        return DRAW[self.label](self.style, Pose(x, z, heading, phase, stride, self.running, self.up[frame]))


def crowd(scene: Scene, rng: np.random.Generator, frames: int, people: float, others: list[Actor]) -> list[Actor]:
    """Return pedestrians who keep to the rules.

    Together with the ``others`` there are about ``people`` at a time, so that their number tells no anomaly.
    """
    walkers = []
    count = sum((actor.present.astype(int) for actor in others), np.zeros(frames, int))
    most = min(MOST_PEOPLE, people + SPREAD)
    for _ in range(200):
        route = _route(scene.layout, scene.camera, rng)
        start = rng.uniform(-_duration(route, float(np.mean(WALKING))), frames)
        speed = _paused(rng, _steady(frames, start, rng.uniform(*WALKING)))
        pair = 2 if rng.random() < 0.15 else 1
        made = [_moving("person", rng, beside, speed, start) for beside in _side_by_side(route, pair)]
        there = sum((walker.present.astype(int) for walker in made), np.zeros(frames, int))
        if (count + there).max() > most or not there.any():
            continue
        walkers += made
        count += there
        if count.mean() >= people:
            break
    return walkers


def anomaly(kind: str, scene: Scene, rng: np.random.Generator, frames: int, window: tuple[int, int]) -> list[Actor]:
    """Return the actors of one anomaly of ``kind``.

    It begins with ``window`` (first, last + 1) and ends by itself or with the clip, so that whoever needs more frames
    to cross the scene wants a window at the end of the clip, or at its start: there it ends with the window.
    """
    if kind == "loiter":
        return [_loiterer(scene, rng, frames, window)]
    route = _lane(scene.layout, scene.camera, rng, against=kind == "against_flow")
    speed = rng.uniform(*SPEEDS[kind])
    if kind == "throw":
        return _thrower(rng, route, speed, frames, window)
    if kind == "run" and rng.random() < 0.3:
        route = _route(scene.layout, scene.camera, rng)
    label = {"cycle": "cyclist", "cart": "cart"}.get(kind, "person")
    first, last = window
    unseen = (MARGIN - HALF_LENGTH[label]) / speed * FRAME_RATE
    start = first - unseen
    if first == 0 and _duration(route, speed) - 2 * unseen > last:
        # Already under way when the clip begins, so that it is gone when the window ends.
        start = last + unseen - _duration(route, speed)
    actor = _moving(label, rng, route, _steady(frames, start, speed), start, running=kind == "run")
    return [replace(actor, anomalous=actor.present)]


def fits(kind: str, scene: Scene, length: int) -> bool:
    """Return whether an anomaly of ``kind`` can begin and end within ``length`` frames of a clip."""
    if kind in ("loiter", "throw"):
        return True
    across = 2 * scene.camera.half_width(scene.layout.far_lane)
    return across / SPEEDS[kind][0] * FRAME_RATE <= length


def _reach(camera: Camera, z: float) -> float:
    """Return how far to the side someone at depth ``z`` is out of the frame."""
    return camera.half_width(z) + MARGIN


def _lane(layout: Layout, camera: Camera, rng: np.random.Generator, against: bool = False) -> np.ndarray:
    """Return a way along the promenade (2, 2): people keep right, so that the near lane leads to the right."""
    near = rng.random() < 0.5
    z = (layout.near_lane if near else layout.far_lane) + rng.uniform(-0.7, 0.7)
    ends = np.array([[-_reach(camera, z), z], [_reach(camera, z), z]])
    return ends if near != against else ends[::-1]


def _route(layout: Layout, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Return a way (n, 2) of x and z from one border of the scene to another that keeps to the rules."""
    kind = rng.choice(["lane", "pavement", "away", "towards", "turn"], p=[0.46, 0.2, 0.1, 0.1, 0.14])
    if kind == "lane":
        return _lane(layout, camera, rng)
    if kind == "pavement":
        z = layout.near_pavement + rng.uniform(-0.4, 0.4)
        way = np.array([[-_reach(camera, z), z], [_reach(camera, z), z]])
        return way if rng.random() < 0.5 else way[::-1]
    right, left = (layout.path + side * rng.uniform(0.4, 1.4) for side in (1, -1))
    arch, front = layout.wall - 0.1, layout.near_pavement - 4.0
    if kind == "away":
        return np.array([[right, front], [right, arch]])
    if kind == "towards":
        return np.array([[left, arch], [left, front]])
    near, far = (z + rng.uniform(-0.5, 0.5) for z in (layout.near_lane, layout.far_lane))
    return [
        np.array([[left, arch], [left, near], [_reach(camera, near), near]]),
        np.array([[_reach(camera, far), far], [right, far], [right, arch]]),
        np.array([[-_reach(camera, near), near], [left, near], [left, front]]),
        np.array([[right, front], [right, far], [-_reach(camera, far), far]]),
    ][rng.integers(4)]


def _duration(route: np.ndarray, speed: float) -> float:
    """Return how many frames a route takes at ``speed`` metres a second."""
    return float(np.linalg.norm(np.diff(route, axis=0), axis=1).sum() / speed * FRAME_RATE)


def _side_by_side(route: np.ndarray, count: int) -> list[np.ndarray]:
    along = route[-1] - route[0]
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    return [route + across * 0.65 * index for index in range(count)]


def _steady(frames: int, start: float, speed: float) -> np.ndarray:
    """Return speeds (T - earliest,) in metres a second from frame min(0, start) on."""
    return np.full(frames + max(0, int(np.ceil(-start))), speed)


def _paused(rng: np.random.Generator, speed: np.ndarray) -> np.ndarray:
    """Let one in four stop for up to 1.5 s; everybody's speed varies a little."""
    speed = speed * (1 + 0.06 * np.sin(np.arange(len(speed)) / rng.uniform(6, 15) + rng.uniform(0, 6)))
    if rng.random() < 0.25:
        at, length = rng.integers(len(speed)), int(rng.uniform(0.6, 1.5) * FRAME_RATE)
        speed[at : at + length] *= 0.02
        speed = np.convolve(np.pad(speed, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    return speed


def _moving(
    label: str,
    rng: np.random.Generator,
    route: np.ndarray,
    speed: np.ndarray,
    start: float,
    running: bool = False,
) -> Actor:
    """Return an actor who follows a route from frame ``start`` on; ``speed`` ends with the clip's last frame."""
    earliest = -max(0, int(np.ceil(-start)))
    frames = len(speed) + earliest
    moment = np.arange(earliest, frames)
    walked = np.cumsum(speed * np.clip(moment - start, 0, 1)) / FRAME_RATE
    corners = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(route, axis=0), axis=1))])
    # Averaging over half a metre before and after rounds the corners off.
    around = walked[:, None] + np.linspace(-0.5, 0.5, 5)
    position = np.stack([np.interp(around, corners, route[:, axis]).mean(1) for axis in (0, 1)], 1)
    ahead = np.stack([np.interp(walked + 0.6, corners, route[:, axis]) for axis in (0, 1)], 1)
    behind = np.stack([np.interp(walked - 0.6, corners, route[:, axis]) for axis in (0, 1)], 1)
    direction = ahead - behind
    present = (moment >= start) & (walked < corners[-1])
    turn = WHEEL_TURN if label == "cyclist" else STRIDE[running]
    shown = slice(-earliest, None)
    return Actor(
        label,
        random_style(rng),
        position[shown],
        np.arctan2(direction[:, 1], direction[:, 0])[shown],
        (2 * np.pi * walked / turn + rng.uniform(0, 6))[shown],
        np.clip(speed / 1.1, 0, 1)[shown],
        running,
        np.zeros(frames),
        present[shown],
        np.zeros(frames, bool),
    )


def _thrower(
    rng: np.random.Generator, route: np.ndarray, speed: float, frames: int, window: tuple[int, int]
) -> list[Actor]:
    """Return a pedestrian and the bag that they throw up again and again; only the bag is the anomaly."""
    first, last = window
    start = (first + last) / 2 - rng.uniform(0.4, 0.6) * _duration(route, speed)
    walker = _moving("person", rng, route, _steady(frames, start, speed), start)
    period = max(4, round((last - first) / max(1, round((last - first) / (1.25 * FRAME_RATE)))))
    flight = (np.arange(frames) - first) % period / period
    height = 1.1 + rng.uniform(1.5, 2.0) * 4 * flight * (1 - flight)
    inside = (np.arange(frames) >= first) & (np.arange(frames) < last) & walker.present
    forward = np.stack([np.cos(walker.heading), np.sin(walker.heading)], 1)
    tumbling = np.arange(frames) * rng.uniform(0.4, 0.9)
    thing = replace(
        walker,
        label="thing",
        style=random_style(rng),
        position=walker.position + (0.35 + 0.3 * np.sin(np.pi * flight))[:, None] * forward - [0, 0.2],
        phase=tumbling,
        up=height,
        present=inside,
        anomalous=inside,
    )
    return [walker, thing]


def _loiterer(scene: Scene, rng: np.random.Generator, frames: int, window: tuple[int, int]) -> Actor:
    """Return someone who leaves the walkway within the window and strolls about on the lawn."""
    layout, (first, last) = scene.layout, window
    near = rng.random() < 0.5
    z = layout.near_lane - 0.6 if near else layout.far_lane + 0.6
    aside = -1.15 if near else rng.uniform(1.6, 2.6)
    side = np.sign(layout.path)
    beside_path = 2.8 - abs(layout.path)
    turn_off = -side * rng.uniform(beside_path, max(beside_path, 0.75 * scene.camera.half_width(z)))
    way = 1.0 if near else -1.0
    moment = np.arange(frames)
    lane_speed = rng.uniform(*WALKING)
    inside = (moment >= first) & (moment < last)
    before, after = np.minimum(moment - first, 0), np.maximum(moment - last + 1, 0)
    x = turn_off + way * lane_speed / FRAME_RATE * (before + after)
    turning = min(2.0 * FRAME_RATE, 0.25 * (last - first))  # frames to reach the lawn, and to come back
    stroll = np.clip(np.minimum(moment - first, last - 1 - moment) / turning, 0, 1)
    stroll = stroll * stroll * (3 - 2 * stroll)
    wander = 0.5 * np.sin(moment / rng.uniform(9, 13)) + 0.3 * np.sin(moment / rng.uniform(5, 7) + 1)
    position = np.stack([x + stroll * wander, z + stroll * (aside + 0.15 * np.sin(moment / 11))], 1)
    step = np.gradient(position, axis=0)
    speed = np.linalg.norm(step, axis=1) * FRAME_RATE
    heading = np.arctan2(step[:, 1], step[:, 0])
    return Actor(
        "person",
        random_style(rng),
        position,
        np.unwrap(heading),
        2 * np.pi * np.cumsum(speed) / FRAME_RATE / STRIDE[False],
        np.clip(speed / 1.1, 0, 1),
        False,
        np.zeros(frames),
        np.abs(position[:, 0]) < _reach(scene.camera, z),
        inside,
    )
