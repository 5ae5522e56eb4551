"""The generated data set: a fixed camera over a campus walkway, normal pedestrians, six kinds of anomalies.

Only names live here; the workflow reads them without importing a drawing library.
"""

from vadistill.errors import InputError
from vadistill.settings import Demo

CLASSES = ("person", "cyclist", "cart", "thing")
FRAME_RATE = 12


def clip_names(settings: Demo, split: str) -> list[str]:
    """Return the names of the clips of ``split`` ("train" or "test"), such as ``test_03``.

    Raises:
        InputError: The data set has no such split.
    """
    counts = {"train": settings.train_clips, "test": settings.test_clips}
    if split not in counts:
        raise InputError(f"demo: no split '{split}'; it has train and test")
    digits = max(2, len(str(counts[split])))
    return [f"{split}_{index:0{digits}}" for index in range(1, counts[split] + 1)]
