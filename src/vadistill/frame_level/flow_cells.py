"""The teacher ``flow_cells`` as a frame-level detector of its own: no object detector and no training.

A window's motion is measured in it, so that the frames of a stream need nothing before them. The rules train_cells,
calibrate_teacher and pack_cells make it.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vadistill.detection.motion import Flow
from vadistill.errors import InputError
from vadistill.evaluation.metrics import frame_scores_from_objects
from vadistill.frame_level.base import FrameLevelDetector
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.maps.calibration import Calibrator, map_values
from vadistill.maps.rasterize import map_pyramid
from vadistill.settings import section
from vadistill.teachers.cells import cell_boxes, moving_cells
from vadistill.teachers.flow_cells import FlowCells


class CellScores(nn.Module):
    """From frames to the scores of their moving cells, on processors alone.

    Args:
        flow: Measures the motion.
        teacher: Scores it.
        calibrator: From its terms to object scores.
        resolutions: Sides g of the maps.
    """

    def __init__(self, flow: Flow, teacher: FlowCells, calibrator: Calibrator, resolutions: tuple[int, ...]) -> None:
        super().__init__()
        self.flow, self.teacher, self.calibrator, self.resolutions = flow, teacher, calibrator, resolutions

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Return scores (N,) and a map (N, g, g) a resolution of uint8 frames (N, 9, H, W).

        A frame's score is that of its most abnormal cell, 0 where nothing moves.
        """
        count, _, height, width = frames.shape
        windows = frames.unflatten(1, (3, 3)).permute(0, 1, 3, 4, 2).cpu().numpy()
        motion = self.flow.of_windows(windows)
        frame, row, column = moving_cells(motion)
        box = cell_boxes(motion, row, column)
        score = self.calibrator(self.teacher.measure(motion, ""), "", box[:, 3] / height)
        cells = ScoredObjects(count, (height, width), frame, box, score)
        maps = map_pyramid(replace(cells, score=map_values(score)), self.resolutions)
        highest = frame_scores_from_objects(frame, score, count, empty=0.0)
        made = (highest, *(maps[side] for side in self.resolutions))
        return tuple(torch.from_numpy(part).float().to(frames.device) for part in made)


class FlowCellsDetector(FrameLevelDetector):
    """Scores frames by the normal neighbours of their moving cells.

    Unlike the teacher, it takes what is usual in all scenes together: a video does not say which scene it shows.
    """

    name = "flow_cells"

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        if "motion" not in settings:
            raise InputError("the teacher flow_cells, which scores no frames; expected flow_cells/packed.pt")
        self.motion = section("motion", settings["motion"])
        self.size = tuple(settings["size"])
        self.offsets = (-self.motion.step, 0, self.motion.step)
        self.resolutions = tuple(section("maps", settings["maps"]).resolutions)

    def load(self, weights: Mapping[str, Tensor]) -> CellScores:
        """Return what scores frames, given the normal motion."""
        teacher = FlowCells(section("flow_cells", self.settings["flow_cells"]), self.settings["scenes"])
        teacher.load({name: values.numpy() for name, values in weights.items()})
        calibrator = Calibrator.from_json(json.loads(self.settings["calibrated"]))
        return CellScores(Flow(self.motion), teacher, calibrator, self.resolutions).eval()
