"""UCSD Ped1 and Ped2: Train/TrainNNN/*.tif, Test/TestNNN/*.tif, masks in Test/TestNNN_gt, intervals in Test/*.m."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vadistill.datasets.clips import FROM_MASKS, Clip, LabelSource
from vadistill.datasets.folders import base_folder, matching
from vadistill.errors import InputError
from vadistill.io.names import IMAGE_SUFFIXES, visible

if TYPE_CHECKING:
    import numpy as np

NAMES = {"ucsd_ped1": "UCSDped1", "ucsd_ped2": "UCSDped2"}


@dataclass(frozen=True)
class IntervalLabels(LabelSource):
    """Intervals of abnormal frames in the .m file of all clips, and masks as a folder of images."""

    @property
    def text(self) -> str:
        """In words, where the frame labels come from."""
        return (
            "frame labels (gt_frame intervals of the .m file)"
            if self.frames
            else FROM_MASKS.format("folders of images")
        )

    def read_frames(self, clip: str, count: int) -> "np.ndarray | None":
        """As ``LabelSource``."""
        from vadistill.datasets.masks import labels_of_intervals

        return labels_of_intervals(_intervals(self.frames, clip), count, self.frames, clip) if self.frames else None

    def read_masks(self, clip: str, count: int, size: tuple[int, int] | None) -> "np.ndarray | None":
        """As ``LabelSource``."""
        from vadistill.datasets.masks import checked_masks
        from vadistill.io.media.image_file import read_grey

        if self.masks is None:
            return None
        images = [path for path in visible(self.masks) if path.suffix.lower() in IMAGE_SUFFIXES]
        return checked_masks([read_grey(path) > 0 for path in images], count, size, self.masks, images)


def clips(root: Path, layout: str) -> list[Clip]:
    """Return the clips of Ped1 or Ped2; UCSDped1 or UCSDped2 lies at ``root`` or below it, or is ``root`` itself."""
    name = NAMES[layout]
    holder = base_folder(root, f"{name}/Train", f"{name}/Test")
    base = holder / name if (holder / name).is_dir() else root

    def clips_in(split: str) -> list[Path]:
        return matching(
            base / split,
            lambda path: path.is_dir() and re.fullmatch(rf"{split}\d+", path.name) is not None,
            f"the clips of {name}, folders {split}001, {split}002, ... of *.tif",
        )

    ranges = base / "Test" / f"{name}.m"
    found = [Clip(path.name, "train", path) for path in clips_in("Train")]
    for path in clips_in("Test"):
        masks = path.with_name(f"{path.name}_gt")
        if not ranges.is_file() and not masks.is_dir():
            raise InputError(f"test clip '{path.name}' has no labels; expected {ranges} or {masks}")
        labels = IntervalLabels(ranges if ranges.is_file() else None, masks if masks.is_dir() else None)
        found.append(Clip(path.name, "test", path, labels))
    return found


def _intervals(path: Path, clip: str) -> list[tuple[int, int]]:
    """Read the intervals of TestNNN: the n-th gt_frame of UCSDped*.m, in frames from 1 with both ends included."""
    from vadistill.datasets.masks import text_lines

    text = "\n".join(line.split("%")[0] for line in text_lines(path))
    clips = re.findall(r"gt_frame\s*=\s*\[([^\]]*)\]", text)
    number = int(re.sub(r"\D", "", clip))
    if not 1 <= number <= len(clips):
        raise InputError(f"{path}: {len(clips)} lines of gt_frame; expected one for the clip '{clip}' at {number}")
    intervals = []
    for part in re.sub(r"\s*:\s*", ":", clips[number - 1]).replace(",", " ").split():
        match = re.fullmatch(r"(\d{1,9})(?::(\d{1,9}))?", part)
        if match is None:
            raise InputError(f"{path}: gt_frame {number} has {part[:80]!r}; expected frames such as 5:90, 140:200")
        intervals.append((int(match[1]) - 1, int(match[2] or match[1])))
    return intervals
