"""The interface that every frame-level detector implements."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vadistill.training.run import TrainingRun
from vadistill.windows.loader import FrameWindows


class FrameLevelDetector(ABC):
    """A network from windows of frames to frame scores and anomaly maps, and how it is trained.

    Attributes:
        name: Name in config.yaml and in the registry, kind of its model files and folder of its results.
        settings: By section, those that it is trained with; a trained one's tell more of its training.
        size: Height and width of its input in pixels.
        offsets: Of the frames in its input from the judged one, (-3, 0, 3) for three frames three apart.
        resolutions: Sides g of its maps.
        exportable: Whether its network is a graph of tensors, which other runtimes and compilers can take.
    """

    name: ClassVar[str]
    exportable: ClassVar[bool] = True
    size: tuple[int, int]
    offsets: tuple[int, ...]
    resolutions: tuple[int, ...]

    @abstractmethod
    def __init__(self, settings: dict[str, Any]) -> None:
        """Take the settings by section."""
        self.settings = settings

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the network, not trained: uint8 frames (N, 3 * F, H, W) to scores (N,) and a map (N, g, g) each."""

    def load(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """Return the network with the weights that ``fit`` returned, in evaluation mode."""
        network = self.build()
        network.load_state_dict(weights)
        return network.eval()

    def streamlined(self, weights: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> nn.Module:
        """Return the network made ready for other runtimes, weights and features in ``dtype``; scores are float32.

        A detector that does nothing here computes in float32 whatever is asked for.
        """
        return self.load(weights)

    def windows(self, paths: Sequence[Path], **training: Any) -> FrameWindows:
        """Return what it sees of stored clips; more arguments of ``FrameWindows`` when it is trained."""
        return FrameWindows(paths, self.size, self.offsets, **training)

    def fit(self, training: TrainingRun, windows: FrameWindows, device: torch.device) -> dict[str, Tensor]:
        """Train on normal clips, as phases of the run, and return the weights.

        ``windows`` holds the held-out frames, too: ``windows.epoch_order`` draws from the others alone.

        A detector that learns of more than frames, as the student does, has a stage of its own for it.
        """
        raise NotImplementedError(f"{self.name} has a training stage of its own")
