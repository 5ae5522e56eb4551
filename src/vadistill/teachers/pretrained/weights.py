"""Weights of torchvision's networks that lie in files."""

import hashlib
import pickle
import re
from io import BytesIO
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from vadistill.errors import InputError

NAMED_HASH = re.compile(r"-([0-9a-f]{8})\.pth$")


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
        InputError: The file does not hold the state of this network, which ``what`` names, or one that is not finite,
            or is another one than its name says: torchvision's names end in the first digits of their SHA-256.
    """
    try:
        content = path.read_bytes()  # what is hashed is what is loaded
        _check_name(path, content)
        network.load_state_dict(torch.load(BytesIO(content), map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, TypeError, AttributeError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not the weights of torchvision's {what}") from error
    if not all(values.isfinite().all() for values in network.state_dict().values()):
        raise InputError(f"{path}: holds weights that are not finite; expected those of torchvision's {what}")


def _check_name(path: Path, content: bytes) -> None:
    named = NAMED_HASH.search(path.name)
    if named and not (found := hashlib.sha256(content).hexdigest()).startswith(named[1]):
        raise InputError(
            f"{path}: its SHA-256 begins with {found[:8]}; expected {named[1]}, as its name says: download it again"
        )
