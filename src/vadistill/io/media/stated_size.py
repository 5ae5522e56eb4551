"""How many bytes a video file says that it has."""

from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

UNKNOWN = 0
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # elements of Matroska and WebM
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
TRANSPORT_PACKETS = (188, 192, 204)


def stated_size(path: Path, formats: Collection[str]) -> int:
    """Return how many bytes an AVI, MP4, Matroska, ASF or transport stream file says it has, 0 where nothing is known.

    A file that is still being written, or whose writer was killed, often says nothing. Of a transport stream it is the
    size in whole packets.

    Args:
        path: The file.
        formats: FFmpeg's names of its format.
    """
    there = path.stat().st_size
    with path.open("rb") as file:
        return next((read(file, there) for name, read in READERS.items() if name in formats), UNKNOWN)


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
        if len(head) < 8:
            return end + 8
        if not head[4:8].isalnum():
            break
        size = int.from_bytes(head[8:16] if head[:4] == b"\0\0\0\1" else head[:4], "big")
        if size < 8:
            return UNKNOWN
        end += size
    return end


def _matroska(file: BinaryIO, there: int) -> int:
    if file.read(len(EBML)) != EBML:
        return UNKNOWN
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


def _asf(file: BinaryIO, there: int) -> int:
    head = file.read(1 << 16)
    at = head.find(ASF_PROPERTIES) + 40  # behind its own size and the file's number
    return int.from_bytes(head[at : at + 8], "little") if at >= 40 else UNKNOWN


READERS = {"avi": _riff, "mov": _boxes, "matroska": _matroska, "mpegts": _transport, "asf": _asf}
