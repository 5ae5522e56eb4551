"""How many bytes a video file says that it has."""

from pathlib import Path
from typing import BinaryIO

UNKNOWN = 0
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # elements of Matroska and WebM
TRANSPORT_PACKETS = (188, 192, 204)


def stated_size(path: Path) -> int:
    """Return how many bytes an AVI, MP4, Matroska or transport stream file says it has, 0 where nothing is known.

    A file that is still being written, or whose writer was killed, often says nothing. Of a transport stream it is the
    size in whole packets.
    """
    there = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        file.seek(0)
        if head.startswith(b"RIFF"):
            return _riff(file, there)
        if head.startswith(EBML):
            return _matroska(file)
        if head[4:8].isalnum():
            return _boxes(file, there)
        return _transport(file, there)


def _riff(file: BinaryIO, there: int) -> int:
    end = 0
    while end < there:  # a large AVI file is several
        file.seek(end)
        name, size = file.read(4), int.from_bytes(file.read(4), "little")
        if name != b"RIFF" or not size:
            break
        end += 8 + size + size % 2
    return end


def _boxes(file: BinaryIO, there: int) -> int:
    """MP4 is a row of boxes: size, name, a larger size where the first one is 1."""
    end = 0
    while end < there:
        file.seek(end)
        head = file.read(16)
        if not head[4:8].isalnum():
            break
        size = int.from_bytes(head[8:16] if head[:4] == b"\0\0\0\1" else head[:4], "big")
        if size < 8:
            return UNKNOWN
        end += size
    return end


def _matroska(file: BinaryIO) -> int:
    file.seek(len(EBML))
    file.seek(_number(file) or 0, 1)
    if file.read(len(SEGMENT)) != SEGMENT:
        return UNKNOWN
    size = _number(file)
    return UNKNOWN if size is None else file.tell() + size


def _number(file: BinaryIO) -> int | None:
    """Read one of EBML's numbers, whose leading zero bits say how long it is; None where it means unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0xFF >> length)]) + file.read(length - 1), "big")
    return None if value == (1 << 7 * length) - 1 else value


def _transport(file: BinaryIO, there: int) -> int:
    start = file.read(4 * max(TRANSPORT_PACKETS))
    for size in TRANSPORT_PACKETS:
        first = 4 if size == 192 else 0  # packets of a Blu-ray begin with their time
        if len(start) > first + 2 * size and all(start[first + turn * size] == 0x47 for turn in range(3)):
            return -(-there // size) * size
    return UNKNOWN
