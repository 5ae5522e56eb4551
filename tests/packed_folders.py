"""Results of a small student, packed, and normal video of its camera."""

import json

import numpy as np
import torch
from students import write_student

from vadistill.evaluation.alarm_thresholds import fit_alarms
from vadistill.io.files import write_json
from vadistill.io.frames import write_images
from vadistill.settings import AlarmsConfig

RATE = 5.0


def normal_frames(count=60, seed=0, place=7):
    """A fixed scene with noise."""
    rng = np.random.default_rng(seed)
    scene = np.random.default_rng(place).integers(0, 256, (6, 9, 3)).repeat(10, 0).repeat(10, 1)
    return [np.clip(scene + rng.normal(0, 6, scene.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def write_results(results, training_clips=None, surprise=None):
    """What the workflow leaves of a small student, without labels; it may know how its training clips were filmed."""
    (results / "student").mkdir(parents=True)
    write_student(results / "student/student.pt", surprise=surprise)
    if training_clips:
        content = torch.load(results / "student/student.pt", weights_only=True)
        settings = {**json.loads(content["settings"]), "training_clips": training_clips}
        torch.save({**content, "settings": json.dumps(settings)}, results / "student/student.pt")
    write_images(results / "frames/train/a.h5", "a", "train", normal_frames(), "png", fps=RATE)
    scores = np.random.default_rng(0).normal(1.0, 0.1, 4000)
    settings = AlarmsConfig(false_alarms_per_day=(24.0, 2000.0), smoothing=0.2, cool_down=1.0)
    write_json(results / "student/alarms.json", fit_alarms("student", {"a": scores}, RATE, settings).content())
    return results
