"""The student as a frame-level detector; the stages pretrain_student, distill_student and measure_usual train it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vadistill.frame_level.base import NetworkDetector
from vadistill.settings import section
from vadistill.student.graph import ScoringNetwork, streamlined
from vadistill.student.network import Student
from vadistill.student.surprise import Surprise
from vadistill.training.device import in_layout
from vadistill.windows.shape import check_flow

SURPRISE = "surprise."  # before the names of its weights in a file


def surprise_weights(settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the weights of surprise's parts in a student of these settings; empty: its maps alone."""
    if "surprise" not in settings:
        return {}
    return section("surprise", settings["surprise"]).weights(section("student", settings["student"]))


class StudentDetector(NetworkDetector):
    """The frame-level detector ``student`` (arXiv 2211.15597)."""

    name = "student"

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.layout = section("student", settings["student"])
        self.size, self.offsets, self.flow = self.layout.size, self.layout.offsets, self.layout.flow
        self.resolutions = tuple(section("maps", settings["maps"]).resolutions)
        self.surprise = surprise_weights(settings)
        check_flow(self.name, self.flow, settings)

    def build(self) -> ScoringNetwork:
        """Return a student with its pre-processing before it, and surprise and the frame score behind it."""
        student = Student(self.layout, self.resolutions)
        if not self.surprise:
            return ScoringNetwork(student)
        return ScoringNetwork(student, Surprise(self.layout, student.backbone.width, self.resolutions, self.surprise))

    def load(self, weights: Mapping[str, Tensor]) -> ScoringNetwork:
        """Return the network with the weights of a student and, where they have it, of its surprise."""
        network = self.build()
        of_student = {name: value for name, value in weights.items() if not name.startswith(SURPRISE)}
        network.student.load_state_dict(of_student)
        if network.surprise is not None:
            of_surprise = {name.removeprefix(SURPRISE): weights[name] for name in weights.keys() - of_student.keys()}
            network.surprise.load_state_dict(of_surprise)
        return network.eval()

    def with_usual(
        self, weights: Mapping[str, Tensor], paths: Sequence[Path], held_out: Mapping[str, float], device: torch.device
    ) -> dict[str, Tensor]:
        """Return the weights of a student with what is usual on its camera (``Surprise.measure``).

        Args:
            weights: Of a student without it.
            paths: Frame stores of normal clips.
            held_out: Clips of which only the frames before this share of them are usual; the others give the scale.
            device: Where it is measured.
        """
        network = in_layout(self.build().to(device).eval(), torch.channels_last)
        network.student.load_state_dict(weights)
        surprise = network.surprise
        assert surprise is not None  # asked for
        surprise.measure(network.student, self.windows(paths, held_out=held_out), device)
        return {**weights, **{SURPRISE + name: value.cpu() for name, value in surprise.state_dict().items()}}

    def streamlined(self, weights: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> ScoringNetwork:
        """Return the network with folded batch norms and pooling of plain operations, in ``dtype``."""
        return streamlined(self.load(weights), self.window_shape, dtype)
