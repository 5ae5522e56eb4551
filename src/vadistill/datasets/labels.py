"""The ground truth of test clips, and of clips with synthetic anomalies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vadistill.datasets.clips import Clip
from vadistill.datasets.masks import load_array
from vadistill.datasets.registry import read_clips
from vadistill.errors import InputError


@dataclass(frozen=True)
class ClipLabels:
    """The ground truth of one clip.

    Attributes:
        frame: (T,) uint8, 1 = abnormal.
        mask: (T, H, W) bool, True = abnormal, or None where the data set has no masks for this clip.
    """

    frame: np.ndarray
    mask: np.ndarray | None


def read_labels(clip: Clip, frames: int, size: tuple[int, int]) -> ClipLabels | None:
    """Return the labels of a clip, None if it has none.

    Frame labels come from their own file where the clip has one (its masks may disagree), else a frame is abnormal
    if any pixel of its mask is.

    Args:
        clip: The clip.
        frames: Number of its frames T.
        size: (H, W) of its frames in pixels.

    Raises:
        InputError: A label file is missing, malformed, or does not fit the clip.
    """
    if clip.labels is None:
        return None
    frame, mask = clip.labels.read_frames(clip.name, frames), clip.labels.read_masks(clip.name, frames, size)
    return ClipLabels(_any(mask) if frame is None else frame, mask)


def frame_labels(clip: Clip, frames: int) -> np.ndarray | None:
    """Return (T,) uint8, 1 = abnormal, or None for a clip without labels; masks are read only if they must be.

    Raises:
        InputError: As ``read_labels``; the size of masks is not checked.
    """
    if clip.labels is None:
        return None
    frame = clip.labels.read_frames(clip.name, frames)
    return _any(clip.labels.read_masks(clip.name, frames, None)) if frame is None else frame


def describe_labels(layout: str, root: str | Path) -> str:
    """Return in words where the frame labels of a data set come from: other sources of the same clips may differ."""
    found = {clip.labels.text for clip in read_clips(layout, root) if clip.labels}
    return "; ".join(sorted(found)) or "none"


def labels_of_clips(layout: str, root: str | Path, frames: dict[str, int]) -> dict[str, np.ndarray] | None:
    """Return the frame labels (T,) of test clips of a data set, None where it has none.

    Args:
        layout: Layout of the data set.
        root: Its folder.
        frames: Number of frames of every clip that is wanted.

    Raises:
        InputError: A clip is not a test clip of the data set; otherwise as ``read_labels``.
    """
    clips = {clip.name: clip for clip in read_clips(layout, root) if clip.split == "test"}
    if missing := sorted(frames.keys() - clips.keys()):
        raise InputError(f"clip {missing[0]}: scored, but not a test clip of {root}")
    found = {name: frame_labels(clips[name], count) for name, count in frames.items()}
    labels = {name: values for name, values in found.items() if values is not None}
    return labels if len(labels) == len(found) else None


def _any(mask: np.ndarray | None) -> np.ndarray:
    assert mask is not None  # a clip with labels has frame labels, masks or both
    return np.asarray(mask.any(axis=(1, 2)), np.uint8)


def labels_of_boxes(paths: Sequence[Path]) -> dict[str, np.ndarray]:
    """Return labels (T,) of clips with synthetic anomalies, given the files of where these are, by clip."""
    return {path.stem: np.asarray(read_boxes(path).any(axis=(1, 2)), np.uint8) for path in paths}


def read_boxes(path: Path) -> np.ndarray:
    """Read where synthetic anomalies are in a clip: boxes (T, N, 4) xyxy in pixels; zeros where there is none.

    Raises:
        InputError: The file holds something else.
    """
    array = load_array(path, "f")
    boxes = array[:, None] if array.ndim == 2 else array  # earlier versions wrote one box a frame, (T, 4)
    if boxes.ndim != 3 or boxes.shape[2] != 4 or not boxes.size or not np.isfinite(boxes).all():
        raise InputError(f"{path}: boxes of shape {array.shape}; expected (T, N, 4) finite numbers, N boxes a frame")
    return boxes


def kind_of(clip: str) -> str:
    """Return the kind of anomaly of a clip ``<training clip>.<kind>``."""
    return clip.rpartition(".")[2]
