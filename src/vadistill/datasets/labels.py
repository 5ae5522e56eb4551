"""Ground truth: labels and pixel masks of test clips in their formats, and the boxes of synthetic anomalies."""

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import scipy.io

from vadistill.datasets.clips import IMAGE_SUFFIXES, Clip, LabelSource, read_clips, visible
from vadistill.errors import InputError
from vadistill.io.arrays import load_arrays
from vadistill.io.files import checked_path
from vadistill.io.media.image_folder import decode_image


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
    frame, mask = _frame_file(clip, frames), _masks(clip, frames, size)
    return ClipLabels(_any(mask) if frame is None else frame, mask)


def frame_labels(clip: Clip, frames: int) -> np.ndarray | None:
    """Return (T,) uint8, 1 = abnormal, or None for a clip without labels; masks are read only if they must be.

    Raises:
        InputError: As ``read_labels``; the size of masks is not checked.
    """
    if clip.labels is None:
        return None
    frame = _frame_file(clip, frames)
    return _any(_masks(clip, frames, None)) if frame is None else frame


def describe_labels(layout: str, root: str | Path) -> str:
    """Return in words where the frame labels of a data set come from: other sources of the same clips may differ."""
    found = {_source_text(clip.labels) for clip in read_clips(layout, root) if clip.labels}
    return "; ".join(sorted(found)) or "none"


def _source_text(source: LabelSource) -> str:
    if source.format == "normal":
        return "clips without anomalies by their name"
    if source.frames is None:
        kind = {"mat": "volLabel in .mat", "ucsd": "folders of images"}.get(source.format, ".npy")
        return f"pixel masks ({kind}): a frame is abnormal if any of its pixels is"
    kinds = {"npy": "one .npy a clip", "csv": "intervals in labels.csv", "ucsd": "gt_frame intervals of the .m file"}
    return f"frame labels ({kinds.get(source.format, 'tracks of abnormal objects')})"


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
    labels = {name: frame_labels(clips[name], count) for name, count in frames.items()}
    return None if any(values is None for values in labels.values()) else labels


def _any(mask: np.ndarray) -> np.ndarray:
    return mask.any(axis=(1, 2)).astype(np.uint8)


def _frame_file(clip: Clip, frames: int) -> np.ndarray | None:
    """Return the frame labels that stand in a file of their own, (T,) uint8, or None."""
    source = clip.labels
    if source.format == "normal":
        return np.zeros(frames, np.uint8)
    if source.frames is None:
        return None
    if source.format == "npy":
        return _frame_array(source.frames, frames)
    if source.format == "csv":
        return marked(source.intervals, frames, source.frames, clip.name)
    if source.format == "ucsd":
        return marked(_ucsd_intervals(source.frames, clip.name), frames, source.frames, clip.name)
    intervals = [(start, end) for _, start, end in _tracks(source.frames, frames)]
    return marked(intervals, frames, source.frames, clip.name)


def _masks(clip: Clip, frames: int, size: tuple[int, int] | None) -> np.ndarray | None:
    """Return (T, H, W) bool, or None for a clip without masks."""
    source = clip.labels
    if source.format == "normal":
        return np.zeros((frames, *size), bool)
    if source.masks is None:
        return None
    if source.format == "mat":
        return _stack(_matlab_masks(source.masks), frames, size, source.masks)
    if source.format == "ucsd":
        images = [path for path in visible(source.masks) if path.suffix.lower() in IMAGE_SUFFIXES]
        return _stack([_grey(path) > 0 for path in images], frames, size, source.masks, images)
    if source.format == "tracks":
        return _track_masks(clip, frames, size)
    return _mask_array(source.masks, frames, size)


def marked(intervals: Iterable[tuple[int, int]], frames: int, path: Path, clip: str) -> np.ndarray:
    """Return (T,) uint8 with 1 in the intervals [start, end) of a clip of so many frames; ``path`` says so.

    Raises:
        InputError: An interval lies outside the clip.
    """
    labels = np.zeros(frames, np.uint8)
    for start, end in intervals:
        if not 0 <= start < end <= frames:
            raise InputError(
                f"{path}: clip '{clip}' has {frames} frames; the labels name [{start}, {end}) from 0; expected "
                "intervals within the clip"
            )
        labels[start:end] = 1
    return labels


def _load_array(path: Path, kinds: str = "biu") -> np.ndarray:
    """Map a .npy file of booleans or integers, or of other ``kinds`` of numbers."""
    array = load_arrays(path, mapped=True)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
        kind = array.dtype if isinstance(array, np.ndarray) else "an archive"
        expected = "booleans or integers" if kinds == "biu" else "floats"
        raise InputError(f"{path}: holds {kind}; expected a .npy array of {expected}")
    return array


def _frame_array(path: Path, frames: int) -> np.ndarray:
    array = _load_array(path)
    if array.shape != (frames,):
        raise InputError(f"{path}: labels of shape {array.shape}; expected ({frames},), one a frame")
    if not np.isin(array, (0, 1)).all():
        raise InputError(f"{path}: labels from {array.min()} to {array.max()}; expected 0 (normal) and 1 (abnormal)")
    return array.astype(np.uint8)


def _mask_array(path: Path, frames: int, size: tuple[int, int] | None) -> np.ndarray:
    array = _load_array(path)
    if array.ndim != 3 or array.shape != (frames, *(size or array.shape[1:])):
        height, width = size or ("H", "W")
        raise InputError(f"{path}: masks of shape {array.shape}; expected ({frames}, {height}, {width})")
    return np.asarray(array != 0)


def _stack(
    masks: list[np.ndarray], frames: int, size: tuple[int, int] | None, path: Path, files: Sequence[Path] = ()
) -> np.ndarray:
    """Check the masks of a clip, from one file or one file each, against its frames; (T, H, W) bool."""
    if len(masks) != frames:
        raise InputError(f"{path}: {len(masks)} masks; expected {frames}, one a frame")
    size = size or masks[0].shape
    for index, mask in enumerate(masks):
        if mask.shape != tuple(size):
            raise InputError(
                f"{files[index] if files else path}: mask {index} has shape {mask.shape}; expected {tuple(size)}, "
                "height and width"
            )
    return np.stack(masks)


def _grey(path: Path) -> np.ndarray:
    """Read an image as (H, W) uint8."""
    if not checked_path(path).is_file():
        raise InputError(f"{path}: missing; expected a mask")
    return decode_image(path.read_bytes(), path, cv2.IMREAD_GRAYSCALE)


def _matlab_masks(path: Path) -> list[np.ndarray]:
    """Read Avenue's ``volLabel``, a MATLAB cell array with one (H, W) mask a frame.

    In a process of its own: some damaged files make scipy crash.
    """
    try:
        with ProcessPoolExecutor(1, get_context("fork")) as child:
            packed = child.submit(_matlab_cells, path).result()
    except Exception as error:  # damaged files make scipy raise errors of many kinds
        raise InputError(f"{path}: not a readable MATLAB file with a cell array volLabel ({error!r})") from error
    if packed is None:
        raise InputError(f"{path}: volLabel is no cell array of masks; expected one matrix a frame")
    return [np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).view(bool) for bits, shape in packed]


def _matlab_cells(path: Path) -> list[tuple[np.ndarray, tuple[int, int]]] | None:
    """Return the bits and the shape of every mask: they pass from one process to another."""
    volume = scipy.io.loadmat(path, variable_names=["volLabel"])["volLabel"]
    masks = list(volume.flat) if volume.dtype == object else []
    good = masks and all(isinstance(m, np.ndarray) and m.ndim == 2 and m.dtype.kind in "biuf" for m in masks)
    return [(np.packbits(mask != 0), mask.shape) for mask in masks] if good else None


def _ucsd_intervals(path: Path, clip: str) -> list[tuple[int, int]]:
    """Read the intervals of TestNNN: the n-th gt_frame of UCSDped*.m, in frames from 1 with both ends included."""
    text = "\n".join(line.split("%")[0] for line in _lines(path))
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


def _lines(path: Path) -> list[str]:
    try:
        return checked_path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror}); expected a text file") from error


def _tracks(path: Path, frames: int) -> list[tuple[int, int, int]]:
    """Read UBnormal's tracks: (object, start, end) with frames from 0, here [start, end).

    As in the authors' scripts, an end behind the last frame of the clip means its end.
    """
    tracks = []
    for line in _lines(path):
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


def _track_masks(clip: Clip, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Draw UBnormal's masks: its maps show all objects by number, the tracks say which are abnormal, and when."""
    masks = np.zeros((frames, *size), bool)
    for number, start, end in _tracks(clip.labels.frames, frames):
        for t in range(start, end):
            path = clip.labels.masks / f"{clip.name}_{t:04d}_gt.png"
            objects = _grey(path)
            if objects.shape != tuple(size):
                raise InputError(f"{path}: shape {objects.shape}; expected {tuple(size)}, height and width")
            masks[t] |= objects == number
    return masks


def labels_of_boxes(paths: Sequence[Path]) -> dict[str, np.ndarray]:
    """Return labels (T,) of clips with synthetic anomalies, given the files of where these are, by clip."""
    return {path.stem: _boxes(path).any(axis=1).astype(np.uint8) for path in paths}


def _boxes(path: Path) -> np.ndarray:
    array = _load_array(path, "f")
    if array.ndim != 2 or array.shape[1] != 4 or not len(array) or not np.isfinite(array).all():
        raise InputError(f"{path}: boxes of shape {array.shape}; expected (T, 4) finite numbers, one box a frame")
    return array


def kind_of(clip: str) -> str:
    """Return the kind of anomaly of a clip ``<training clip>.<kind>``."""
    return clip.rpartition(".")[2]
