"""The discriminator of one teacher: does a set of anomaly maps come from it (arXiv 2211.15597)?"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadistill.student.network import AnomalyMaps

FIRST_WIDTH = 4
HIDDEN_WIDTH = 50


class Discriminator(nn.Module):
    """From maps of all resolutions to one logit, from the finest grid to the coarsest.

    Each grid joins the features, which are then convolved and max-pooled to the next coarser grid; channels double
    at every step. Below the coarsest grid follows a single cell (where it is not one itself), then two fully
    connected layers. Resolutions (1, 4, 16) give the official layout, 959 parameters.
    """

    def __init__(self, resolutions: Sequence[int]):
        """Take the sides of the maps."""
        super().__init__()
        self.sides = sorted(resolutions, reverse=True)
        self.convs = nn.ModuleList()
        width = 0
        for index, side in enumerate(self.sides):
            width += 1  # the map of this side
            if side > 1:
                self.convs.append(nn.Conv2d(width, FIRST_WIDTH << index, 3, padding=1))
                width = FIRST_WIDTH << index
        self.classifier = nn.Sequential(nn.Linear(width, HIDDEN_WIDTH), nn.LeakyReLU(0.01), nn.Linear(HIDDEN_WIDTH, 1))

    def forward(self, maps: AnomalyMaps) -> Tensor:
        """Return (N,) float32 logits, positive for the teacher, of maps with sides as the resolutions.

        It computes in float32 under autocast too: with this few parameters half precision saves nothing.
        """
        finest = maps[self.sides[0]]
        with torch.autocast(finest.device.type, enabled=False):
            features = finest.float()
            for conv, coarser in zip(self.convs, [*self.sides[1:], 1], strict=False):
                features = functional.adaptive_max_pool2d(functional.relu(conv(features)), coarser)
                if coarser in self.sides:
                    features = torch.cat([features, maps[coarser].float()], dim=1)
            return self.classifier(features.flatten(1)).squeeze(1)
