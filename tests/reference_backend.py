"""A backend that is as simple as can be: the student as it is trained."""

import json

import torch

from vadistill.inference.backend import BatchScores
from vadistill.settings import section
from vadistill.student.network import Student, frame_scores, scale_frames
from vadistill.training.checkpoint import load_model


class Reference:
    """Notes the size of every batch in ``seen``."""

    name, flow, conditions = "reference-fp32", "none", None

    def __init__(self, path):
        model = load_model(path, "student")
        settings = json.loads(model["settings"])
        network = section("student", settings["student"])
        reach = network.frames // 2
        self.size, self.resolutions = (network.height, network.width), tuple(settings["maps"]["resolutions"])
        self.offsets = tuple(network.frame_step * k for k in range(-reach, reach + 1))
        self.student = Student(network, self.resolutions).eval()
        self.student.load_state_dict(model["weights"])
        self.seen = []

    @torch.inference_mode()
    def __call__(self, frames):
        self.seen.append(len(frames))
        maps = self.student(scale_frames(torch.from_numpy(frames)))
        return BatchScores(frame_scores(maps).numpy(), {g: grid[:, 0].numpy() for g, grid in maps.items()})
