"""UBnormal: Scene<n>/<clip>.mp4 by the official lists of names, tracks and object maps in <clip>_annotations."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vadistill.datasets.clips import Clip, LabelSource
from vadistill.datasets.folders import base_folder, required_labels
from vadistill.errors import InputError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class NoAnomaly(LabelSource):
    """The labels of a clip that is normal by its name."""

    @property
    def text(self) -> str:
        """In words, where the frame labels come from."""
        return "clips without anomalies by their name"

    def read_frames(self, clip: str, count: int) -> "np.ndarray":
        """As ``LabelSource``."""
        import numpy as np

        return np.zeros(count, np.uint8)

    def read_masks(self, clip: str, count: int, size: tuple[int, int] | None) -> "np.ndarray":
        """As ``LabelSource``."""
        import numpy as np

        assert size is not None  # frame labels do without masks
        return np.zeros((count, *size), bool)


@dataclass(frozen=True)
class TrackLabels(LabelSource):
    """Tracks of abnormal objects, and maps that show all objects by number."""

    frames: Path
    masks: Path

    @property
    def text(self) -> str:
        """In words, where the frame labels come from."""
        return "frame labels (tracks of abnormal objects)"

    def read_frames(self, clip: str, count: int) -> "np.ndarray":
        """As ``LabelSource``."""
        from vadistill.datasets.masks import labels_of_intervals

        intervals = [(start, end) for _, start, end in _tracks(self.frames, count)]
        return labels_of_intervals(intervals, count, self.frames, clip)

    def read_masks(self, clip: str, count: int, size: tuple[int, int] | None) -> "np.ndarray":
        """As ``LabelSource``: the objects of the maps that the tracks call abnormal, while they do."""
        import numpy as np

        from vadistill.io.media.image_file import read_grey

        assert size is not None  # frame labels do without masks
        masks = np.zeros((count, *size), bool)
        for number, start, end in _tracks(self.frames, count):
            for t in range(start, end):
                path = self.masks / f"{clip}_{t:04d}_gt.png"
                objects = read_grey(path)
                if objects.shape != tuple(size):
                    raise InputError(f"{path}: shape {objects.shape}; expected {tuple(size)}, height and width")
                masks[t] |= objects == number
        return masks


def clips(root: Path, layout: str) -> list[Clip]:
    """Return UBnormal's normal training clips and its whole test split, by the official lists of names.

    The lists are part of the authors' repository (github.com/lilygeorgescu/UBnormal, folder scripts).
    """
    lists = base_folder(root, "scripts") / "scripts"

    def listed(file: str) -> list[tuple[str, Path]]:
        path = lists / file
        if not path.is_file():
            raise InputError(
                f"{path}: missing; expected the official list of names, from the folder scripts of the repository "
                "lilygeorgescu/UBnormal"
            )
        try:
            names = path.read_text(encoding="utf-8").split()
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not a text file in UTF-8 ({error}); expected a name a line") from error
        return [(name, _video(root, name, path)) for name in names]

    found = [Clip(name, "train", video) for name, video in listed("normal_training_video_names.txt")]
    for name, video in listed("normal_test_video_names.txt"):
        found.append(Clip(name, "test", video, NoAnomaly()))
    for name, video in listed("abnormal_test_video_names.txt"):
        folder = video.with_name(f"{name}_annotations")
        tracks = required_labels(folder / f"{name}_tracks.txt", name)
        found.append(Clip(name, "test", video, TrackLabels(tracks, folder)))
    return found


def _video(root: Path, name: str, listed_in: Path) -> Path:
    scene = re.match(r"(?:ab)?normal_scene_(\d+)_", name)
    if scene is None:
        raise InputError(f"{listed_in}: '{name}' is no name of a UBnormal video; expected normal_scene_N_scenario_M")
    folder = f"Scene{scene[1]}"
    video = base_folder(root, folder) / folder / f"{name}.mp4"
    if not video.is_file():
        raise InputError(f"{video}: missing; {listed_in} names it")
    return video


def _tracks(path: Path, frames: int) -> list[tuple[int, int, int]]:
    """Read UBnormal's tracks: (object, start, end) with frames from 0, here [start, end).

    As in the authors' scripts, an end behind the last frame of the clip means its end.
    """
    from vadistill.datasets.masks import text_lines

    tracks = []
    for line in text_lines(path):
        if not line.strip():
            continue
        try:
            number, start, last = (int(float(cell)) for cell in line.split(","))
        except (ValueError, OverflowError) as error:
            raise InputError(f"{path}: line {line[:80]!r}; expected object,start,end") from error
        tracks.append((number, start, min(last + 1, frames)))
    if not tracks:
        raise InputError(f"{path}: no tracks; expected lines object,start,end")
    return tracks
