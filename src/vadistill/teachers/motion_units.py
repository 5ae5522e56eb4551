"""Units that flow is divided by: the box's diagonal, the usual speed at its place, or fixed pixels.

They are fitted on normal objects only, so that about one is the highest usual speed.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from vadistill.errors import InputError
from vadistill.geometry.scene_statistics import BANDS, Bands, Statistic, at_scene, fit_scenes
from vadistill.teachers.base import Batch

CHUNK = 1024
FLOW_NOISE = 0.1  # pixels; errors of dense flow where nothing moves
PIXELS = 20.0
TOLERANCE = 0.05  # of the frame height; so near the training rows a table still tells what is usual


def object_speed(flow: Tensor) -> Tensor:
    """Return the speed (N,) of objects: the 90th percentile of the flow's length in the box, mean over the flows.

    Args:
        flow: (N, K, 2, H, W), any unit.
    """
    parts = []
    for part in flow.split(CHUNK):
        length = torch.hypot(part[:, :, 0].float(), part[:, :, 1].float()).flatten(2)
        parts.append(length.kthvalue(max(1, round(0.9 * length.shape[2])), dim=2).values.mean(dim=1))
    return torch.cat(parts)


class SceneTable(nn.Module):
    """Statistics by scene and row of the box's lower edge (``geometry.scene_statistics``), in buffers of one shape.

    Rows are fractions of the frame height, so that clips of one scene may differ in size. The last of the S + 1 tables
    is for objects of unknown scenes.
    """

    rows: Tensor
    values: Tensor
    fitted: Tensor

    def __init__(self, scenes: int, statistics: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(scenes + 1, BANDS))
        self.register_buffer("values", torch.ones(scenes + 1, BANDS, statistics))
        # Lowest and highest training row; no row lies within those of a scene without training objects.
        self.register_buffer("fitted", torch.tensor([torch.inf, -torch.inf]).repeat(scenes + 1, 1))

    def fit(self, value: Tensor, objects: Batch, statistic: Statistic) -> None:
        """Fit all tables.

        Args:
            value: (N, V) what is measured of each object.
            objects: ``box``, ``size`` and ``scene`` of the objects.
            statistic: Of the objects of a band: (n, V) to (W,).

        Raises:
            InputError: There are no objects.
        """
        if not len(value):
            raise InputError("usual speed and size: no training objects; expected at least one")
        scene, row = objects["scene"].cpu().numpy(), _row(objects).double().cpu().numpy()
        tables = fit_scenes(scene, row, value.double().cpu().numpy(), statistic, len(self.rows) - 1)
        for index, table in enumerate(tables):
            # Unused entries repeat the last band, so that the table has one shape whatever was merged.
            band = np.minimum(np.arange(BANDS), len(table.rows) - 1)
            self.rows[index] = torch.from_numpy(table.rows[band])
            self.values[index] = torch.from_numpy(table.values[band])
        for index in np.unique(scene):
            of = row[scene == index]
            self.fitted[index] = torch.tensor([of.min(), of.max()])

    def forward(self, batch: Batch) -> Tensor:
        """Return the statistics (N, W) where the objects stand."""
        tables = [Bands(*table) for table in zip(self.rows.cpu().numpy(), self.values.cpu().numpy(), strict=True)]
        row = _row(batch)
        found = at_scene(tables, batch["scene"].cpu().numpy(), row.cpu().numpy())
        return torch.from_numpy(found).to(row)

    def unseen_place(self, batch: Batch) -> Tensor:
        """Return which objects (N,) stand where no training object of their scene stood, or in an unknown scene."""
        row, (low, high) = _row(batch), self.fitted[batch["scene"]].unbind(1)
        return (row < low - TOLERANCE) | (row > high + TOLERANCE)


def _row(objects: Batch) -> Tensor:
    """Return the rows (N,) of the boxes' lower edges as fractions of the frame height."""
    return objects["box"][:, 3] / objects["size"][:, 0]


class BoxUnit(nn.Module):
    """Speed in box diagonals, scaled by one number for all objects."""

    speed: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("speed", torch.ones(()))

    def fit(self, speed: Tensor, objects: Batch) -> None:
        """Take the 95th percentile of speeds in box diagonals as one; arguments and errors as in ``SceneUnit.fit``."""
        if not len(speed):
            raise InputError("usual speed: no training objects; expected at least one")
        usual = _usual_speed((speed / _diagonal(objects["box"])).cpu().numpy())
        self.speed.fill_(max(float(usual), 1e-3))

    def forward(self, batch: Batch) -> Tensor:
        """Return the unit (N,) in pixels."""
        return self.speed * _diagonal(batch["box"])


class SceneUnit(nn.Module):
    """Usual speed by scene and row: the 95th percentile of the speeds of the training objects of a band."""

    def __init__(self, scenes: int) -> None:
        super().__init__()
        self.table = SceneTable(scenes, 1)

    def fit(self, speed: Tensor, objects: Batch) -> None:
        """Fit the tables.

        Args:
            speed: (N,) pixels.
            objects: Training objects.

        Raises:
            InputError: There are no objects.
        """
        self.table.fit((speed.clamp_min(FLOW_NOISE) / objects["size"][:, 0])[:, None], objects, _usual_speed)

    def forward(self, batch: Batch) -> Tensor:
        """Return the unit (N,) in pixels."""
        return self.table(batch)[:, 0] * batch["size"][:, 0]

    def unseen_place(self, batch: Batch) -> Tensor:
        """Return which objects (N,) stand where no training object stood (``SceneTable.unseen_place``)."""
        return self.table.unseen_place(batch)


class PixelUnit(nn.Module):
    """The same number of pixels for all objects."""

    def fit(self, speed: Tensor, objects: Batch) -> None:
        """Do nothing; arguments as in ``SceneUnit.fit``."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the unit (N,) in pixels."""
        return torch.full_like(batch["box"][:, 0], PIXELS)


Unit = BoxUnit | SceneUnit | PixelUnit


def make_unit(normalise: str, scenes: int) -> Unit:
    """Return a new unit: ``box``, ``scene`` or ``pixels``."""
    kinds: dict[str, Callable[[], Unit]] = {"box": BoxUnit, "scene": lambda: SceneUnit(scenes), "pixels": PixelUnit}
    return kinds[normalise]()


def _usual_speed(speed: np.ndarray) -> np.ndarray:
    """Return the 95th percentile over the first axis, one of the values."""
    return np.sort(speed, axis=0)[max(1, round(0.95 * len(speed))) - 1]


def _diagonal(box: Tensor) -> Tensor:
    return (box[:, 2:] - box[:, :2]).norm(dim=1).clamp_min(1)
