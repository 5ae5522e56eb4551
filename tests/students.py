"""Small students whose weights show every mistake, windows for them, and what they say by the plain formula."""

from dataclasses import asdict

import cv2
import numpy as np
import torch

from vadistill.frame_level.student import StudentDetector
from vadistill.settings import StudentConfig, canonical
from vadistill.student.network import Student

SMALL = {"height": 50, "width": 70, "base_width": 4, "downsamplings": 2, "depth": 1, "heads": 2, "head_width": 8}


def write_student(path, resolutions=(1, 4, 16), **changes):
    """Write a student as it is written after distillation, and return it."""
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
    torch.save({"kind": "student", "settings": canonical(used), "weights": student.state_dict()}, path)
    return student


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
