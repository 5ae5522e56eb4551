"""Files from outside the results that stages read: raw clips, labels, weights, pools of images.

Rules know them by their content, which is among the settings of their stages, and not by their dates. The workflow asks
for them while it is parsed, so that this module imports nothing but the standard library.

Each function takes a data set and the wildcards of a rule, and returns one path or several, or none: an empty list.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from vadistill.datasets.catalogue import Dataset
from vadistill.errors import InputError

Wildcards = Mapping[str, str]
WEIGHTS = "resources/weights"


def clip(data: Dataset, wildcards: Wildcards) -> str:
    """Return the file or folder of a rule's clip."""
    return str(data.clip(wildcards["split"], wildcards["clip"]).source)


def training_clips(data: Dataset, wildcards: Wildcards) -> list[str]:
    """Return the files or folders of the training clips."""
    return [str(found.source) for found in data.train.values()]


def labels(data: Dataset, wildcards: Wildcards) -> list[str]:
    """Return the files that the labels of the test clips are read from; the split validation needs none."""
    if wildcards.get("split") == "validation":
        return []
    return sorted({str(path) for source in data.label_sources for path in (source.frames, source.masks) if path})


def regions(data: Dataset, wildcards: Wildcards) -> list[str]:
    """Return the files that say where the anomalies of the test clips are.

    Raises:
        InputError: There are none.
    """
    if not data.located:
        raise InputError(
            f"{data.name}: nothing says where the anomalies of its test clips are; localisation.json needs pixel"
            " masks, or localisation.tracks"
        )
    return sorted({*labels(data, wildcards), *data.tracks})


def detector_weights(data: Dataset, wildcards: Wildcards) -> str:
    """Return the weights of the detector; an absolute path, as ~ and variables make it, stays what it is."""
    return os.path.join(WEIGHTS, data.section("detection").weights)


def image_pool(data: Dataset, wildcards: Wildcards) -> str | list[str]:
    """Return the folder of images for pseudo-anomalies, where the teacher has one.

    Raises:
        InputError: It is missing.
    """
    pool = getattr(data.section(wildcards["teacher"]), "image_pool", "")
    if pool and not Path(pool).is_dir():
        raise InputError(f"{pool}: missing; {wildcards['teacher']}.image_pool is expected to be a folder of images")
    return pool or []


def network_weights(data: Dataset, wildcards: Wildcards) -> str | list[str]:
    """Return the weights of the pre-trained network that a teacher wants: ResNet-50 or RAFT.

    The stage itself looks into torch's cache: what lies outside the project is no input of a rule.
    """
    network = data.section(wildcards["teacher"]).network
    found = sorted(Path(WEIGHTS).glob(f"{network}*.pth")) if network else []
    return str(found[-1]) if found else []


RAW: dict[str, Callable[[Dataset, Wildcards], str | list[str]]] = {
    "clip": clip,
    "training_clips": training_clips,
    "labels": labels,
    "regions": regions,
    "detector_weights": detector_weights,
    "image_pool": image_pool,
    "network_weights": network_weights,
}
