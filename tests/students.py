"""Small students whose weights show every mistake, windows for them, and what they say by the plain formula."""

from dataclasses import asdict

import cv2
import numpy as np
import torch

from vadistill.frame_level.student import StudentDetector
from vadistill.settings import StudentConfig, canonical
from vadistill.student.network import Student, feature_grid, scale_frames

SMALL = {"height": 50, "width": 70, "base_width": 4, "downsamplings": 2, "depth": 1, "heads": 2, "head_width": 8}


def write_student(path, resolutions=(1, 4, 16), surprise=0.0, **changes):
    """Write a student as it is written after distillation, with surprise of a weight, and return it."""
    settings = StudentConfig(**{**SMALL, **changes})
    torch.manual_seed(0)
    student = Student(settings, resolutions).eval()
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # an untrained one is nearly the identity
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    for head in student.heads.values():  # an untrained one says nearly the same of everything
        head.output.weight.data.mul_(20)
    used = {"student": vars(settings), "maps": {"resolutions": list(resolutions)}}
    weights = student.state_dict()
    if surprise:
        used["surprise"] = {"weight": surprise}
        weights |= {f"surprise.{name}": value for name, value in usual_places(settings).items()}
    torch.save({"kind": "student", "settings": canonical(used), "weights": weights}, path)
    return student


def usual_places(settings):
    """Return what is usual at each place, by chance."""
    shape = (settings.base_width << settings.downsamplings, *feature_grid(settings))
    drawn = torch.Generator().manual_seed(1)
    mean, spread = torch.rand(shape, generator=drawn), 0.2 + torch.rand(shape, generator=drawn)
    return {"mean": mean, "inverse_spread": 1 / spread, "scale": torch.tensor([0.1, 1.5, 3.0])}


def detector_of(settings, resolutions=(1, 4, 16)):
    """Return the frame-level detector of a student of these settings."""
    return StudentDetector({"student": asdict(settings), "maps": {"resolutions": list(resolutions)}})


def windows_of(count, height=50, width=70, channels=9, seed=0):
    """Return (count, channels, height, width) uint8 of bright and dark spots, each window of another contrast."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, channels, 5, 7)) * np.linspace(0.3, 1, count)[:, None, None, None]
    fine = [[cv2.resize(grid.astype(np.float32), (width, height)) for grid in window] for window in coarse]
    return np.clip(np.array(fine).round(), 0, 255).astype(np.uint8)


@torch.no_grad()
def said_plainly(student, frames):
    """Return scores (N,) and maps {g: (N, g, g)}, frame by frame, by nothing of the package but the network itself."""
    maps = [student((torch.from_numpy(frame[None]).float() - 127) / 128) for frame in frames]
    grids = {g: np.concatenate([made[g][:, 0].numpy() for made in maps]) for g in maps[0]}
    return np.mean([grid.max((1, 2)) for grid in grids.values()], axis=0), grids


@torch.no_grad()
def surprised_plainly(student, frames, usual, weight):
    """Return scores (N,) and maps {g: (N, g, g)} with surprise, cell by cell, by the formula of ``Surprise``."""
    calm, rare, highest = usual["scale"].numpy()
    mean, inverse = usual["mean"].numpy(), usual["inverse_spread"].numpy()
    scores, made = [], {}
    for frame in frames:
        features = student.backbone(scale_frames(torch.from_numpy(frame[None])))[0]
        maps, features = student.maps_of(features), features[0].numpy()
        height, width = features.shape[1:]
        far = np.empty((height, width))
        for y in range(height):
            for x in range(width):
                far[y, x] = np.sqrt(np.mean(((features[:, y, x] - mean[:, y, x]) * inverse[:, y, x]) ** 2))
        far = far - [
            [far[max(0, y - 7) : y + 8, max(0, x - 7) : x + 8].mean() for x in range(width)] for y in range(height)
        ]
        g = max(maps)
        finest = np.empty((g, g))
        for i in range(g):
            for j in range(g):
                rows = slice(i * height // g, -(-(i + 1) * height // g))
                cell = far[rows, j * width // g : -(-(j + 1) * width // g)].max()
                surprise = np.tanh(max(0.0, (cell - calm) / rare))
                learned = np.tanh(float(maps[g][0, 0, i, j]) / highest)
                finest[i, j] = highest / np.tanh(1) * (learned + weight * surprise) / (1 + weight)
        for side in maps:
            cells = [
                [
                    finest[a * g // side : -(-(a + 1) * g // side), b * g // side : -(-(b + 1) * g // side)].max()
                    for b in range(side)
                ]
                for a in range(side)
            ]
            made.setdefault(side, []).append(cells)
        scores.append(finest.max())
    return np.array(scores), {side: np.array(cells) for side, cells in made.items()}
