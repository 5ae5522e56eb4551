"""Learned dense flow: the small RAFT (arXiv 2003.12039) of torchvision."""

from pathlib import Path
from threading import Lock

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vadistill.teachers.pretrained.weights import load_weights, torchvision_models

STRIDE, LEAST = 8, 128  # pixels: the network takes sides that are multiples of the one and not below the other


class Raft(nn.Module):
    """Dense flow between two frames by a frozen network, computed on the device that the module is on."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torchvision_models().optical_flow.raft_small(weights=None).requires_grad_(False).eval()
        # torchvision's network keeps correlations in itself while it computes, and several threads read clips.
        self._one_at_a_time = Lock()

    def train(self, mode: bool = True) -> "Raft":
        """Stay in evaluation mode: nothing is learned here."""
        return self

    def load(self, path: Path) -> None:
        """Take torchvision's weights from a file.

        Raises:
            InputError: The file does not hold the state of this network.
        """
        load_weights(self.network, path, "RAFT, small")

    @torch.no_grad()
    def flow(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Return the flow (H, W, 2) float32, (x, y) in pixels, from one frame to another, (H, W, 3) uint8 BGR."""
        height, width = start.shape[:2]
        pair = torch.from_numpy(np.stack([start, end])).to(next(self.parameters()).device)
        pair = pair.flip(3).permute(0, 3, 1, 2).float() / 127.5 - 1  # RGB in [-1, 1], as it was trained on
        pair = F.pad(pair, (0, _missing(width), 0, _missing(height)), mode="replicate")
        with self._one_at_a_time:
            flow = self.network(pair[:1], pair[1:])[-1]  # the last of its refinements
            self.network.corr_block.corr_pyramid = []  # as large as it is, it is not to wait for the next pair
        return flow[0, :, :height, :width].permute(1, 2, 0).cpu().numpy()


def _missing(length: int) -> int:
    """Return how many pixels a side lacks."""
    return max(LEAST, -(-length // STRIDE) * STRIDE) - length
