"""Small students whose weights show every mistake, windows for them, and what they say by the plain formula."""

from dataclasses import asdict

import cv2
import numpy as np
import torch

from vadistill.frame_level.student import StudentDetector
from vadistill.geometry.motion import MOVING
from vadistill.settings import StudentConfig, SurpriseConfig, canonical
from vadistill.student.network import Student, feature_grid, scale_frames
from vadistill.student.usual_motion import PROTOTYPES

SMALL = {"height": 50, "width": 70, "base_width": 4, "downsamplings": 2, "depth": 1, "heads": 2, "head_width": 8}


def write_student(path, resolutions=(1, 4, 16), surprise=None, **changes):
    """Write a student as it is written after distillation, with surprise by its settings, and return it."""
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
        used["surprise"] = surprise
        of = SurpriseConfig(**surprise).weights(settings)
        weights |= {f"surprise.{name}": value for name, value in usual_of(settings, of).items()}
    torch.save({"kind": "student", "settings": canonical(used), "weights": weights}, path)
    return student


def usual_of(settings, weights):
    """Return what is usual, by chance, as ``Surprise`` keeps it."""
    grid, drawn = feature_grid(settings), torch.Generator().manual_seed(1)
    width = settings.base_width << settings.downsamplings
    mean, spread = torch.rand((width, *grid), generator=drawn), 0.2 + torch.rand((width, *grid), generator=drawn)
    moving = torch.randn((PROTOTYPES, 13), generator=drawn)
    parts = {
        "features": {"mean": mean, "inverse_spread": 1 / spread},
        "motion": {
            "usual": 0.02 + 0.1 * torch.rand((grid[0], 1), generator=drawn),
            "factors": -2 * moving[:, :, None, None],
            "squares": moving.square().sum(1),
        },
    }
    scale = {"calm": torch.tensor([0.1, 0.5]), "rare": torch.tensor([1.5, 2.0]), "highest": torch.tensor(3.0)}
    made = {name: value[: len(weights)] if value.ndim else value for name, value in scale.items()}
    return made | {f"parts.{part}.{name}": value for part in weights for name, value in parts[part].items()}


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
def surprised_plainly(student, frames, usual, weights):
    """Return scores (N,) and maps {g: (N, g, g)} with surprise, cell by cell, by the formula of ``Surprise``.

    Args:
        student: Without it.
        frames: (N, C, H, W) uint8 windows.
        usual: What ``usual_of`` returns.
        weights: Of ``features`` and ``motion``, what there is of them.
    """
    scores, made = [], {}
    for frame in frames:
        features = student.backbone(scale_frames(torch.from_numpy(frame[None])))[0]
        maps, features = student.maps_of(features), features[0].numpy()
        far = {
            "features": lambda features=features: far_features(features, usual),
            "motion": lambda frame=frame, grid=features.shape[1:]: far_motion(frame[-4:], grid, usual),
        }
        g, highest = max(maps), usual["highest"].item()
        joined = np.tanh(maps[g][0, 0].numpy() / highest)
        for number, (part, weight) in enumerate(weights.items()):
            away = (highest_by_cell(far[part](), g) - usual["calm"][number].item()) / usual["rare"][number].item()
            joined = joined + weight * np.tanh(np.maximum(away, 0))
        finest = highest / np.tanh(1) * joined / (1 + sum(weights.values()))
        for side in maps:
            made.setdefault(side, []).append(highest_by_cell(finest, side))
        scores.append(finest.max())
    return np.array(scores), {side: np.array(cells) for side, cells in made.items()}


def highest_by_cell(grid, side):
    """Return the maxima (side, side) of a grid (H, W)."""
    height, width = grid.shape
    rows = [slice(i * height // side, -(-(i + 1) * height // side)) for i in range(side)]
    columns = [slice(j * width // side, -(-(j + 1) * width // side)) for j in range(side)]
    return np.array([[grid[row, column].max() for column in columns] for row in rows])


def far_features(features, usual):
    """Return how far features (C, H, W) are from what is usual at their place, (H, W)."""
    mean, inverse = usual["parts.features.mean"].numpy(), usual["parts.features.inverse_spread"].numpy()
    height, width = features.shape[1:]
    far = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            far[y, x] = np.sqrt(np.mean(((features[:, y, x] - mean[:, y, x]) * inverse[:, y, x]) ** 2))
    around = [[far[max(0, y - 7) : y + 8, max(0, x - 7) : x + 8].mean() for x in range(width)] for y in range(height)]
    return far - around


def cells_of_flow(planes, grid):
    """Return mean flows and highest speeds (6, R, C) of planes of flow (4, H, W) uint8, in heights of the frame."""
    flow = (planes.astype(np.float64) - 127) / 128 / 8
    size = -(-planes.shape[1] // grid[0])
    padded = np.zeros((4, size * grid[0], size * grid[1]))
    padded[:, : planes.shape[1], : planes.shape[2]] = flow
    made = np.empty((6, *grid))
    for y in range(grid[0]):
        for x in range(grid[1]):
            cell = padded[:, y * size : (y + 1) * size, x * size : (x + 1) * size]
            made[:4, y, x] = cell.mean((1, 2))
            made[4:, y, x] = np.hypot(cell[::2], cell[1::2]).max((1, 2))
    return made


def described_cells(cells, usual):
    """Return the features (13, R, C) of cells (6, R, C), given the usual speed (R,)."""
    own = cells / usual[:, None]
    wide = np.pad(own, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows, columns = cells.shape[1:]
    around = [[wide[:, y : y + 3, x : x + 3].mean((1, 2)) for x in range(columns)] for y in range(rows)]
    row = np.broadcast_to((np.arange(rows) / rows)[:, None], (1, rows, columns))
    return np.concatenate([own, np.array(around).transpose(2, 0, 1), row])


def far_motion(planes, grid, usual):
    """Return how far the motion of cells is from the nearest prototype, averaged over 3x3 cells, (R, C)."""
    cells = cells_of_flow(planes, grid)
    described = described_cells(cells, usual["parts.motion.usual"][:, 0].numpy().astype(np.float64))
    moving = cells[4:].min(0) >= MOVING
    prototypes = -0.5 * usual["parts.motion.factors"][:, :, 0, 0].numpy().astype(np.float64)
    far = np.zeros((grid[0] + 2, grid[1] + 2))
    for y, x in np.argwhere(moving):
        far[y + 1, x + 1] = np.sqrt(((prototypes - described[:, y, x]) ** 2).sum(1)).min()
    around = np.array([[far[y : y + 3, x : x + 3].mean() for x in range(grid[1])] for y in range(grid[0])])
    return around * moving
