"""``read_clips``: list the clips of a data set by its layout, in order, and check their names.

The workflow reads this table while it is parsed, so that this module imports nothing but the standard library and
looks at names only; what the files hold is checked when they are read. Hidden files, and what systems leave in folders,
are ignored in every layout. A data set may lie in a folder of its archive, one or two levels down.
"""

import re
from collections import Counter
from importlib import import_module
from pathlib import Path

from vadistill.datasets.clips import ArrayLabels, Clip
from vadistill.datasets.label_table import spelling
from vadistill.errors import InputError
from vadistill.io.media.numbering import missing_images
from vadistill.io.names import IMAGE_SUFFIXES, natural_key
from vadistill.settings import ANOMALY_KINDS, LAYOUTS, DemoConfig

# Results of a clip have longer names than the clip, and a file system takes 255 bytes.
NAME_BYTES = 200


def read_clips(layout: str, root: str | Path) -> list[Clip]:
    """Return the clips of a data set: training clips first, each split in natural order of the names.

    Args:
        layout: One of ``vadistill.settings.LAYOUTS``; ``demo`` reads a tree that was generated already.
        root: Folder of the data set.

    Raises:
        InputError: The data set is missing or partial, or a name cannot be used.
    """
    root = Path(root)
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout '{layout}'; expected one of {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise InputError(f"{root}: missing; expected the folder of a data set in layout '{layout}'")
    reader = import_module(f"vadistill.datasets.layouts.{LAYOUTS[layout]}")
    return _checked(reader.clips(root, layout), root)


def demo_clip_names(settings: DemoConfig, split: str) -> list[str]:
    """Return the names of the generated clips of a split; of several scenes, each begins with its own."""
    count = {"train": settings.train_clips, "test": settings.test_clips}[split]
    scenes = [f"scene_{place + 1}_" if settings.scenes > 1 else "" for place in range(settings.scenes)]
    return [f"{scenes[index % settings.scenes]}{split}_{index + 1:02d}" for index in range(count)]


def demo_clips(root: str | Path, settings: DemoConfig) -> list[Clip]:
    """Return the clips of the generated data set, whether or not its files are there yet."""
    root = Path(root)
    train = [Clip(name, "train", root / "train" / f"{name}.avi") for name in demo_clip_names(settings, "train")]
    test = [
        Clip(name, "test", root / "test" / f"{name}.avi", ArrayLabels(masks=root / "test_pixel_mask" / f"{name}.npy"))
        for name in demo_clip_names(settings, "test")
    ]
    return _checked(train + test, root)


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
