"""People who walk across a plain scene, as a normal clip: what synthetic anomalies are made of in tests."""

import cv2
import numpy as np

from vadistill.datasets.synthetic.anomalies import Degree, plan
from vadistill.datasets.synthetic.normal_clip import NormalClip

SIZE, FRAMES, BODY, STEP = (120, 240), 100, (12, 30), 1.2
WALKS = [(8, 70, 1), (225, 78, -1), (-40, 84, 1), (270, 90, -1)]  # x in frame 0, row of the feet, direction


def scene():
    smooth = np.random.default_rng(0).integers(120, 160, (8, 12, 3), dtype=np.uint8)
    return cv2.resize(smooth, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def people(t):
    """The boxes of the people of frame t that are wholly visible."""
    for start, row, direction in WALKS:
        x = start + direction * STEP * t
        if x >= 2 and x + BODY[0] <= SIZE[1] - 2:
            yield np.array([x, row - BODY[1], x + BODY[0], row])


def picture(t):
    frame = scene()
    for x1, y1, x2, y2 in people(t):
        frame[int(y1) : int(y2), round(x1) : round(x2)] = (30, 40, 90)
    return frame


def walkers(usable=range(FRAMES)):
    rows = [(t, box) for t in range(FRAMES) for box in people(t)]
    frame, box = np.array([t for t, _ in rows]), np.array([box for _, box in rows], np.float32)
    return NormalClip(frame, box, SIZE, usable, picture)


def nobody(usable=range(FRAMES)):
    return NormalClip(np.zeros(0, int), np.zeros((0, 4), np.float32), SIZE, usable, lambda t: scene())


def make(kind, clip, frames=FRAMES, seed=0, pace=(3.0, 3.0), haste=(2.0, 4.0)):
    return plan(kind, clip, frames, Degree(0.4, pace, haste), np.random.default_rng(seed))


def boxes_of(made):
    """The one box (T, 4) of each frame."""
    assert made.boxes.shape[1] == 1
    return made.boxes[:, 0]
