"""Rule score_frames: the student and test frames in, frame scores and maps out."""

import json
import logging
import time

import numpy as np
import torch

from vadistill.data import maps
from vadistill.data.store import writing
from vadistill.data.windows import FrameWindows, loader
from vadistill.machine import loader_workers, pick_device
from vadistill.models.student import Student, frame_scores, scale_frames
from vadistill.settings import canonical, section
from vadistill.stages._run import add_paths, parser, run
from vadistill.training import load_model

log = logging.getLogger(__name__)
BATCH = 16  # frames


def load_student(path, device: torch.device) -> tuple[Student, dict]:
    """Return the student in evaluation mode and the settings it was trained with."""
    model = load_model(path, "student")
    settings = json.loads(model["settings"])
    student = Student(section("student", settings["student"]), section("maps", settings["maps"]).resolutions)
    student.load_state_dict(model["weights"])
    return student.to(device, memory_format=torch.channels_last).eval(), settings


@torch.inference_mode()
def score_clip(student: Student, windows: FrameWindows, device) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Return the frame scores (T,) and maps {g: (T, g, g)} of one clip."""
    scores, grids = [], []
    for frames, _ in loader(windows, range(len(windows)), BATCH, loader_workers()):
        made = student(scale_frames(frames.to(device, non_blocking=True)))
        scores.append(frame_scores(made).float().cpu())
        grids.append({g: grid[:, 0].float().cpu() for g, grid in made.items()})
    joined = {g: torch.cat([part[g] for part in grids]).numpy() for g in grids[0]}
    return torch.cat(scores).numpy(), joined


def main(args) -> None:
    """Score every frame of the given clips."""
    device = pick_device()
    student, settings = load_student(args.model, device)
    network = section("student", settings["student"])
    with writing(args.output) as file:
        file.attrs["model_settings"] = canonical(settings)
        for path in args.frames:
            started = time.monotonic()
            windows = FrameWindows([path], (network.height, network.width), network.frame_step)
            score, made = score_clip(student, windows, device)
            maps.write_clip(file, windows.stores[0].clip, made, score)
            rate = len(score) / (time.monotonic() - started)
            log.info("clip %s: %d frames, %.1f frames/s", windows.stores[0].clip, len(score), rate)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "model", "output", many=("frames",))
    run(main, arguments)
