"""People, a cyclist, a cart and a bag as shapes.

Local coordinates are metres: forward, left, up, from the point of the ground below the figure.
"""

from dataclasses import dataclass

import numpy as np

from vadistill.datasets.demo.drawing import Shape

SKIN = ((128, 160, 206), (102, 132, 186), (82, 108, 158), (58, 78, 116), (46, 58, 84))
HAIR = ((28, 30, 36), (36, 52, 74), (70, 106, 140), (118, 122, 126), (34, 40, 62))
CLOTHES = (
    (52, 48, 164),
    (150, 86, 44),
    (84, 122, 62),
    (58, 60, 64),
    (206, 208, 206),
    (60, 150, 196),
    (132, 62, 112),
    (176, 160, 92),
    (98, 74, 48),
    (120, 130, 214),
)
VIVID = ((40, 40, 200), (40, 190, 230), (200, 120, 40), (90, 190, 90), (225, 225, 225), (190, 80, 190))
TROUSERS = ((104, 70, 48), (62, 52, 46), (44, 44, 48), (112, 132, 150), (76, 84, 92), (84, 96, 72))
METAL, RUBBER = (92, 92, 96), (36, 36, 38)
Leg = tuple[np.ndarray, np.ndarray, np.ndarray]  # hip, knee, ankle
UPPER_LEG, LOWER_LEG, UPPER_ARM, LOWER_ARM = 0.44, 0.42, 0.28, 0.27


@dataclass(frozen=True)
class Style:
    """What a person looks like: height in metres, BGR colours.

    ``build`` widens the trunk; ``luggage`` is none, backpack or handbag, in the colour ``cloth`` as skirts are;
    ``paint`` is the colour of a vehicle or of a thrown bag.
    """

    height: float
    build: float
    skin: tuple[float, ...]
    hair: tuple[float, ...]
    top: tuple[float, ...]
    trousers: tuple[float, ...]
    skirt: bool
    luggage: str
    cloth: tuple[float, ...]
    paint: tuple[float, ...]


@dataclass(frozen=True)
class Pose:
    """How a figure stands at one frame.

    Args:
        x: World position in metres.
        z: World position in metres.
        heading: Radians from the x axis to the z axis.
        phase: Radians of the gait, the pedals or the tumbling.
        stride: 0 standing, 1 walking.
        running: Gait of a runner.
        up: Metres above the ground, of a thrown thing.
    """

    x: float
    z: float
    heading: float
    phase: float
    stride: float = 1.0
    running: bool = False
    up: float = 0.0


def random_style(rng: np.random.Generator) -> Style:
    """Draw the looks of a person and the paint of their vehicle."""
    return Style(
        height=float(np.clip(rng.normal(1.72, 0.09), 1.5, 1.95)),
        build=float(rng.uniform(0.85, 1.25)),
        skin=_vary(rng, SKIN),
        hair=_vary(rng, HAIR),
        top=_vary(rng, CLOTHES),
        trousers=_vary(rng, TROUSERS),
        skirt=bool(rng.random() < 0.15),
        luggage=str(rng.choice(["none", "none", "backpack", "handbag"])),
        cloth=_vary(rng, CLOTHES),
        paint=_vary(rng, VIVID),
    )


def _vary(rng: np.random.Generator, colours: tuple) -> tuple[float, ...]:
    colour = np.array(colours[rng.integers(len(colours))]) + rng.normal(0, 9, 3)
    return tuple(float(value) for value in np.clip(colour, 0, 255))


def person(style: Style, pose: Pose) -> list[Shape]:
    """Return a standing, walking or running person."""
    shapes = _body(style, *_gait(pose), lean=0.2 if pose.running else 0.03, bent=1.5 if pose.running else 0.25)
    return _place(shapes, pose, style.height / 1.75)


def cyclist(style: Style, pose: Pose) -> list[Shape]:
    """Return a person who rides a bicycle."""
    hip = np.array([-0.18, 0.0, 0.98])
    legs = []
    for side, turn in ((1, 0.0), (-1, np.pi)):
        pedal = np.array([0.1 + 0.17 * np.cos(pose.phase + turn), 0.1 * side, 0.3 - 0.17 * np.sin(pose.phase + turn)])
        start = hip + _vector(0, 0.1 * side, 0)
        legs.append((start, _knee(start, pedal), pedal))
    bars = np.array([0.42, 0.0, 1.05])
    wheels = [_wheel(centre, 0.33) for centre in (-0.5, 0.55)]
    frame = [((-0.5, 0.33), (-0.14, 0.85)), ((-0.5, 0.33), (0.1, 0.3)), ((0.1, 0.3), (-0.16, 0.92))]
    frame += [((-0.14, 0.82), (0.4, 0.86)), ((0.1, 0.3), (0.42, 0.8)), ((0.55, 0.33), (0.42, 1.02))]
    tubes = [Shape(np.array([[a[0], 0, a[1]], [b[0], 0, b[1]]]), 0.025, style.paint) for a, b in frame]
    rider = _body(style, hip, legs, np.zeros(2), lean=0.5, bent=0.0, hands=bars)
    return _place([*wheels, *tubes, *rider], pose, 1.0)


def cart(style: Style, pose: Pose) -> list[Shape]:
    """Return a small electric cart with a roof and a driver."""
    rider = np.array([-0.1, 0.28, 0.78])
    legs = [
        (rider + _vector(0, s, 0), rider + _vector(0.42, s, 0.0), rider + _vector(0.5, s, -0.4)) for s in (-0.1, 0.1)
    ]
    driver = _body(style, rider, legs, np.zeros(2), lean=0.1, bent=0.0, hands=np.array([0.4, 0.28, 1.15]))
    dark = tuple(0.7 * value for value in style.paint)
    boxes = _box((-1.15, 1.2), (-0.58, 0.58), (0.28, 0.68), style.paint)
    boxes += _box((-1.1, -0.5), (-0.52, 0.52), (0.68, 1.15), dark)
    boxes += _box((0.7, 1.2), (-0.55, 0.55), (0.68, 0.98), style.paint)
    posts = [
        Shape(np.array([[f, s, 0.68], [0.8 * f, s, 1.85]]), 0.035, METAL) for f in (-1.05, 1.0) for s in (-0.55, 0.55)
    ]
    roof = _box((-1.0, 0.95), (-0.62, 0.62), (1.85, 1.95), (222, 226, 226))
    wheels = [
        Shape(np.array([[f, s - 0.07, 0.25], [f, s + 0.07, 0.25]]), 0.25, RUBBER)
        for f in (-0.75, 0.8)
        for s in (-0.52, 0.52)
    ]
    return _place([*wheels, *boxes, *driver, *posts, *roof], pose, 1.0)


def bag(style: Style, pose: Pose) -> list[Shape]:
    """Return a tumbling bag of half a metre."""
    c, s = np.cos(pose.phase), np.sin(pose.phase)
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    parts = [Shape(np.array([[0, -0.14, z], [0, 0.14, z]]) @ turn, 0.17, style.paint) for z in (-0.1, 0.1)]
    angle = np.linspace(0, np.pi, 6)
    handle = np.stack([0.13 * np.cos(angle), 0 * angle, 0.24 + 0.12 * np.sin(angle)], 1) @ turn
    return _place([Shape(handle, 0.025, RUBBER), *parts], pose, 1.0)


def _gait(pose: Pose) -> tuple[np.ndarray, list[Leg], np.ndarray]:
    """Return hip (3,), two legs as (hip, knee, ankle) and the swing of both arms (2,) in radians."""
    swing, bend = (0.85, 1.5) if pose.running else (0.45 * pose.stride, 0.85 * pose.stride)
    legs = []
    for side, turn in ((1, 0.0), (-1, np.pi)):
        thigh = swing * np.sin(pose.phase + turn)
        shin = thigh - bend * max(0.0, np.cos(pose.phase + turn)) - 0.08
        start = np.array([0.0, 0.1 * side, 0.0])
        knee = start + UPPER_LEG * np.array([np.sin(thigh), 0, -np.cos(thigh)])
        legs.append((start, knee, knee + LOWER_LEG * np.array([np.sin(shin), 0, -np.cos(shin)])))
    lowest = min(ankle[2] for _, _, ankle in legs)
    flight = 0.06 * abs(np.cos(pose.phase)) if pose.running else 0.0
    hip = np.array([0.0, 0.0, 0.07 - lowest + flight])
    arms = -1.1 * swing * np.sin(pose.phase + np.array([0.0, np.pi]))
    return hip, [tuple(joint + hip for joint in leg) for leg in legs], arms


def _body(
    style: Style,
    hip: np.ndarray,
    legs: list[Leg],
    arms: np.ndarray,
    lean: float,
    bent: float,
    hands: np.ndarray | None = None,
) -> list[Shape]:
    """Return the shapes of a body from hip (3,) and legs on.

    The trunk leans forwards by ``lean`` radians; ``arms`` (2,) swing by radians with elbows ``bent`` by radians,
    unless ``hands`` (3,) fixes where both hands are.
    """
    up = np.array([np.sin(lean), 0.0, np.cos(lean)])
    shoulder, head = hip + 0.5 * up, hip + 0.75 * up + [0.02, 0, 0]
    shapes = []
    for side, leg, arm in zip((1, -1), legs, arms, strict=True):
        start, knee, ankle = leg
        lower = style.skin if style.skirt else style.trousers
        shapes.append(Shape(np.array([start, knee]), 0.085 * style.build, style.trousers))
        shapes.append(Shape(np.array([knee, ankle]), 0.062 * style.build, lower))
        shapes.append(
            Shape(np.array([ankle + _vector(-0.03, 0, -0.02), ankle + _vector(0.16, 0, -0.03)]), 0.05, RUBBER)
        )
        joint = shoulder + _vector(0, 0.2 * style.build * side, -0.04)
        if hands is None:
            elbow = joint + UPPER_ARM * np.array([np.sin(arm), 0, -np.cos(arm)])
            hand = elbow + LOWER_ARM * np.array([np.sin(arm + bent), 0, -np.cos(arm + bent)])
        else:
            hand = hands + _vector(0, 0.2 * side, 0)
            elbow = (joint + hand) / 2 + _vector(0, 0.05 * side, -0.08)
        shapes.append(Shape(np.array([joint, elbow]), 0.055 * style.build, style.top))
        shapes.append(Shape(np.array([elbow, hand]), 0.045, style.skin))
    for side in (-1, 1, 0):
        wide = np.array([0.0, 0.085 * style.build * side, 0.0])
        shapes.append(Shape(np.array([hip + wide, shoulder + 1.2 * wide - 0.06 * up]), 0.115 * style.build, style.top))
        if style.skirt:
            shapes.append(
                Shape(np.array([hip + wide, hip + 1.2 * wide - [0, 0, 0.3]]), 0.12 * style.build, style.cloth)
            )
    shapes.append(Shape(np.array([shoulder, head - 0.05 * up]), 0.055, style.skin))
    shapes.append(Shape(head[None], 0.115, style.skin))
    shapes.append(Shape((head + _vector(-0.035, 0, 0.045))[None], 0.115, style.hair))
    if style.luggage == "backpack":
        shapes.append(Shape(np.array([hip + 0.15 * up, hip + 0.42 * up]) - [0.2, 0, 0], 0.12, style.cloth))
    elif style.luggage == "handbag" and hands is None:
        side = hip + _vector(0, 0.27 * style.build, -0.12)
        shapes.append(Shape(np.array([side - _vector(0.08, 0, 0), side + _vector(0.1, 0, 0)]), 0.09, style.cloth))
    return shapes


def _vector(forward: float, left: float, up: float) -> np.ndarray:
    return np.array([forward, left, up])


def _knee(hip: np.ndarray, foot: np.ndarray) -> np.ndarray:
    """Return where the knee lies between hip and foot, bent forwards (the two-link inverse kinematics of a leg)."""
    line = foot - hip
    half = np.linalg.norm(line) / 2
    bend = np.sqrt(np.maximum(((UPPER_LEG + LOWER_LEG) / 2) ** 2 - half**2, 0.0))
    forward = np.array([-line[2], 0.0, line[0]]) / (2 * half)
    return hip + line / 2 + bend * forward


def _wheel(forward: float, radius: float) -> Shape:
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    points = np.stack([forward + radius * np.cos(angle), 0 * angle, radius + radius * np.sin(angle)], 1)
    return Shape(points, 0.03, RUBBER)


def _box(forward: tuple, left: tuple, up: tuple, colour: tuple) -> list[Shape]:
    """Return the five visible faces of a box, each in its own light."""
    (f0, f1), (l0, l1), (u0, u1) = forward, left, up
    faces = [([(f, l0, u0), (f, l1, u0), (f, l1, u1), (f, l0, u1)], 0.85) for f in (f0, f1)]
    faces += [([(f0, s, u0), (f1, s, u0), (f1, s, u1), (f0, s, u1)], 1.0) for s in (l0, l1)]
    faces.append(([(f0, l0, u1), (f1, l0, u1), (f1, l1, u1), (f0, l1, u1)], 1.15))
    return [Shape(np.array(face), 0.0, tuple(min(255.0, light * v) for v in colour)) for face, light in faces]


def _place(shapes: list[Shape], pose: Pose, size: float) -> list[Shape]:
    """Return the shapes in world coordinates, the farthest first."""
    c, s = np.cos(pose.heading), np.sin(pose.heading)
    turn = np.array([[c, 0, s], [-s, 0, c], [0, 1, 0]]) * size
    moved = [
        Shape(shape.points @ turn + [pose.x, pose.up, pose.z], shape.radius * size, shape.colour) for shape in shapes
    ]
    return sorted(moved, key=lambda shape: -shape.points[:, 2].mean())
