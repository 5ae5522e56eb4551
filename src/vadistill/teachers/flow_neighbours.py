"""Nearest neighbours of an object's motion and size among normal objects; nothing is trained.

Both are seen relative to what is usual where the object stands: a histogram of the flow's directions, weighted by its
length in units of the usual speed, and the logarithms of the box's height and width.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vadistill.teachers.base import Batch, Teacher
from vadistill.teachers.crops import CropRequest
from vadistill.teachers.motion_units import SceneTable, SceneUnit, object_speed

CHUNK = 1024  # objects
ITSELF = 1e-4  # nearer than any other object: rounding
LEAST_DEVIATION = 0.05  # of the logarithm of a box's side: few or equal boxes do not make others infinitely strange


class FlowNeighbours(Teacher):
    """The teacher ``flow_neighbours``."""

    name = "flow_neighbours"
    terms = score_terms = ("distance",)
    normal: Tensor
    count: Tensor

    def __init__(self, settings: Any, classes: int, scenes: int = 1) -> None:
        super().__init__(settings, classes, scenes)
        self.settings = settings
        self.unit = SceneUnit(scenes)
        self.usual_size = SceneTable(scenes, 4)
        # One shape however many objects there are, so that a state loads into a new teacher.
        self.register_buffer("normal", torch.zeros(settings.max_objects, 2 * settings.bins + 2))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def training_crops(self) -> CropRequest:
        """Return the flow to the past and to the future."""
        step = self.settings.step
        return CropRequest(self.settings.crop, flow=(-step, step), border=self.settings.border)

    def scoring_crops(self) -> CropRequest:
        """Return the same as for training."""
        return self.training_crops()

    def prepare(self, objects: Batch) -> None:
        """Fit the units and keep the features of the training objects.

        Raises:
            InputError: There are no objects.
        """
        self.unit.fit(object_speed(objects["flow"]), objects)
        self.usual_size.fit(_log_size(objects), objects, _mean_and_deviation)
        thinned = torch.arange(0, len(objects["box"]), -(-len(objects["box"]) // len(self.normal)))
        self.count.fill_(len(thinned))
        for start in range(0, len(thinned), CHUNK):
            rows = thinned[start : start + CHUNK]
            part = {name: values[rows].to(self.normal.device) for name, values in objects.items()}
            self.normal[start : start + len(rows)] = self.features(part)

    def features(self, batch: Batch) -> Tensor:
        """Return histograms of the flow to the past and to the future, log height and log width, (N, 2 bins + 2)."""
        flow = batch["flow"].float() / self.unit(batch)[:, None, None, None, None]
        mean, deviation = self.usual_size(batch).chunk(2, dim=1)
        size = (_log_size(batch) - mean) / deviation
        motion = direction_histogram(flow, self.settings.bins).flatten(1)
        return torch.cat([motion, self.settings.size_weight * size], dim=1)

    def unseen_place(self, batch: Batch) -> Tensor:
        """Return which objects (N,) stand where no training object stood, so that a table of another place is used."""
        return self.unit.unseen_place(batch)

    def measure(self, batch: Batch) -> Tensor:
        """Return the mean Euclidean distance (N, 1) to the nearest normal objects.

        An object that is among the normal ones is not its own neighbour: training objects, which the student learns
        from, would be nearer than the same ones in a test clip. The same person in other frames remains one.
        """
        normal, parts = self.normal[: self.count], []
        for part in self.features(batch).split(CHUNK):
            # The faster way by a matrix product loses the digits of small distances.
            distance = torch.cdist(part, normal, compute_mode="donot_use_mm_for_euclid_dist")
            parts.append(self._mean_of_nearest(distance))
        return torch.cat(parts)

    def _mean_of_nearest(self, distance: Tensor) -> Tensor:
        """Return the mean (N, 1) of the smallest distances (N, M), without the very smallest where it is none."""
        count, there = self.settings.neighbours, distance.shape[1]
        nearest = distance.topk(min(count + 1, there), dim=1, largest=False).values
        itself = (nearest[:, :1] < ITSELF) & (there > 1)
        return torch.where(itself, nearest[:, 1:].mean(1, keepdim=True), nearest[:, :count].mean(1, keepdim=True))


def direction_histogram(flow: Tensor, bins: int) -> Tensor:
    """Return the mean over all pixels of the flow's length in each direction, (N, K, bins), of flow (N, K, 2, H, W).

    The bins are centred on the directions 0, 1/bins, 2/bins ... of a turn from x to y.
    """
    x, y = flow.unbind(2)
    direction = (torch.atan2(y, x) * bins / (2 * math.pi)).round().long() % bins
    histogram = flow.new_zeros(*flow.shape[:2], bins)
    histogram.scatter_add_(2, direction.flatten(2), torch.hypot(x, y).flatten(2))
    return histogram / (flow.shape[3] * flow.shape[4])


def _log_size(objects: Batch) -> Tensor:
    """Return the logarithms (N, 2) of the boxes' height and width as fractions of the frame height."""
    box = objects["box"]
    sides = torch.stack([box[:, 3] - box[:, 1], box[:, 2] - box[:, 0]], dim=1)
    return (sides / objects["size"][:, :1]).clamp_min(1e-3).log()


def _mean_and_deviation(value: np.ndarray) -> np.ndarray:
    return np.concatenate([value.mean(0), np.maximum(value.std(0), LEAST_DEVIATION)])
