"""Files of trainings: models that are checked when they are loaded, and the rolling state beside them."""

import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from vadistill.errors import InputError, in_one_line
from vadistill.io.files import checked_path, whole_stream


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Name the file whose content does not build a network in this block.

    Raises:
        InputError: Parts of the content are missing or of another version, or the weights are of another network.
    """
    try:
        yield
    except InputError as error:
        line = str(error)
        raise InputError(line if line.startswith(str(path)) else f"{path}: {line}") from error
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"{path}: {_misfit(error)}; expected the settings and weights of one network, as a training of this "
            "project writes them"
        ) from error


def _misfit(error: Exception) -> str:
    """Say in our words why a model's content builds no network; torch's own lines are many, and name its classes."""
    said = str(error)
    if shapes := re.search(r"size mismatch for (\S+): .*?Size\((.*?)\).*?Size\((.*?)\)", said, re.S):
        return f"the weights {shapes[1]} are of the shape {shapes[2]}, and its settings ask for {shapes[3]}"
    if names := re.search(r"(Missing|Unexpected) key\(s\) in state_dict: \"(.*?)\"", said):
        fault = "are missing" if names[1] == "Missing" else "belong to another network"
        return f"the weights {names[2]} {fault}"
    if isinstance(error, KeyError):
        return f"{said} is missing"
    if isinstance(error, RuntimeError) and "memory" not in said:
        return "its weights do not fit its settings"
    return f"its content builds no network ({in_one_line(error)})"


def save(content: dict[str, Any], path: Path) -> None:
    """Write what ``load_checked`` reads, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    with whole_stream(path) as stream:
        torch.save(content, stream)  # type: ignore[arg-type]  # it needs no more of a file than ``write``


def load_checked(path: Path) -> Any:
    """Load what ``torch.save`` wrote; torch itself does not look at the checksums in its files.

    Raises:
        InputError: A part differs from its checksum; of damaged files, errors of many kinds.
    """
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise InputError(f"{damaged} differs from its checksum")
    return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(path: Path, error: Exception) -> str:
    """Say in our words why ``torch.load`` did not load a file; torch's own advise to load what could run code."""
    if not path.is_file():
        return "a folder" if path.is_dir() else "there is no such file"
    if isinstance(error, OSError | MemoryError | InputError) or "memory" in str(error):
        return in_one_line(error)
    if isinstance(error, pickle.UnpicklingError):
        return "it holds more than numbers and text, which could run code and is not loaded"
    return "damaged, or written by another program" if zipfile.is_zipfile(path) else "cut off, or of another format"


def load_model(path: Path, *kinds: str) -> dict[str, Any]:
    """Load what ``TrainingRun.finish`` wrote.

    Raises:
        InputError: The file is missing, damaged or holds none of these kinds.
    """
    path = checked_path(path)
    try:
        content = load_checked(path)
    except Exception as error:  # damaged files make torch raise errors of many kinds
        raise InputError(
            f"{path}: not a model of this project ({_unreadable(path, error)}); expected a whole .pt file that a "
            "training wrote"
        ) from error
    if not isinstance(content, dict) or content.get("kind") not in kinds:
        found = content.get("kind") if isinstance(content, dict) else type(content).__name__
        expected = " or ".join(f"'{kind}'" for kind in kinds)
        raise InputError(f"{path}: expected a model of the kind {expected}, found '{found}'")
    return content


def state_of(model: Path) -> Path:
    """Return where the rolling state of a model's training lies."""
    return model.with_name(f"{model.stem}.state")


def drop_state(model: Path) -> None:
    """Remove the rolling state of a model that is finished and in use."""
    with suppress(OSError):  # it may be gone, or lie where nothing can be removed
        state_of(model).unlink()


def file_stamp(settings: str, files: list[Path]) -> str:
    """Return a stamp for ``TrainingRun``: the settings and the size and date of every input file."""
    parts = [settings]
    for path in files:
        status = path.stat()
        parts.append(f"{path.name}:{status.st_size}:{status.st_mtime_ns}")
    return "\n".join(parts)
