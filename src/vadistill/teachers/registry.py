"""The teachers by name."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

from vadistill.errors import InputError
from vadistill.settings import TEACHERS, teachers_of
from vadistill.settings.teachers import Judged
from vadistill.teachers.base import Teacher
from vadistill.teachers.cells import CellTeacher


def teacher_class(name: str) -> Any:
    """Return the class of a teacher: in the module of its name, under the name of its settings without Config.

    Raises:
        InputError: There is no such teacher.
    """
    if name not in TEACHERS:
        raise InputError(f"teacher '{name}': unknown; expected one of {', '.join(TEACHERS)}")
    return getattr(import_module(f"vadistill.teachers.{name}"), TEACHERS[name].__name__.removesuffix("Config"))


def build(name: str, settings: Any, classes: int, scenes: int = 1) -> Teacher:
    """Return a new teacher of boxes whose initial weights depend on ``settings.seed`` alone.

    Args:
        name: A key of ``settings.TEACHERS``.
        settings: The section of config.yaml of that name, as its dataclass.
        classes: Number of the detector's classes.
        scenes: Number of scenes that the training clips show.

    Raises:
        InputError: There is no such teacher of boxes.
    """
    made = _of("boxes", name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return made(settings, classes, scenes)


def build_of_cells(name: str, settings: Any, scenes: Sequence[str] = ("",)) -> CellTeacher:
    """Return a new teacher of cells.

    Args:
        name: A key of ``settings.TEACHERS``.
        settings: The section of config.yaml of that name, as its dataclass.
        scenes: Names of the scenes that the training clips show.

    Raises:
        InputError: There is no such teacher of cells.
    """
    return _of("cells", name)(settings, scenes)


def _of(judged: Judged, name: str) -> Any:
    made = teacher_class(name)
    if name not in teachers_of(judged):
        raise InputError(f"teacher '{name}': its objects are no {judged}; expected {' or '.join(teachers_of(judged))}")
    return made
