"""Weights of torchvision's networks that lie in files."""

import pickle
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from vadistill.errors import InputError


def torchvision_models() -> ModuleType:
    """Return torchvision's networks; it takes a second to import, and most stages run without it.

    Raises:
        InputError: torchvision is not installed.
    """
    try:
        import torchvision
    except ModuleNotFoundError as error:
        raise InputError("torchvision is not installed; expected it for ResNet-50's targets and RAFT's flow") from error
    return torchvision.models


def cached_weights(network: str) -> Path | None:
    """Return the file of weights in torch's cache (``TORCH_HOME``), or None; of several the last by name."""
    return max(Path(torch.hub.get_dir(), "checkpoints").glob(f"{network}*.pth"), default=None)


def missing_weights(network: str) -> str:
    """Return where a network's weights have been looked for in vain, for a warning or an error."""
    return f"there is no {network}*.pth in resources/weights or {torch.hub.get_dir()}/checkpoints"


def load_weights(network: nn.Module, path: Path, what: str) -> None:
    """Load the weights in a file.

    Raises:
        InputError: The file does not hold the state of this network, which ``what`` names, or one that is not finite.
    """
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, TypeError, AttributeError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not the weights of torchvision's {what}") from error
    if not all(values.isfinite().all() for values in network.state_dict().values()):
        raise InputError(f"{path}: holds weights that are not finite; expected those of torchvision's {what}")
