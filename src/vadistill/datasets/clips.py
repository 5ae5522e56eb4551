"""What a clip is, and where the labels of a test clip lie.

The workflow reads the clips of a data set while it is parsed: at their top, these modules import nothing but the
standard library.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class LabelSource(ABC):
    """Where the labels of one test clip lie; each layout has a class of its own that reads them.

    Attributes:
        frames: File with frame labels, if there is one; else frame labels follow from the masks.
        masks: File or folder with pixel masks, if there is one.
    """

    frames: Path | None = None
    masks: Path | None = None

    @property
    @abstractmethod
    def text(self) -> str:
        """In words, where the frame labels come from."""

    def read_frames(self, clip: str, count: int) -> "np.ndarray | None":
        """Return the frame labels (T,) uint8 that stand in a file of their own, 1 = abnormal, or None.

        Args:
            clip: Name of the clip.
            count: Number of its frames T.

        Raises:
            InputError: The file is missing, malformed, or does not fit the clip.
        """
        return None

    def read_masks(self, clip: str, count: int, size: tuple[int, int] | None) -> "np.ndarray | None":
        """Return the pixel masks (T, H, W) bool, True = abnormal, or None for a clip without masks.

        Args:
            clip: Name of the clip.
            count: Number of its frames T.
            size: (H, W) of its frames in pixels; None: it is not checked.

        Raises:
            InputError: As ``read_frames``.
        """
        return None


@dataclass(frozen=True)
class ArrayLabels(LabelSource):
    """Labels in .npy files: ``frames`` of shape (T,), ``masks`` of shape (T, H, W)."""

    @property
    def text(self) -> str:
        """In words, where the frame labels come from."""
        return "frame labels (one .npy a clip)" if self.frames else FROM_MASKS.format(".npy")

    def read_frames(self, clip: str, count: int) -> "np.ndarray | None":
        """As ``LabelSource``."""
        from vadistill.datasets.masks import frame_array

        return frame_array(self.frames, count) if self.frames else None

    def read_masks(self, clip: str, count: int, size: tuple[int, int] | None) -> "np.ndarray | None":
        """As ``LabelSource``."""
        from vadistill.datasets.masks import mask_array

        return mask_array(self.masks, count, size) if self.masks else None


FROM_MASKS = "pixel masks ({}): a frame is abnormal if any of its pixels is"


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        name: Unique within the split.
        split: ``train`` or ``test``.
        source: A video file, or a folder of images.
        labels: None for a training clip and for a test clip without labels.
    """

    name: str
    split: str
    source: Path
    labels: LabelSource | None = None
