"""Where the anomalies of test clips are: tracks from published files or from pixel masks, and the masks themselves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vadistill.datasets.labels import read_labels
from vadistill.datasets.registry import read_clips
from vadistill.errors import InputError
from vadistill.evaluation.localisation import tracks_of_masks
from vadistill.evaluation.rbdc_tbdc import Tracks
from vadistill.evaluation.region_files import read_tracks


@dataclass(frozen=True)
class Located:
    """One test clip whose anomalies are located.

    Attributes:
        clip: Its name.
        frames: Its number of frames T.
        tracks: The abnormal regions.
        mask: (T, H, W) abnormal pixels, or None where only tracks are known.
        differing: Frames that are labelled normal but have an abnormal pixel, or the other way round; None without
            masks.
    """

    clip: str
    frames: int
    tracks: Tracks
    mask: np.ndarray | None
    differing: int | None


def located_clips(
    layout: str, root: str | Path, sizes: Mapping[str, tuple[int, int, int]], tracks: str
) -> Iterator[Located]:
    """Yield the test clips whose anomalies are located; one clip's masks are in memory at a time.

    Args:
        layout: Layout of the data set.
        root: Its folder.
        sizes: Frames, height and width of every clip that was scored.
        tracks: Folder of published tracks, one ``<clip>.txt`` a clip; empty where tracks follow from masks.

    Raises:
        InputError: Tracks of a clip are missing or lie behind its last frame, or a clip is unknown; or as
            ``read_labels`` and ``read_tracks``.
    """
    clips = {clip.name: clip for clip in read_clips(layout, root) if clip.split == "test"}
    published = read_tracks(tracks) if tracks else {}
    for name, (frames, height, width) in sizes.items():
        if name not in clips:
            raise InputError(f"clip {name}: scored, but not a test clip of {root}")
        labels = read_labels(clips[name], frames, (height, width))
        mask = None if labels is None else labels.mask
        if tracks:
            found = _published(published, name, frames, tracks)
        elif mask is not None:
            found = tracks_of_masks(mask)
        else:
            continue
        differing = None
        if labels is not None and mask is not None:
            differing = int((mask.any(axis=(1, 2)) != labels.frame).sum())
        yield Located(name, frames, found, mask, differing)


def _published(published: Mapping[str, Tracks], clip: str, frames: int, folder: str) -> Tracks:
    if clip not in published:
        raise InputError(f"{folder}/{clip}.txt: missing; expected the tracks of every test clip (localisation.tracks)")
    if (last := published[clip].frame.max(initial=0)) >= frames:
        raise InputError(f"{folder}/{clip}.txt: frame {last}; clip {clip} has frames 0 to {frames - 1}")
    return published[clip]
