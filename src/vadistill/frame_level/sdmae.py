"""The self-distilled masked auto-encoder as a frame-level detector (arXiv 2306.12041)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vadistill.frame_level.base import FrameTrainedDetector
from vadistill.sdmae.network import MaskedAutoEncoder
from vadistill.sdmae.scoring import SdmaeScores, streamlined
from vadistill.sdmae.training import Trainer, training_offsets
from vadistill.settings import section
from vadistill.training.run import TrainingRun
from vadistill.windows.loader import FrameWindows

NETWORK = "network."  # before the names of the network's weights, in those of the network with its score


class SdmaeDetector(FrameTrainedDetector):
    """The frame-level detector ``sdmae``."""

    name = "sdmae"

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.layout = section("sdmae", settings["sdmae"])
        self.size, self.offsets = self.layout.size, self.layout.offsets
        self.resolutions = tuple(section("maps", settings.get("maps", {})).resolutions)

    def build(self) -> SdmaeScores:
        """Return the network with its pre-processing before it and the score behind it, not trained."""
        return SdmaeScores(MaskedAutoEncoder(self.layout), self.layout, self.resolutions)

    def streamlined(self, weights: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> SdmaeScores:
        """Return the network with folded batch norms, in ``dtype``."""
        made = self.build()
        made.load_state_dict(weights)
        return streamlined(made.eval(), dtype)

    def training_windows(self, paths: Sequence[Path], held_out: Mapping[str, float]) -> FrameWindows:
        """Return windows that also have the frames that tell what changes."""
        return FrameWindows(paths, self.size, training_offsets(self.layout), held_out=held_out, keep=True)

    def fit(self, training: TrainingRun, windows: FrameWindows, device: torch.device) -> dict[str, Tensor]:
        """Train encoder, first decoder and classifier, then the second decoder.

        Raises:
            InputError: A loss is not finite.
        """
        network = MaskedAutoEncoder(self.layout).to(device)
        training.fit(Trainer(network, self.layout, windows, device).phases())
        return {NETWORK + name: values for name, values in network.state_dict().items()}

    def with_score(
        self, weights: Mapping[str, Tensor], windows: FrameWindows, device: torch.device
    ) -> dict[str, Tensor]:
        """Return the weights with what is usual at each place, where the score wants it."""
        made = self.build().to(device)
        own = {name.removeprefix(NETWORK): values for name, values in weights.items() if name.startswith(NETWORK)}
        made.network.load_state_dict(own)
        made.measure_usual(windows)
        return made.state_dict()
