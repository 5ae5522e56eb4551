"""The numbers that the names of a clip's images end in: which are missing, and which stand there twice.

The workflow looks at the names while it is parsed, so that this module imports nothing but the standard library.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from vadistill.errors import InputError

NAMED = 5  # missing images that a message names
NUMBERED = re.compile(
    r"(.*?)(?<!\d)(\d{1,9})", re.DOTALL
)  # longer ones are times of day and the like, no numbers of frames


def missing_images(folder: Path, names: Iterable[str]) -> str:
    """Return in words which images the numbers in their names say are missing, an empty text for none.

    Names with the same text before their number are one sequence, which may begin anywhere. It has missing numbers
    where at least half of its steps are equal and all others are a multiple of that; any other one is irregular and
    says nothing.

    Args:
        folder: Where they lie, for error messages.
        names: Names of the image files of a clip.

    Raises:
        InputError: Two names have the same number, so that their order is nobody's.
    """
    sequences: dict[str, dict[int, str]] = defaultdict(dict)
    for name in sorted(names):
        if found := NUMBERED.fullmatch(Path(name).stem):
            known = sequences[found[1]].setdefault(int(found[2]), name)
            if known != name:
                raise InputError(f"{folder}: {known} and {name} have the same number; expected one image a number")
    missing = [name for prefix, images in sequences.items() for name in _missing(prefix, images)]
    if not missing:
        return ""
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return f"{len(missing)} missing in the numbers of its images: {', '.join(missing[:NAMED])}{more}"


def _missing(prefix: str, images: dict[int, str]) -> list[str]:
    """Return the names, without ending, that a sequence of numbered images lacks."""
    numbers = sorted(images)
    steps = Counter(after - before for before, after in pairwise(numbers))
    if len(steps) < 2:
        return []
    step, times = min(steps.items(), key=lambda item: (-item[1], item[0]))
    if 2 * times < steps.total() or any(other % step for other in steps):
        return []
    digits = min(len(Path(name).stem) - len(prefix) for name in images.values())
    lacking = (n for before, after in pairwise(numbers) for n in range(before + step, after, step))
    return [f"{prefix}{number:0{digits}d}" for number in lacking]
