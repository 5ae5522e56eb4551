"""The teachers by name."""

from importlib import import_module
from typing import Any

import torch

from vadistill.errors import InputError
from vadistill.settings import TEACHERS
from vadistill.teachers.base import Teacher


def teacher_class(name: str) -> type[Teacher]:
    """Return the class of a teacher: in the module of its name, under the name of its settings without Config.

    Raises:
        InputError: There is no such teacher.
    """
    if name not in TEACHERS:
        raise InputError(f"teacher '{name}': unknown; expected one of {', '.join(TEACHERS)}")
    return getattr(import_module(f"vadistill.teachers.{name}"), TEACHERS[name].__name__.removesuffix("Config"))


def build(name: str, settings: Any, classes: int, scenes: int = 1) -> Teacher:
    """Return a new teacher whose initial weights depend on ``settings.seed`` alone.

    Args:
        name: A key of ``settings.TEACHERS``.
        settings: The section of config.yaml of that name, as its dataclass.
        classes: Number of the detector's classes.
        scenes: Number of scenes that the training clips show.

    Raises:
        InputError: There is no such teacher.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return teacher_class(name)(settings, classes, scenes)
