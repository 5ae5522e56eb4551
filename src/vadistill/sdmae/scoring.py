"""From a trained SDMAE to scores and maps (arXiv 2306.12041).

A score is made of the first decoder's errors, the gap between the decoders, and what the classifier says.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadistill.maps.grid_pool import GridPool
from vadistill.sdmae.network import MaskedAutoEncoder, patches_of, scale_pixels
from vadistill.settings import SdmaeConfig
from vadistill.training.device import loader_workers
from vadistill.training.folding import fold_norms
from vadistill.windows.loader import FrameWindows, loader

SEED = 0  # of the masks, which are the same for every frame
USUAL_FRAMES = 2000  # of which it is measured what is usual, at most
RARE = 0.99  # quantile of these frames' highest tokens
COMMON = 0.25  # weight of the mean variance of all tokens beside a token's own: some are nearly always the same
LEAST = 1e-3  # of the mean error: a token's spread is no smaller, since that would be rounding


def masks_of(tokens: int, count: int) -> Tensor:
    """Return orders (count, tokens) of the tokens: what the one before hides is what every other one shows."""
    generator = torch.Generator().manual_seed(SEED)
    orders: list[Tensor] = []
    for i in range(count):
        orders.append(orders[-1].flip(0) if i % 2 else torch.randperm(tokens, generator=generator))
    return torch.stack(orders)


def streamlined(scores: "SdmaeScores", dtype: torch.dtype) -> "SdmaeScores":
    """Return the scores with batch norms folded, weights and features in ``dtype``; errors are float32."""
    scores.network = fold_norms(scores.network.eval()).to(dtype)
    scores.dtype = dtype
    return scores


class SdmaeScores(nn.Module):
    """A trained network with its pre-processing before it and the score behind it (arXiv 2306.12041).

    The score is alpha (x - x1)^2 + beta (x1 - x2)^2 + gamma y, where the decoders make x1 and x2 of x, and y is the
    classifier's probability. The paper takes its maximum over pixels behind a filter over space and time; here errors
    are means over tokens, filtered over space, and frame scores are filtered over time when they are evaluated.

    Args:
        network: Trained.
        settings: Its layout and score.
        resolutions: Sides g of the maps, which are without the classifier.
    """

    orders: Tensor
    usual: Tensor

    def __init__(self, network: MaskedAutoEncoder, settings: SdmaeConfig, resolutions: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.settings, self.dtype = network, settings, torch.float32
        rows, columns = settings.tokens
        masks = masks_of(rows * columns, settings.masks if settings.masked else 1)
        self.register_buffer("orders", masks, persistent=False)
        self.pools = nn.ModuleList(GridPool((rows, columns), g) for g in resolutions)
        if settings.score == "places":
            self.register_buffer("usual", torch.stack([torch.zeros(rows, columns), torch.ones(rows, columns)]))

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Return float32 scores (N,) and a map (N, g, g) a resolution of uint8 frames (N, 9, H, W)."""
        settings = self.settings
        tokens, cells, abnormal = self._errors(frames)
        if settings.score == "places":
            cells = ((cells - self.usual[0]) / self.usual[1]).tanh().clamp(min=0)
        maps = [pool(cells)[:, 0] for pool in self.pools]
        if settings.score == "released":
            return tokens.mean(1), *maps
        if settings.score == "places":
            return cells.amax((1, 2, 3)), *maps
        score = tokens.amax(1) if settings.filter_tokens == 1 else cells.amax((1, 2, 3))
        return score + settings.abnormal_weight * abnormal * bool(settings.classifier_weight), *maps

    def _errors(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return errors of tokens (N, L), the same filtered (N, 1, rows, columns), and the classifier's word (N,)."""
        scaled, settings = scale_pixels(frames), self.settings
        # Not by padding: OpenVINO would pad the uint8 frames, in 8 bits, with a value that they do not have.
        wanted = patches_of(torch.cat([scaled[:, 3:6], torch.full_like(scaled[:, :1], -1.0)], 1), settings.patch)
        error_weight, gap_weight = settings.error_weight, settings.gap_weight
        if settings.score == "released":
            error_weight = gap_weight = 1.0
        count = len(self.orders)
        orders = self.orders[:, None].expand(-1, frames.shape[0], -1)
        made = self.network(scaled.to(self.dtype).repeat(count, 1, 1, 1), orders.flatten(0, 1))
        first, second, abnormal = (part.float().unflatten(0, (count, -1)) for part in made)
        error = (wanted - first).square().mean(3)
        gap = (first - second).square().mean(3)
        tokens = (error_weight * error + gap_weight * gap).mean(0)
        cells = tokens.unflatten(1, self.network.grid)[:, None]
        side = settings.filter_tokens
        if side > 1:
            cells = functional.avg_pool2d(cells, side, 1, side // 2, count_include_pad=False)
        return tokens, cells, abnormal.sigmoid().mean(0)

    @torch.no_grad()
    def measure_usual(self, windows: FrameWindows) -> None:
        """Measure by the drawn frames of normal clips what is usual at each place, where the score needs it."""
        if self.settings.score != "places":
            return
        order = windows.drawn_order(USUAL_FRAMES)
        parts = []
        for frames, _ in loader(windows, order, self.settings.batch, loader_workers()):
            parts.append(self.eval()._errors(frames.to(self.orders.device))[1][:, 0])
        errors = torch.cat(parts)
        mean, variance = errors.mean(0), errors.var(0, correction=0)
        spread = ((variance + COMMON * variance.mean()) / (1 + COMMON)).sqrt().clamp(min=LEAST * float(mean.mean()))
        rare = ((errors - mean) / spread).amax((1, 2)).quantile(RARE).clamp(min=1.0)
        self.usual.copy_(torch.stack([mean, spread * rare]))
