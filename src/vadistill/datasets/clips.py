"""The table of clips of a data set: which clips there are, where their frames and their labels lie.

The workflow reads this table while it is parsed, so that this module imports nothing but the standard library and
looks at names only; what the files hold is checked when they are read. Hidden files, and what systems leave in folders,
are ignored in every layout. A data set may lie in a folder of its archive, one or two levels down.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vadistill.datasets.label_table import intervals_of_clips, spelling
from vadistill.errors import InputError
from vadistill.io.media.numbering import missing_images
from vadistill.settings import ANOMALY_KINDS, Demo

VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv",
    ".asf", ".flv", ".dv", ".mxf", ".ogv",
})  # fmt: skip
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
# What network stores, Windows, macOS and Linux leave in folders, in small letters.
LITTER = frozenset({"@eadir", "#recycle", "$recycle.bin", "system volume information", "thumbs.db", "ehthumbs.db",
                    "desktop.ini", "__macosx", "lost+found"})  # fmt: skip
LEVELS = 2  # at which a data set is looked for below its folder
# Results of a clip have longer names than the clip, and a file system takes 255 bytes.
NAME_BYTES = 200


@dataclass(frozen=True)
class LabelSource:
    """Where the labels of one test clip lie.

    Attributes:
        format: ``mat``, ``npy``, ``csv``, ``ucsd``, ``tracks`` or ``normal`` (every frame is normal, no file).
        frames: File with frame labels, if there is one; else frame labels follow from the masks.
        masks: File or folder with pixel masks, if there is one.
        intervals: Of abnormal frames, [start, end), where ``format`` is ``csv``.
    """

    format: str
    frames: Path | None = None
    masks: Path | None = None
    intervals: tuple[tuple[int, int], ...] = ()


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


def read_clips(layout: str, root: str | Path) -> list[Clip]:
    """Return the clips of a data set: training clips first, each split in natural order of the names.

    Args:
        layout: One of ``vadistill.settings.LAYOUTS``; ``demo`` reads a tree that was generated already.
        root: Folder of the data set.

    Raises:
        InputError: The data set is missing or partial, or a name cannot be used.
    """
    root = Path(root)
    if layout not in READERS:
        raise InputError(f"unknown layout '{layout}'; expected one of {', '.join(READERS)}")
    if not root.is_dir():
        raise InputError(f"{root}: missing; expected the folder of a data set in layout '{layout}'")
    return _checked(READERS[layout](root), root)


def demo_clip_names(settings: Demo, split: str) -> list[str]:
    """Return the names of the generated clips of a split."""
    count = {"train": settings.train_clips, "test": settings.test_clips}[split]
    return [f"{split}_{number:02d}" for number in range(1, count + 1)]


def demo_clips(root: str | Path, settings: Demo) -> list[Clip]:
    """Return the clips of the generated data set, whether or not its files are there yet."""
    root = Path(root)
    train = [Clip(name, "train", root / "train" / f"{name}.avi") for name in demo_clip_names(settings, "train")]
    test = [
        Clip(name, "test", root / "test" / f"{name}.avi", LabelSource("npy", masks=_mask_file(root, name)))
        for name in demo_clip_names(settings, "test")
    ]
    return _checked(train + test, root)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key by which clip2 comes before clip10; names that differ in zeros only keep a fixed order."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def visible(folder: Path) -> list[Path]:
    """Return the entries of a folder in natural order, without hidden files and litter of systems."""
    entries = (path for path in folder.iterdir() if not path.name.startswith(".") and path.name.lower() not in LITTER)
    return sorted(entries, key=lambda path: natural_key(path.name))


def _checked(clips: list[Clip], root: Path) -> list[Clip]:
    """Refuse names that cannot be part of file names and command lines, and splits without clips."""
    for clip in clips:
        _check_name(clip.name, root)
    for (split, name), count in Counter((clip.split, spelling(clip.name)) for clip in clips).items():
        if count > 1:
            raise InputError(f"{root}: {count} sources of the {split} clip '{name}'; expected one")
    train = {clip.name for clip in clips if clip.split == "train"}
    for name in sorted(train):
        original, _, kind = name.rpartition(".")
        if kind in ANOMALY_KINDS and original in train:
            raise InputError(
                f"{root}: the training clip '{name}' cannot be told from the clip that is made of '{original}' with an "
                f"anomaly of the kind '{kind}'; expected another name"
            )
    for clip in clips:
        if clip.labels and clip.source.is_dir():
            _check_numbering(clip)
    order = sorted(clips, key=lambda clip: (clip.split != "train", natural_key(clip.name)))
    for split in ("train", "test"):
        if not any(clip.split == split for clip in order):
            raise InputError(f"{root}: no {split} clips")
    return order


def _check_numbering(clip: Clip) -> None:
    """Refuse a labelled clip with missing images: labels count frames, so that they would fit others than they name."""
    names = [path.name for path in clip.source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    if missing := missing_images(clip.source, [name for name in names if not name.startswith(".")]):
        raise InputError(
            f"{clip.source}: {missing}; expected all images of a clip with labels, which count its frames (if they "
            "count the images that are there, number these anew)"
        )


def _check_name(name: str, root: Path) -> None:
    if not name.isprintable() or set(name) & set("/\\{}") or name.startswith("-"):
        raise InputError(
            f"{root}: clip name {name!a} cannot be used; expected printable characters, no slash, "
            "backslash or brace and no leading '-'"
        )
    if (size := len(name.encode())) > NAME_BYTES:
        raise InputError(f"{root}: clip name '{name[:20]}...' has {size} bytes; expected at most {NAME_BYTES}")
    if repeated := re.search(r"(.+?)\1{19}$", name):
        raise InputError(
            f"{root}: clip name '{name}' ends in '{repeated[1]}' 20 times, which Snakemake takes for an endless loop; "
            "expected another name"
        )


def _found(folder: Path) -> str:
    """Say what a folder, or what there is of it, holds, for error messages."""
    if not folder.is_dir():
        there = next(parent for parent in folder.parents if parent.is_dir())
        return f"there is no {folder.relative_to(there)} in {there}, {_found(there)}"
    names = [f"{path.name}{'/' if path.is_dir() else ''}" for path in visible(folder)]
    return f"found {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "which is empty"


def _base(root: Path, *markers: str) -> Path:
    """Return the folder, ``root`` or one below it, that holds one of the markers: archives bring folders of their own.

    Raises:
        InputError: Several folders of one level do.
    """
    level = [root]
    for _ in range(LEVELS + 1):
        found = [folder for folder in level if any((folder / marker).exists() for marker in markers)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{root}: {found[0].name} and {found[1].name} both hold {markers[0]}; expected the path of one"
            )
        level = [path for folder in level for path in _folders(folder)]
    return root


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in visible(folder) if path.is_dir()]
    except OSError:  # not for this user
        return []


def _matching(folder: Path, accept: Callable[[Path], bool], expected: str) -> list[Path]:
    """Return the entries of ``folder`` that ``accept`` takes; at least one.

    Raises:
        InputError: The folder is missing or has no such entry.
    """
    paths = [path for path in visible(folder) if accept(path)] if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: expected {expected}; {_found(folder)}")
    return paths


def _avi(path: Path) -> bool:
    return path.suffix.lower() == ".avi" and path.is_file()


def _required(path: Path, clip: str) -> Path:
    if not path.exists():
        raise InputError(f"test clip '{clip}' has no labels; expected {path}")
    return path


def _mask_file(root: Path, clip: str) -> Path:
    return root / "test_pixel_mask" / f"{clip}.npy"


def _avenue(root: Path) -> list[Clip]:
    """CUHK Avenue; a subset of the clips is legal. The labels come in an archive of their own."""
    base = _base(root, "training_videos", "testing_videos")
    train = _matching(base / "training_videos", _avi, "Avenue's training videos, *.avi")
    test = _matching(base / "testing_videos", _avi, "Avenue's test videos, *.avi")
    mask_folder = "testing_label_mask"
    held_by = (_base(place, mask_folder) for place in (root, base.parent))
    folder = (
        next((place for place in held_by if (place / mask_folder).is_dir()), base / "ground_truth_demo") / mask_folder
    )
    # The label files are numbered without leading zeros: 01.avi goes with 1_label.mat.
    labels = {path.stem: folder / f"{path.stem.lstrip('0')}_label.mat" for path in test}
    return [Clip(path.stem, "train", path) for path in train] + [
        Clip(path.stem, "test", path, LabelSource("mat", masks=_required(labels[path.stem], path.stem)))
        for path in test
    ]


def _shanghaitech(root: Path) -> list[Clip]:
    """ShanghaiTech Campus; the training clips are videos or, where there are none, folders of their frames."""
    base = _base(root, "training", "testing")
    training, testing = base / "training", base / "testing"
    if not (training / "videos").is_dir() and (training / "frames").is_dir():
        train = _matching(training / "frames", Path.is_dir, "ShanghaiTech's training clips, one folder of *.jpg each")
    else:
        train = _matching(training / "videos", _avi, "ShanghaiTech's training videos, *.avi")
    test = _matching(testing / "frames", Path.is_dir, "ShanghaiTech's test clips, one folder of *.jpg each")
    clips = [Clip(path.name if path.is_dir() else path.stem, "train", path) for path in train]
    for path in test:
        frames = _required(testing / "test_frame_mask" / f"{path.name}.npy", path.name)
        masks = _required(_mask_file(testing, path.name), path.name)
        clips.append(Clip(path.name, "test", path, LabelSource("npy", frames, masks)))
    return clips


def _ucsd(root: Path, name: str) -> list[Clip]:
    """UCSD Ped1 or Ped2: the folder ``name``, at ``root`` or below it, or ``root`` itself, holds Train and Test."""
    holder = _base(root, f"{name}/Train", f"{name}/Test")
    base = holder / name if (holder / name).is_dir() else root

    def clips_in(split: str) -> list[Path]:
        return _matching(
            base / split,
            lambda path: path.is_dir() and re.fullmatch(rf"{split}\d+", path.name) is not None,
            f"the clips of {name}, folders {split}001, {split}002, ... of *.tif",
        )

    ranges = base / "Test" / f"{name}.m"
    clips = [Clip(path.name, "train", path) for path in clips_in("Train")]
    for path in clips_in("Test"):
        masks = path.with_name(f"{path.name}_gt")
        if not ranges.is_file() and not masks.is_dir():
            raise InputError(f"test clip '{path.name}' has no labels; expected {ranges} or {masks}")
        labels = LabelSource("ucsd", ranges if ranges.is_file() else None, masks if masks.is_dir() else None)
        clips.append(Clip(path.name, "test", path, labels))
    return clips


def _ubnormal(root: Path) -> list[Clip]:
    """UBnormal: normal training clips, and the whole test split, by the official lists of names.

    The lists are part of the authors' repository (github.com/lilygeorgescu/UBnormal, folder scripts).
    """
    lists = _base(root, "scripts") / "scripts"

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
        return [(name, _ubnormal_video(root, name, path)) for name in names]

    clips = [Clip(name, "train", video) for name, video in listed("normal_training_video_names.txt")]
    for name, video in listed("normal_test_video_names.txt"):
        clips.append(Clip(name, "test", video, LabelSource("normal")))
    for name, video in listed("abnormal_test_video_names.txt"):
        folder = video.with_name(f"{name}_annotations")
        tracks = _required(folder / f"{name}_tracks.txt", name)
        clips.append(Clip(name, "test", video, LabelSource("tracks", tracks, folder)))
    return clips


def _ubnormal_video(root: Path, name: str, listed_in: Path) -> Path:
    scene = re.match(r"(?:ab)?normal_scene_(\d+)_", name)
    if scene is None:
        raise InputError(f"{listed_in}: '{name}' is no name of a UBnormal video; expected normal_scene_N_scenario_M")
    folder = f"Scene{scene[1]}"
    video = _base(root, folder) / folder / f"{name}.mp4"
    if not video.is_file():
        raise InputError(f"{video}: missing; {listed_in} names it")
    return video


def _folder(root: Path) -> list[Clip]:
    """A user's own clips: train and test hold videos or folders of images; labels are optional."""
    root = _base(root, "train", "test")
    clips = [Clip(name, "train", path) for name, path in _own_clips(root / "train")]
    test = _own_clips(root / "test")
    names = [name for name, _ in test]
    labels = _own_labels(root, names)
    return clips + [Clip(name, "test", path, labels.get(name)) for name, path in test]


def _own_clips(folder: Path) -> list[tuple[str, Path]]:
    expected = f"videos ({' '.join(sorted(VIDEO_SUFFIXES))}) or folders of images"
    paths = _matching(folder, lambda path: True, expected)
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
        return _required(folder / f"{name}.npy", name) if folder.is_dir() else None

    if intervals is not None:
        return {name: LabelSource("csv", table, file(masks, name), tuple(intervals[name])) for name in names}
    return {name: LabelSource("npy", file(frames, name), file(masks, name)) for name in names}


READERS: dict[str, Callable[[Path], list[Clip]]] = {
    "avenue": _avenue,
    "shanghaitech": _shanghaitech,
    "ucsd_ped1": lambda root: _ucsd(root, "UCSDped1"),
    "ucsd_ped2": lambda root: _ucsd(root, "UCSDped2"),
    "ubnormal": _ubnormal,
    "folder": _folder,
    "demo": _folder,
}
