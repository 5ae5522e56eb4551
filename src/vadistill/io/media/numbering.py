"""The numbers that the names of a clip's images end in: which are missing, and which stand there twice.

The workflow looks at the names while it is parsed, so that this module imports nothing but the standard library.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import islice, pairwise
from pathlib import Path

from vadistill.errors import InputError

NAMED = 5  # missing images that a message names
FIELDS = 4  # numbers of a name, from its end, that may be the frame's


def missing_images(folder: Path, names: Iterable[str]) -> str:
    """Return in words which images the numbers in their names say are missing, an empty text for none.

    Names that differ in one number alone are one sequence, which may begin anywhere: in their last number, or, where no
    two names do, in the last but one (``0001_cam2``), and so on. It has missing numbers where the smallest step is the
    most frequent one, and all others are a multiple of it: so it is however many images were lost by chance. Any other
    sequence is irregular and says nothing.

    Args:
        folder: Where they lie, for error messages.
        names: Names of the image files of a clip.

    Raises:
        InputError: Two names have the same number, or differ in their ending alone, so that their order is nobody's.
    """
    names = sorted(names)
    by_field = (_sequences(folder, names, field) for field in range(FIELDS))
    sequences = next((found for found in by_field if len(found) < len(names)), {})
    gaps = {around: _gaps(images) for around, images in sequences.items()}
    count = sum(len(gap) for found in gaps.values() for gap in found)
    if not count:
        return ""
    names = (
        f"{before}{number:0{_digits(before, after, sequences[before, after])}d}{after}"
        for (before, after), found in gaps.items()
        for gap in found
        for number in gap
    )
    more = f" and {count - NAMED} more" if count > NAMED else ""
    return f"{count} missing in the numbers of its images: {', '.join(islice(names, NAMED))}{more}"


def _sequences(folder: Path, names: list[str], field: int) -> dict[tuple[str, str], dict[int, str]]:
    """Return the names by what stands around their number ``field`` from the end, and by that number."""
    # Longer numbers are times of day and the like, no numbers of frames.
    numbered = re.compile(rf"(.*?)(?<!\d)(\d{{1,9}})((?:\D+\d+){{{field}}}\D*)", re.DOTALL)
    sequences: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for name in names:
        stem = Path(name).stem
        found = numbered.fullmatch(stem) or ("", stem, 0, "")
        known = sequences[found[1], found[3]].setdefault(int(found[2]), name)
        if known != name:
            raise InputError(f"{folder}: {known} and {name} have the same number; expected one image a number")
    return sequences


def _gaps(images: dict[int, str]) -> list[range]:
    """Return the numbers that a sequence lacks, a range for each gap: one wrong name may open a gap of millions."""
    numbers = sorted(images)
    steps = Counter(end - start for start, end in pairwise(numbers))
    step = min(steps, default=1)
    times, next_best = steps.pop(step, 0), max(steps.values(), default=0)
    frequent = times > next_best or times == next_best == steps.total()
    if not steps or not frequent or any(other % step for other in steps):
        return []
    return [range(start + step, end, step) for start, end in pairwise(numbers) if end - start > step]


def _digits(before: str, after: str, images: dict[int, str]) -> int:
    return min(len(Path(name).stem) - len(before) - len(after) for name in images.values())
