"""Backends and frames for tests of the way from a video to scores."""

import numpy as np
import torch

from vadistill.inference.backend import BatchScores
from vadistill.settings import StudentConfig
from vadistill.student.network import Student, frame_scores, scale_frames

SIDES = (1, 4)
NETWORK = StudentConfig(
    height=24, width=40, base_width=2, downsamplings=2, depth=1, heads=1, head_width=4, frame_step=3
)


class Reference:
    """A small student in torch, as it comes."""

    name, size, offsets, flow, resolutions, conditions = "reference", (24, 40), (-3, 0, 3), "none", SIDES, None

    def __init__(self):
        torch.manual_seed(0)
        self.student = Student(NETWORK, SIDES).eval()

    @torch.inference_mode()
    def __call__(self, frames):
        maps = self.student(scale_frames(torch.from_numpy(frames)))
        return BatchScores(frame_scores(maps).numpy(), {g: grid[:, 0].numpy() for g, grid in maps.items()})


class Means:
    """Scores that say which frame was judged."""

    name, size, offsets, flow, resolutions, conditions = "means", (8, 8), (-3, 0, 3), "none", (), None

    def __call__(self, frames):
        self.given = frames
        return BatchScores(frames[:, 3:6].mean((1, 2, 3)).astype(np.float32), {})


def noise(count, height=30, width=50):
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def joined(parts):
    parts = list(parts)
    maps = {g: np.concatenate([part.maps[g] for part in parts]) for g in parts[0].maps}
    return BatchScores(np.concatenate([part.score for part in parts]), maps)
