"""What a network says of every frame of clips."""

import numpy as np
import torch
from torch import nn

from vadistill.errors import InputError
from vadistill.training.device import loader_workers
from vadistill.windows.loader import FrameWindows, loader

BATCH = 16  # frames


@torch.inference_mode()
def score_windows(network: nn.Module, windows: FrameWindows, device) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Return the frame scores (T,) and maps {g: (T, g, g)} of all frames of the windows' clips.

    Args:
        network: Gives scores (N,) and maps (N, g, g) of uint8 windows (N, C, H, W).
        windows: The frames.
        device: Where the network is.

    Raises:
        InputError: They are not finite.
    """
    parts = []
    for frames, *_ in loader(windows, range(len(windows)), BATCH, loader_workers()):
        parts.append([made.float().cpu() for made in network(frames.to(device, non_blocking=True))])
    score, *maps = (torch.cat(made).numpy() for made in zip(*parts, strict=True))
    if not all(np.isfinite(values).all() for values in (score, *maps)):
        names = ", ".join(store.clip for store in windows.stores[:3])
        raise InputError(f"clip {names}: the detector gives scores or maps that are not finite")
    return score, {grid.shape[-1]: grid for grid in maps}
