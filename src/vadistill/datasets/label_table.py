"""labels.csv: abnormal intervals of clips, as people and their spreadsheets write them.

The workflow reads it while it is parsed: nothing but the standard library is imported.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from vadistill.errors import InputError

FRAME = re.compile(r"\d{1,9}")  # a frame number; longer ones are no number of a frame
ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
SEPARATORS = ",;\t"
Intervals = list[tuple[int, int]]


def spelling(name: str) -> str:
    """Return the name of a clip in the one form by which names are compared: composed letters, no space around it.

    File systems and spreadsheets spell an umlaut in one character or in two, and a reader sees no difference.
    """
    return unicodedata.normalize("NFC", name).strip()


def read_intervals(path: Path) -> dict[str, Intervals]:
    """Read labels.csv: the abnormal intervals [start, end) by ``spelling`` of the clip, in frames counted from 0.

    The header is ``clip,start,end``; a clip may have several rows, and a clip without a row is normal. Commas,
    semicolons or tabs separate; UTF-8, or UTF-16 with its mark.

    Raises:
        InputError: The header or a row is malformed.
    """
    header, *rows = _rows(path) or [[]]
    if [cell.lower() for cell in header] != ["clip", "start", "end"]:
        raise InputError(f"{path}: expected the header clip,start,end; found {','.join(header)[:80]!r}")
    intervals: dict[str, Intervals] = {}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != 3 or not all(FRAME.fullmatch(cell) for cell in row[1:]) or int(row[1]) >= int(row[2]):
            text = ",".join(row)[:80]
            raise InputError(f"{path}: row {number} is {text!r}; expected clip,start,end, 0 <= start < end")
        intervals.setdefault(spelling(row[0]), []).append((int(row[1]), int(row[2])))
    return intervals


def intervals_of_clips(path: Path, clips: Iterable[str]) -> dict[str, Intervals]:
    """Return the abnormal intervals of every clip, none for a clip that the table does not name.

    A row that names no clip exactly may name it by its file (``test/01.mp4``), in other capitals or without the
    leading zeros that spreadsheets drop (``1`` for ``01``), if that fits a single clip.

    Raises:
        InputError: A row names no clip, or could name several; otherwise as ``read_intervals``.
    """
    made: dict[str, Intervals] = {clip: [] for clip in clips}
    for name, intervals in read_intervals(path).items():
        made[_clip_named(name, list(made), path)] += intervals
    return made


def _clip_named(name: str, clips: list[str], path: Path) -> str:
    file = re.split(r"[/\\]", name)[-1]
    written = (name, file, ENDING.sub("", file))
    if same := [clip for clip in clips if spelling(clip) == name]:
        return same[0]
    for form in (spelling, _loosely):
        wanted = {form(part) for part in written}
        found = [clip for clip in clips if form(clip) in wanted]
        if len(found) > 1:
            raise InputError(
                f"{path}: {name[:80]!r} may be the clip {' or '.join(map(repr, found))}; expected one name"
            )
        if found:
            return found[0]
    nearest = get_close_matches(_loosely(written[-1]), map(_loosely, clips), 1, 0)
    close = next(f"'{clip}'" for clip in clips if _loosely(clip) in nearest) if nearest else "none"
    raise InputError(
        f"{path}: names the clip {name[:80]!r}, which is none of the {len(clips)} clips; the nearest is {close}; "
        "expected their names"
    )


def _loosely(name: str) -> str:
    """Return a name without capitals and without leading zeros of its numbers."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", spelling(name).casefold())


def _rows(path: Path) -> list[list[str]]:
    """Return the cells of every row, without the empty ones at its end."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeError as error:
        raise InputError(
            f"{path}: not a text file in UTF-8 ({error}); expected clip,start,end, saved as 'CSV UTF-8'"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: not a readable CSV file ({error})") from error
    first, _, rest = text.partition("\n")
    stated = re.fullmatch(r"sep=(.)\r?", first, re.IGNORECASE)  # a line for Excel
    text = rest if stated else text
    separator = stated[1] if stated else max(SEPARATORS, key=first.count)
    try:
        rows = [
            [cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        ]
    except csv.Error as error:
        raise InputError(f"{path}: not a readable CSV file ({error})") from error
    for row in rows:
        while row and not row[-1]:
            row.pop()
    return rows
