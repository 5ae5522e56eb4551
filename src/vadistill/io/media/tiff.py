"""The pages of a TIFF, counted by its own list of them.

libtiff, and so OpenCV, takes a list that leads out of a file that was cut off for its end.
"""

from struct import error as StructError
from struct import unpack_from
from typing import NamedTuple

from vadistill.errors import InputError


class Kind(NamedTuple):
    """How a TIFF writes its numbers.

    Attributes:
        number: Format in ``struct`` of a number of entries, ``size`` bytes long.
        place: Format of a place in the file.
        first: Where the place of the first page stands.
        entry: Size of an entry of a page in bytes.
    """

    number: str
    size: int
    place: str
    first: int
    entry: int


KINDS = {
    b"II*\0": Kind("<H", 2, "<I", 4, 12),
    b"MM\0*": Kind(">H", 2, ">I", 4, 12),
    b"II+\0": Kind("<Q", 8, "<Q", 8, 20),
    b"MM\0+": Kind(">Q", 8, ">Q", 8, 20),
}


def is_tiff(head: bytes) -> bool:
    """Return whether these are the first bytes of a TIFF."""
    return head[:4] in KINDS


def count_pages(content: bytes, name: str) -> int:
    """Return how many pages the content of a TIFF has; 0 where not even the first one's entries are whole.

    Raises:
        InputError: A page after the first one lies outside the file; the message begins with ``name``.
    """
    kind, seen = KINDS[content[:4]], {0}
    try:
        (place,) = unpack_from(kind.place, content, kind.first)
        while place not in seen:
            (entries,) = unpack_from(kind.number, content, place)
            (after,) = unpack_from(kind.place, content, place + kind.size + entries * kind.entry)
            seen.add(place)
            place = after
    except (StructError, OverflowError):
        if len(seen) > 1:
            raise InputError(
                f"{name}: page {len(seen)} lies behind the end of the file; expected a whole file"
            ) from None
    return len(seen) - 1
