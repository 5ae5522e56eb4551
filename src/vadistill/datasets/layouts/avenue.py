"""CUHK Avenue: training_videos/*.avi, testing_videos/*.avi, testing_label_mask/<number>_label.mat."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vadistill.datasets.clips import FROM_MASKS, Clip, LabelSource
from vadistill.datasets.folders import base_folder, is_avi, matching, required_labels
from vadistill.errors import InputError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class MatlabMasks(LabelSource):
    """Pixel masks as MATLAB's ``volLabel``."""

    @property
    def text(self) -> str:
        """In words, where the frame labels come from."""
        return FROM_MASKS.format("volLabel in .mat")

    def read_masks(self, clip: str, count: int, size: tuple[int, int] | None) -> "np.ndarray":
        """As ``LabelSource``."""
        from vadistill.datasets.masks import checked_masks

        assert self.masks is not None  # each test clip has them
        return checked_masks(_matlab_masks(self.masks), count, size, self.masks)


def clips(root: Path, layout: str) -> list[Clip]:
    """Return the clips of Avenue; a subset of them is allowed. The labels are a separate download."""
    base = base_folder(root, "training_videos", "testing_videos")
    train = matching(base / "training_videos", is_avi, "Avenue's training videos, *.avi")
    test = matching(base / "testing_videos", is_avi, "Avenue's test videos, *.avi")
    mask_folder = "testing_label_mask"
    held_by = (base_folder(place, mask_folder) for place in (root, base.parent))
    folder = (
        next((place for place in held_by if (place / mask_folder).is_dir()), base / "ground_truth_demo") / mask_folder
    )
    # The label files are numbered without leading zeros: 01.avi goes with 1_label.mat.
    labels = {path.stem: folder / f"{path.stem.lstrip('0')}_label.mat" for path in test}
    return [Clip(path.stem, "train", path) for path in train] + [
        Clip(path.stem, "test", path, MatlabMasks(masks=required_labels(labels[path.stem], path.stem))) for path in test
    ]


def _matlab_masks(path: Path) -> "list[np.ndarray]":
    """Read Avenue's ``volLabel``, a MATLAB cell array with one (H, W) mask a frame.

    In a process of its own: some damaged files make scipy crash.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    import numpy as np
    import scipy.io  # noqa: F401 (once, and not in every process that is forked off)

    try:
        with ProcessPoolExecutor(1, get_context("fork")) as child:
            packed = child.submit(_matlab_cells, path).result()
    except Exception as error:  # damaged files make scipy raise errors of many kinds
        raise InputError(f"{path}: not a readable MATLAB file with a cell array volLabel ({error!r})") from error
    if packed is None:
        raise InputError(f"{path}: volLabel is no cell array of masks; expected one matrix a frame")
    return [np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).view(bool) for bits, shape in packed]


def _matlab_cells(path: Path) -> "list[tuple[np.ndarray, tuple[int, int]]] | None":
    """Return the bits and the shape of every mask: they pass from one process to another."""
    import numpy as np
    import scipy.io

    volume = scipy.io.loadmat(path, variable_names=["volLabel"])["volLabel"]
    masks = list(volume.flat) if volume.dtype == object else []
    good = masks and all(isinstance(m, np.ndarray) and m.ndim == 2 and m.dtype.kind in "biuf" for m in masks)
    return [(np.packbits(mask != 0), mask.shape) for mask in masks] if good else None
