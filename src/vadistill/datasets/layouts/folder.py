"""A user's own clips: train and test hold videos or folders of images; labels.csv or .npy files, or no labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vadistill.datasets.clips import ArrayLabels, Clip, LabelSource
from vadistill.datasets.folders import base_folder, matching, required_labels
from vadistill.datasets.label_table import intervals_of_clips
from vadistill.errors import InputError
from vadistill.io.names import IMAGE_SUFFIXES, VIDEO_SUFFIXES, visible

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class TableLabels(ArrayLabels):
    """Intervals [start, end) of abnormal frames, read from labels.csv, and masks as ``ArrayLabels``."""

    frames: Path
    intervals: tuple[tuple[int, int], ...] = ()

    @property
    def text(self) -> str:
        """In words, where the frame labels come from."""
        return "frame labels (intervals in labels.csv)"

    def read_frames(self, clip: str, count: int) -> "np.ndarray":
        """As ``LabelSource``."""
        from vadistill.datasets.masks import labels_of_intervals

        return labels_of_intervals(self.intervals, count, self.frames, clip)


def clips(root: Path, layout: str) -> list[Clip]:
    """Return a user's own clips: train and test hold videos or folders of images; labels are optional."""
    root = base_folder(root, "train", "test")
    train = [Clip(name, "train", path) for name, path in _own_clips(root / "train")]
    test = _own_clips(root / "test")
    names = [name for name, _ in test]
    labels = _own_labels(root, names)
    return train + [Clip(name, "test", path, labels.get(name)) for name, path in test]


def _own_clips(folder: Path) -> list[tuple[str, Path]]:
    expected = f"videos ({' '.join(sorted(VIDEO_SUFFIXES))}) or folders of images"
    paths = matching(folder, lambda path: True, expected)
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: a link that leads nowhere; expected {expected}")
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
            raise InputError(f"{path}: an image; expected {expected} here (put it into a folder of its own)")
        if not path.is_dir() and not (path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES):
            raise InputError(f"{path}: expected only {expected} in this folder")
        if path.is_dir() and not any(_holds(path, IMAGE_SUFFIXES)) and (videos := list(_holds(path, VIDEO_SUFFIXES))):
            raise InputError(f"{path}: a folder of videos; expected {videos[0].name} and the like in {folder} itself")
    return [(path.name if path.is_dir() else path.stem, path) for path in paths]


def _holds(folder: Path, endings: frozenset[str]) -> Iterator[Path]:
    return (path for path in visible(folder) if path.suffix.lower() in endings)


def _own_labels(root: Path, names: list[str]) -> dict[str, LabelSource]:
    """Return the labels of all test clips or of none; a kind of label that exists must cover every clip."""
    table, frames, masks = root / "labels.csv", root / "test_frame_mask", root / "test_pixel_mask"
    if table.exists() and frames.is_dir():
        raise InputError(f"{root}: labels.csv and test_frame_mask both hold frame labels; expected one of them")
    intervals = intervals_of_clips(table, names) if table.exists() else None
    if intervals is None and not frames.is_dir() and not masks.is_dir():
        return {}

    def file(folder: Path, name: str) -> Path | None:
        return required_labels(folder / f"{name}.npy", name) if folder.is_dir() else None

    if intervals is not None:
        return {name: TableLabels(table, file(masks, name), tuple(intervals[name])) for name in names}
    return {name: ArrayLabels(file(frames, name), file(masks, name)) for name in names}
