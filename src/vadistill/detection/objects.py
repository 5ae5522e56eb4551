"""Which stored boxes, and which moving regions that no box covers, count as objects."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vadistill.datasets.splits import scene_of
from vadistill.errors import InputError
from vadistill.geometry.boxes import area, iou, overlaps
from vadistill.io.detections import KINDS, Detections, clip_names, read_clip
from vadistill.settings import ObjectsConfig

# A moving region is covered by a box that shares this part of the smaller of the two.
COVERED = 0.3


@dataclass(frozen=True)
class ObjectIndex:
    """Where the objects of one clip are; the boxes stay in the file.

    Attributes:
        path: File of the detections.
        moving: File of the moving regions, or None.
        clip: Name of the clip.
        frames: Number of frames T of the clip.
        size: Height and width of its frames in pixels.
        scene: Name of its scene.
        frame: (N,) int32 frame numbers of its objects, in the order of ``load_objects``.
    """

    path: Path
    moving: Path | None
    clip: str
    frames: int
    size: tuple[int, int]
    scene: str
    frame: np.ndarray


def read_objects(
    paths: Sequence[Path],
    settings: ObjectsConfig,
    moving: Sequence[Path] = (),
    wanted: Callable[[str], bool] = lambda clip: True,
) -> Iterator[Detections]:
    """Read the boxes that count as objects, clip by clip.

    With ``settings.moving``, the moving regions that no box covers are among them, with confidence 1 and class
    probabilities of 0.

    Args:
        paths: Files of the detections.
        settings: Which boxes count.
        moving: Files of the moving regions; a clip's regions may stand in any of them.
        wanted: Whether a clip, given its name, is read.

    Raises:
        InputError: A clip has no moving regions, or its name does not match ``settings.scene``.
    """
    for path, clip, regions in _clips(paths, settings, moving):
        if wanted(clip):
            yield _objects(path, clip, regions, settings)


def index_objects(paths: Sequence[Path], settings: ObjectsConfig, moving: Sequence[Path] = ()) -> list[ObjectIndex]:
    """Return where the objects that ``read_objects`` would give are: four bytes an object stay in memory."""
    made = []
    for path, clip, regions in _clips(paths, settings, moving):
        found = _objects(path, clip, regions, settings)
        frame = found.frame.astype(np.int32)
        made.append(ObjectIndex(Path(path), regions, clip, found.frames, found.size, found.scene, frame))
    return made


def load_objects(index: ObjectIndex, settings: ObjectsConfig) -> Detections:
    """Read the objects of one clip, those of ``index.frame`` where ``settings`` are the ones of the index."""
    return _objects(index.path, index.clip, index.moving, settings)


def _clips(
    paths: Sequence[Path], settings: ObjectsConfig, moving: Sequence[Path]
) -> Iterator[tuple[Path, str, Path | None]]:
    """Yield every clip with the file of its detections and, where they count, that of its moving regions."""
    regions = {clip: path for path in moving for clip in clip_names(path)} if settings.moving else {}
    for path in paths:
        for clip in clip_names(path):
            if settings.moving and clip not in regions:
                raise InputError(
                    f"clip {clip}: no moving regions in the {len(moving)} files given; objects.moving is on"
                )
            yield path, clip, regions.get(clip)


def _objects(path: Path, clip: str, moving: Path | None, settings: ObjectsConfig) -> Detections:
    """Read the boxes of one clip that count as objects."""
    found = read_clip(path, clip)
    found = replace(found.take(object_rows(found, settings)), scene=scene_of(clip, settings.scene))
    if moving is None:
        return found
    regions = read_clip(moving, clip)
    if (regions.frames, regions.size) != (found.frames, found.size):
        raise InputError(
            f"{moving}: clip {clip} has {regions.frames} frames of {regions.size}; "
            f"expected {found.frames} of {found.size} as in {path}"
        )
    return with_regions(found, regions)


def with_regions(found: Detections, regions: Detections) -> Detections:
    """Add the moving regions that no box, and no larger region of the frame, covers; sorted by frame, boxes first."""
    added = regions.take(_uncovered(regions, found))
    added = replace(added, probabilities=np.zeros((len(added), found.probabilities.shape[1]), np.float16))
    joined: dict[str, Any] = {name: np.concatenate([getattr(found, name), getattr(added, name)]) for name in KINDS}
    return replace(found, **joined).take(np.argsort(joined["frame"], kind="stable"))


def _uncovered(regions: Detections, found: Detections) -> np.ndarray:
    """Return the rows of the regions that share little with every box and every larger region of their frame."""
    kept = []
    for t in np.unique(regions.frame):
        boxes = found.box[found.frame == t]
        rows = np.flatnonzero(regions.frame == t)
        for row in rows[np.argsort(-area(regions.box[rows]), kind="stable")]:
            box = regions.box[row : row + 1]
            shared, own, others = overlaps(box, boxes)
            if not (shared >= COVERED * np.minimum(own, others)).any():
                kept.append(row)
                boxes = np.concatenate([boxes, box])
    return np.sort(np.array(kept, int))


def object_rows(detections: Detections, settings: ObjectsConfig) -> np.ndarray:
    """Return the rows of the boxes that count as objects: confident, large enough, not doubled, not contained."""
    box = detections.box
    longer = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) if len(box) else np.zeros(0)
    rows = np.flatnonzero((detections.confidence >= settings.confidence) & (longer >= settings.min_side))
    starts = np.flatnonzero(np.diff(detections.frame[rows], prepend=-1))
    kept = [_undoubled(part, detections, settings) for part in np.split(rows, starts) if len(part)]
    return np.concatenate(kept) if kept else rows


def _undoubled(rows: np.ndarray, detections: Detections, settings: ObjectsConfig) -> np.ndarray:
    """Drop, among the boxes of one frame, the less confident of two that nearly coincide, and contained ones."""
    box, confidence = detections.box[rows], detections.confidence[rows]
    # Of equally confident boxes the first one stays.
    order = np.lexsort((np.arange(len(rows)), -confidence))
    rank = np.empty(len(rows), int)
    rank[order] = np.arange(len(rows))
    dropped = np.asarray(((iou(box, box) > settings.max_overlap) & (rank[:, None] > rank[None, :])).any(1))
    if settings.drop_contained:
        box = np.where(dropped[:, None], np.nan, box)  # a dropped box contains nothing
        inside = (box[:, None, :2] > box[None, :, :2]) & (box[:, None, 2:] < box[None, :, 2:])
        dropped |= (inside[..., 0] & inside[..., 1]).any(1)
    return rows[~dropped]
