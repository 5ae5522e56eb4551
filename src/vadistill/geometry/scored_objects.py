"""The scored objects of a clip: what travels from a teacher to its maps, frame scores and regions."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ScoredObjects:
    """The objects of one clip with their calibrated scores.

    Attributes:
        frames: Number of frames T of the clip.
        size: Height and width of the frame in pixels.
        frame: (N,) frame numbers.
        box: (N, 4) xyxy in pixels.
        score: (N,) calibrated scores, at least 0; not cut at 1, so that the ranks of very abnormal objects are kept.
    """

    frames: int
    size: tuple[int, int]
    frame: np.ndarray
    box: np.ndarray
    score: np.ndarray


def no_objects(frames: int, size: tuple[int, int]) -> ScoredObjects:
    """Return the objects of a clip that has none, given its number of frames and its height and width in pixels."""
    return ScoredObjects(frames, size, np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))
