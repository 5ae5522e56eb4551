"""Text files of regions: the format in which ground truth tracks and detections for RBDC and TBDC are exchanged.

A folder holds one file ``<clip>.txt`` a clip, without a header; an empty file means no regions. Rows of ground truth
are ``track_id,frame_id,x_min,y_min,x_max,y_max``, rows of detections ``frame_id,x_min,y_min,x_max,y_max,score``, with
frames from 0 and pixels with both ends included. A ``readme.txt``, which published tracks come with, is no clip.
"""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vadistill.errors import InputError
from vadistill.evaluation.rbdc_tbdc import Regions, Tracks
from vadistill.io.files import checked_path, whole_file
from vadistill.io.names import visible

TRACK_COLUMNS = ("track_id", "frame_id", "x_min", "y_min", "x_max", "y_max")
REGION_COLUMNS = ("frame_id", "x_min", "y_min", "x_max", "y_max", "score")


def read_tracks(folder: str | Path) -> dict[str, Tracks]:
    """Read the ground truth of every clip of a folder, in natural order of their names.

    Raises:
        InputError: The folder is missing or has no ``.txt`` file, or a file is unreadable or has a bad row.
    """
    return {clip: _tracks(path) for clip, path in _files(Path(folder), TRACK_COLUMNS).items()}


def read_regions(folder: str | Path) -> dict[str, Regions]:
    """Read the detections of every clip of a folder, in natural order of their names; errors as in ``read_tracks``."""
    return {clip: _regions(path) for clip, path in _files(Path(folder), REGION_COLUMNS).items()}


def read_pair(tracks: str | Path, regions: str | Path) -> tuple[dict[str, Tracks], dict[str, Regions]]:
    """Read the folders of ground truth and of detections of one test set.

    Both have to hold the same clips: a clip that only one of them has is misspelt or was never scored, and either
    would lower the result in silence.

    Raises:
        InputError: A clip is in one folder only, or as in ``read_tracks``.
    """
    tracks, regions = Path(tracks), Path(regions)
    truth, found = _files(tracks, TRACK_COLUMNS), _files(regions, REGION_COLUMNS)
    for present, other, folder in ((truth, found, regions), (found, truth, tracks)):
        if missing := [path for clip, path in present.items() if clip not in other]:
            raise InputError(
                f"{folder / missing[0].name}: missing; {missing[0]} exists, and both folders have to hold the same "
                "clips (an empty file where a clip has no regions)"
            )
    return {clip: _tracks(path) for clip, path in truth.items()}, {clip: _regions(path) for clip, path in found.items()}


def write_tracks(path: str | Path, tracks: Tracks) -> None:
    """Write the ground truth of one clip to ``path``, whole or not at all; every number is read back as it was."""
    _write(path, tracks.track, tracks.frame, tracks.box)


def write_regions(path: str | Path, regions: Regions) -> None:
    """Write the detections of one clip to ``path``, whole or not at all; every number is read back as it was."""
    _write(path, regions.frame, regions.box, regions.score)


def _files(folder: Path, columns: Sequence[str]) -> dict[str, Path]:
    expected = f"a folder with one file <clip>.txt a clip, rows {','.join(columns)}"
    if not checked_path(folder).is_dir():
        raise InputError(f"{folder}: missing; expected {expected}")
    paths = [p for p in visible(folder) if p.suffix.lower() == ".txt" and p.stem.lower() != "readme"]
    if not paths:
        raise InputError(f"{folder}: no .txt files; expected {expected}")
    names = {path.stem: path for path in paths}
    if len(names) < len(paths):
        raise InputError(f"{folder}: two files of one clip whose endings differ in case; expected one a clip")
    return names


def _tracks(path: Path) -> Tracks:
    rows = _read(path, TRACK_COLUMNS)
    return Tracks(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2:])


def _regions(path: Path) -> Regions:
    rows = _read(path, REGION_COLUMNS)
    return Regions(rows[:, 0].astype(np.int64), rows[:, 1:5], rows[:, 5])


def _read(path: Path, columns: Sequence[str]) -> np.ndarray:
    """Read a file as (N, 6) float64; blank lines are skipped, but counted in the number of a bad row."""
    try:
        text = checked_path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable text file in UTF-8 ({error})") from error
    numbers, lines = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            numbers.append(number)
            lines.append(line)
    rows = _parse(lines, columns)
    if rows is None:
        # The shortest beginning of the file that cannot be read ends with the first bad row.
        bad = bisect_left(range(len(lines)), True, key=lambda row: _parse(lines[: row + 1], columns) is None)
        raise InputError(
            f"{path}: row {numbers[bad]} is {lines[bad][:80]!r}; expected {','.join(columns)}: finite numbers, whole "
            "ids, frame_id from 0, x_min <= x_max and y_min <= y_max"
        )
    return rows


def _parse(lines: list[str], columns: Sequence[str]) -> np.ndarray | None:
    """Return (N, 6) float64, or None where a line is bad."""
    if not lines:
        return np.zeros((0, len(columns)))
    try:
        rows = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        return None
    if rows.shape[1] != len(columns) or not np.isfinite(rows).all():
        return None
    ids = rows[:, : columns.index("x_min")]
    box = rows[:, columns.index("x_min") : columns.index("y_max") + 1]
    # Beyond 2 ** 53 not every whole number is a float.
    whole = (ids == np.floor(ids)).all() and (np.abs(ids) <= 2**53).all()
    good = whole and (rows[:, columns.index("frame_id")] >= 0).all() and (box[:, 2:] >= box[:, :2]).all()
    return rows if good else None


def _write(path: str | Path, *columns: np.ndarray) -> None:
    rows = np.column_stack([np.asarray(column, np.float64) for column in columns])
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        # The shortest text that is read back as the same number, and 31 rather than 31.0.
        file.writelines(",".join(repr(value).removesuffix(".0") for value in row) + "\n" for row in rows.tolist())
