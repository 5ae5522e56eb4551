"""The student as a frame-level detector; the stages pretrain_student and distill_student train it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vadistill.frame_level.base import NetworkDetector
from vadistill.settings import section
from vadistill.student.graph import ScoringNetwork, streamlined
from vadistill.student.network import Student


class StudentDetector(NetworkDetector):
    """The frame-level detector ``student`` (arXiv 2211.15597)."""

    name = "student"

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.layout = section("student", settings["student"])
        self.size, self.offsets, self.flow = self.layout.size, self.layout.offsets, self.layout.flow
        self.resolutions = tuple(section("maps", settings["maps"]).resolutions)

    def build(self) -> ScoringNetwork:
        """Return a student with its pre-processing before it and the frame score behind it."""
        return ScoringNetwork(Student(self.layout, self.resolutions))

    def load(self, weights: Mapping[str, Tensor]) -> ScoringNetwork:
        """Return the network with the weights of a student."""
        network = self.build()
        network.student.load_state_dict(weights)
        return network.eval()

    def streamlined(self, weights: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> ScoringNetwork:
        """Return the network with folded batch norms and pooling of plain operations, in ``dtype``."""
        return streamlined(self.load(weights).student, self.window_shape, dtype)
