"""The teachers by name."""

from typing import Any

import torch

from vadistill.errors import InputError
from vadistill.teachers.background_agnostic import BackgroundAgnostic
from vadistill.teachers.base import Teacher
from vadistill.teachers.flow_neighbours import FlowNeighbours
from vadistill.teachers.multi_task import MultiTask

TEACHERS: dict[str, type[Teacher]] = {kind.name: kind for kind in (BackgroundAgnostic, MultiTask, FlowNeighbours)}


def build(name: str, settings: Any, classes: int, scenes: int = 1) -> Teacher:
    """Return a new teacher whose initial weights depend on ``settings.seed`` alone.

    Args:
        name: A key of ``TEACHERS``.
        settings: The section of config.yaml of that name, as its dataclass.
        classes: Number of the detector's classes.
        scenes: Number of scenes that the training clips show.

    Raises:
        InputError: There is no such teacher.
    """
    if name not in TEACHERS:
        raise InputError(f"teacher '{name}': unknown; expected one of {', '.join(TEACHERS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return TEACHERS[name](settings, classes, scenes)
