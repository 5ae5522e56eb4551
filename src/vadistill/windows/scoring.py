"""What a network says of every frame of clips."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from vadistill.errors import InputError
from vadistill.io.frames import FrameStore
from vadistill.training.device import loader_workers
from vadistill.windows.loader import FrameWindows, batch_loader, loader

BATCH = 16  # frames


Scores = tuple[np.ndarray, dict[int, np.ndarray]]


def score_windows(network: nn.Module, windows: FrameWindows, device) -> Scores:
    """Return the frame scores (T,) and maps {g: (T, g, g)} of all frames of the windows' clips.

    Args:
        network: Gives scores (N,) and maps (N, g, g) of uint8 windows (N, C, H, W).
        windows: The frames.
        device: Where the network is.

    Raises:
        InputError: They are not finite.
    """
    batches = loader(windows, range(len(windows)), BATCH, loader_workers())
    return _joined([_scored(network, frames, device) for frames, _ in batches], windows.stores[:3])


def score_clips(network: nn.Module, windows: FrameWindows, device) -> Iterator[tuple[FrameStore, Scores]]:
    """Yield each clip of the windows as it ends, with what ``score_windows`` says of it alone.

    The processes that read ahead live as long as there are clips; a clip's batches are those of the clip alone.

    Args:
        network: As that of ``score_windows``.
        windows: The frames.
        device: Where the network is.

    Raises:
        InputError: A score or a map is not finite.
    """
    numbers = range(len(windows))
    ends = np.cumsum(windows.lengths).tolist()
    clips = [numbers[end - length : end] for end, length in zip(ends, windows.lengths, strict=True)]
    batches = [[list(clip[i : i + BATCH]) for i in range(0, len(clip), BATCH)] for clip in clips]
    read = iter(batch_loader(windows, [batch for clip in batches for batch in clip], loader_workers()))
    for store, clip in zip(windows.stores, batches, strict=True):
        parts = [_scored(network, frames, device) for frames, _ in islice(read, len(clip))]
        yield store, _joined(parts, [store])


@torch.inference_mode()
def _scored(network: nn.Module, frames: Tensor, device) -> list[Tensor]:
    return [made.float().cpu() for made in network(frames.to(device, non_blocking=True))]


def _joined(parts: list[list[Tensor]], stores: Sequence[FrameStore]) -> Scores:
    score, *maps = (torch.cat(made).numpy() for made in zip(*parts, strict=True))
    if not all(np.isfinite(values).all() for values in (score, *maps)):
        names = ", ".join(store.clip for store in stores)
        raise InputError(f"clip {names}: the detector gives scores or maps that are not finite")
    return score, {grid.shape[-1]: grid for grid in maps}
