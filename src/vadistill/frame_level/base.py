"""What every frame-level detector implements, and those that are networks, and those that learn of frames alone."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vadistill.training.run import TrainingRun
from vadistill.windows.loader import FrameWindows
from vadistill.windows.shape import NO_FLOW, window_shape


class FrameLevelDetector(ABC):
    """From windows of frames to frame scores and anomaly maps.

    Attributes:
        name: Name in config.yaml and in the registry, kind of its model files and folder of its results.
        settings: By section. While it is trained those of its maps and, in its own section, the ``score_keys`` are
            missing; a trained one's tell more of its training.
        size: Height and width of its input in pixels.
        offsets: Of the frames in its input from the judged one, (-3, 0, 3) for three frames three apart.
        flow: Preset of the flow that it gets beside its frames (``windows.flow_planes``), or ``none``.
        resolutions: Sides g of its maps.
    """

    name: ClassVar[str]
    size: tuple[int, int]
    offsets: tuple[int, ...]
    flow: str = NO_FLOW
    resolutions: tuple[int, ...]

    @abstractmethod
    def __init__(self, settings: dict[str, Any]) -> None:
        """Take the settings by section."""
        self.settings = settings

    @abstractmethod
    def load(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """Return what its file holds, in evaluation mode.

        It gives scores (N,) and a map (N, g, g) a resolution of uint8 windows (N, C, H, W) of shape ``window_shape``.
        """

    def streamlined(self, weights: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> nn.Module:
        """Return the same made ready for other runtimes, weights and features in ``dtype``; scores are float32.

        A detector that does nothing here computes in float32 whatever is asked for.
        """
        return self.load(weights)

    def windows(self, paths: Sequence[Path], **training: Any) -> FrameWindows:
        """Return what it sees of stored clips; more arguments of ``FrameWindows`` when it is trained."""
        return FrameWindows(paths, self.size, self.offsets, flow=self.flow, **training)

    @property
    def window_shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of a window: 3 * F channels of the frames, then the planes of the flow."""
        return window_shape(self.size, self.offsets, self.flow)


class NetworkDetector(FrameLevelDetector):
    """A frame-level detector that is a network: a graph of tensors, which other runtimes and compilers can take."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the network, not trained: uint8 windows (N, C, H, W) to scores (N,) and maps (N, g, g)."""

    def load(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """Return the network with its weights, in evaluation mode."""
        network = self.build()
        network.load_state_dict(weights)
        return network.eval()


class FrameTrainedDetector(NetworkDetector):
    """A network that learns of frames alone: the rule train_detector trains it, fit_score gives it its score."""

    def training_windows(self, paths: Sequence[Path], held_out: Mapping[str, float]) -> FrameWindows:
        """Return what it learns from: its windows of stored clips, unless it needs more."""
        return self.windows(paths, held_out=held_out, keep=True)

    @abstractmethod
    def fit(self, training: TrainingRun, windows: FrameWindows, device: torch.device) -> dict[str, Tensor]:
        """Train on normal clips, as phases of the run, and return the weights.

        ``windows``, those of ``training_windows``, holds the held-out frames, too: ``windows.epoch_order`` draws from
        the others alone. Where the settings have a ``batch``, ``gpus`` starts it in several processes, which train one
        network by ``training.parallel``: shares of batches, averaged gradients, norms of whole batches.
        """

    def with_score(
        self, weights: Mapping[str, Tensor], windows: FrameWindows, device: torch.device
    ) -> Mapping[str, Tensor]:
        """Return weights of ``fit`` with what the score needs beside them: nothing, unless it measures normal frames.

        Args:
            weights: Of this training, under whatever score.
            windows: Of the frames that it learned from, and of those held out, as it sees them when it scores.
            device: Where to measure.
        """
        return weights
