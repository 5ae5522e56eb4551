"""Stored detections: one HDF5 file a shard, one group a clip; and which of the boxes count as objects."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from vadistill.data.store import reading, write_columns
from vadistill.settings import Objects

KINDS = {"frame": "i4", "box": "f4", "confidence": "f4", "probabilities": "f2"}


@dataclass(frozen=True)
class Detections:
    """The boxes of one clip, sorted by frame.

    Attributes:
        clip: Name of the clip.
        frames: Number of frames T of the clip.
        size: Height and width of its frames in pixels.
        frame: (N,) frame numbers from 0.
        box: (N, 4) xyxy in pixels of the stored frame.
        confidence: (N,) in [0, 1].
        probabilities: (N, C) class probabilities, float16 as stored.
    """

    clip: str
    frames: int
    size: tuple[int, int]
    frame: np.ndarray
    box: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: np.ndarray) -> "Detections":
        """Return the given rows (indices or a boolean mask)."""
        columns = (self.frame, self.box, self.confidence, self.probabilities)
        return Detections(self.clip, self.frames, self.size, *(column[rows] for column in columns))


def write_clip(file: h5py.File, detections: Detections) -> None:
    """Add one clip's detections to an open file."""
    group = file.create_group(detections.clip)
    group.attrs.update(frames=detections.frames, height=detections.size[0], width=detections.size[1])
    write_columns(group, detections, KINDS)


def read_shards(paths: list[Path]) -> Iterator[Detections]:
    """Read the detections of every clip of the given shards, one clip at a time."""
    for path in paths:
        with reading(path) as file:
            for clip in file:
                group = file[clip]
                columns = [group[name][:] for name in ("frame", "box", "confidence", "probabilities")]
                size = (int(group.attrs["height"]), int(group.attrs["width"]))
                frames = int(group.attrs["frames"])
                yield Detections(clip, frames, size, *columns)


def read_objects(paths: list[Path], settings: Objects) -> Iterator[Detections]:
    """Read the boxes that count as objects, clip by clip."""
    for detections in read_shards(paths):
        yield detections.take(object_rows(detections, settings))


def class_names(path: Path) -> list[str]:
    """Return the names of the detector's classes."""
    with reading(path) as file:
        return [str(name) for name in file.attrs["classes"]]


def object_rows(detections: Detections, settings: Objects) -> np.ndarray:
    """Return the rows of the boxes that count as objects: confident, large enough, not doubled, not contained."""
    box = detections.box
    longer = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) if len(box) else np.zeros(0)
    rows = np.flatnonzero((detections.confidence >= settings.confidence) & (longer >= settings.min_side))
    starts = np.flatnonzero(np.diff(detections.frame[rows], prepend=-1))
    kept = [_undoubled(part, detections, settings) for part in np.split(rows, starts) if len(part)]
    return np.concatenate(kept) if kept else rows


def _undoubled(rows: np.ndarray, detections: Detections, settings: Objects) -> np.ndarray:
    """Drop, among the boxes of one frame, the less confident of two that nearly coincide, and contained ones."""
    box, confidence = detections.box[rows], detections.confidence[rows]
    corner = np.maximum(box[:, None, :2], box[None, :, :2])
    opposite = np.minimum(box[:, None, 2:], box[None, :, 2:])
    overlap = (opposite - corner).clip(0).prod(-1)
    area = (box[:, 2:] - box[:, :2]).prod(-1)
    iou = overlap / (area[:, None] + area[None, :] - overlap)
    # Of equally confident boxes the first one stays.
    order = np.lexsort((np.arange(len(rows)), -confidence))
    rank = np.empty(len(rows), int)
    rank[order] = np.arange(len(rows))
    dropped = ((iou > settings.max_overlap) & (rank[:, None] > rank[None, :])).any(1)
    if settings.drop_contained:
        box = np.where(dropped[:, None], np.nan, box)  # a dropped box contains nothing
        inside = (box[:, None, :2] > box[None, :, :2]) & (box[:, None, 2:] < box[None, :, 2:])
        dropped |= inside.all(-1).any(1)
    return rows[~dropped]
