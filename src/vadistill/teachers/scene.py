"""Units of speed: the size of the box, or what is usual where the box stands in the picture.

Both are fitted on normal objects only, so that about one is the highest usual speed.
"""

import torch
from torch import Tensor, nn

from vadistill.errors import InputError

CHUNK = 1024
FLOW_NOISE = 0.1  # pixels; errors of dense flow where nothing moves


def object_speed(flow: Tensor) -> Tensor:
    """Return the speed (N,) of objects: the 90th percentile of the flow's length in the box, mean over the flows.

    Args:
        flow: (N, K, 2, H, W), any unit.
    """
    parts = []
    for part in flow.split(CHUNK):
        length = torch.hypot(part[:, :, 0].float(), part[:, :, 1].float()).flatten(2)
        parts.append(length.kthvalue(max(1, round(0.9 * length.shape[2])), dim=2).values.mean(dim=1))
    return torch.cat(parts)


def _check(speed: Tensor) -> None:
    if not len(speed):
        raise InputError("normal speed: no training objects; expected at least one")


def _usual_speed(speed: Tensor) -> Tensor:
    # Not torch.quantile, which refuses more than 2**24 values.
    return speed.kthvalue(max(1, round(0.95 * len(speed)))).values


class BoxUnit(nn.Module):
    """Speed in box diagonals, scaled by one number for all objects."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("speed", torch.ones(()))

    def fit(self, speed: Tensor, box: Tensor, size: Tensor) -> None:
        """Take the 95th percentile of speeds in box diagonals as one; arguments and errors as in ``SceneUnit.fit``."""
        _check(speed)
        self.speed.copy_(_usual_speed(speed / self._diagonal(box)).clamp_min(1e-3))

    def forward(self, box: Tensor, size: Tensor) -> Tensor:
        """Return the unit (N,) in pixels for boxes (N, 4)."""
        return self.speed * self._diagonal(box)

    @staticmethod
    def _diagonal(box: Tensor) -> Tensor:
        return (box[:, 2:] - box[:, :2]).norm(dim=1).clamp_min(1)


class SceneUnit(nn.Module):
    """Usual speed as a function of the row of the box's lower edge.

    The rows that occur in training are cut into bands of equal height; a band with few boxes is merged with the next.
    Each band has the 95th percentile of its boxes' speeds at the mean row of its boxes; in between it is interpolated
    linearly, beyond the outer bands it is constant. Rows and speeds are fractions of the frame height, so that clips
    of one scene may differ in size.
    """

    def __init__(self, bands: int = 8, least: int = 50) -> None:
        super().__init__()
        self.least = least
        self.register_buffer("rows", torch.zeros(bands))
        self.register_buffer("speeds", torch.ones(bands))

    def fit(self, speed: Tensor, box: Tensor, size: Tensor) -> None:
        """Fit the bands.

        Args:
            speed: (N,) pixels.
            box: (N, 4) xyxy pixels.
            size: (N, 2) height and width of the frame in pixels.

        Raises:
            InputError: There are no objects.
        """
        _check(speed)
        speed = speed.clamp_min(FLOW_NOISE) / size[:, 0]
        row = box[:, 3] / size[:, 0]
        inner = torch.linspace(row.min().item(), row.max().item(), len(self.rows) + 1, device=row.device)[1:-1]
        band = torch.bucketize(row, inner)
        groups = self._merged(torch.bincount(band, minlength=len(self.rows)).tolist())
        chosen = [(band >= first) & (band < end) for first, end in groups]
        bands = [(row[of].mean(), _usual_speed(speed[of])) for of in chosen]
        # Unused entries repeat the last band, so that the table has one shape whatever was merged.
        bands += bands[-1:] * (len(self.rows) - len(bands))
        rows, speeds = zip(*bands, strict=True)
        self.rows.copy_(torch.stack(rows))
        self.speeds.copy_(torch.stack(speeds))

    def forward(self, box: Tensor, size: Tensor) -> Tensor:
        """Return the unit (N,) in pixels for boxes (N, 4) in frames of size (N, 2)."""
        row = box[:, 3] / size[:, 0]
        after = torch.searchsorted(self.rows, row.contiguous()).clamp(1, len(self.rows) - 1)
        low, high = self.rows[after - 1], self.rows[after]
        weight = ((row - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
        return torch.lerp(self.speeds[after - 1], self.speeds[after], weight) * size[:, 0]

    def _merged(self, counts: list[int]) -> list[tuple[int, int]]:
        """Return half-open ranges of bands with at least ``least`` boxes each, or one range of all bands."""
        groups, first, held = [], 0, 0
        for index, count in enumerate(counts):
            held += count
            if held >= self.least:
                groups.append((first, index + 1))
                first, held = index + 1, 0
        last = groups.pop()[0] if groups else 0
        return [*groups, (last, len(counts))]
