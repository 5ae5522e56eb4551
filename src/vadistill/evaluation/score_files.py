"""Frame scores and labels of any detector, in the forms in which they are passed on: one array (T,) a clip.

A folder holds a file of each clip, ``<clip>.npy``, ``<clip>.csv`` or ``<clip>.parquet`` (what ``vadistill score``
writes: a column ``score``), or ``<clip>.txt`` (a number a line); a ``.npz`` holds an array of each. Labels may also be
intervals, ``labels.csv``, or one array of all clips after another, in the natural order of the clips' names, as most
published ``.npy`` files are: their lengths are then those of the scores.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from vadistill.datasets.label_table import intervals_of_clips
from vadistill.datasets.masks import labels_of_intervals
from vadistill.errors import InputError, in_one_line
from vadistill.extras import extra
from vadistill.io.arrays import load_arrays, load_member
from vadistill.io.files import checked_path
from vadistill.io.names import natural_key, visible

Arrays = dict[str, np.ndarray]
Reader = Callable[[Path], np.ndarray | np.lib.npyio.NpzFile]
EXPECTED = "a folder of <clip>.npy, <clip>.csv, <clip>.parquet or <clip>.txt, or a .npz keyed by clip"


def read_scores(path: str | Path) -> Arrays:
    """Return the scores (T,) of every clip; a single file is the clip of its name.

    Raises:
        InputError: The path has none of the forms above, it holds no clips, or an array is not what it should be: (T,)
            finite numbers.
    """
    path, scores, readers = checked_path(path), {}, _readers("score")
    single = path.is_file() and path.suffix.lower() in readers
    for clip, place, array in _single(path, readers) if single else _arrays(path, "score"):
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise InputError(f"{place}: holds {array.dtype} or numbers that are not finite; expected finite scores")
        scores[clip] = array.astype(np.float64)
    return scores


def read_frame_labels(path: str | Path, lengths: Mapping[str, int] | None = None) -> Arrays:
    """Return the labels (T,) of every clip, 0 = normal, 1 = abnormal.

    Args:
        path: Where they are.
        lengths: Number of frames of every clip, for forms that do not tell it.

    Raises:
        InputError: As in ``read_scores``, or the lengths do not fit.
    """
    path = Path(path)
    if lengths and path.suffix.lower() == ".csv" and path.is_file():
        intervals = intervals_of_clips(path, lengths)
        return {clip: labels_of_intervals(intervals[clip], frames, path, clip) for clip, frames in lengths.items()}
    if lengths and path.suffix.lower() in (".npy", ".txt") and path.is_file():
        return _divided(_checked(str(path), _joined(path)), lengths, path)
    return {clip: _checked(place, array) for clip, place, array in _arrays(path, "label")}


def check_pair(scores_path: str | Path, scores: Arrays, labels_path: str | Path, labels: Arrays) -> None:
    """Check that scores and labels are of the same clips and lengths.

    Raises:
        InputError: They are not; the line names both places and the clip.
    """
    for clip in sorted(scores.keys() | labels.keys()):
        for path, part, other_path in ((scores_path, scores, labels_path), (labels_path, labels, scores_path)):
            if clip not in part:
                raise InputError(f"{path}: no clip '{clip}', which {other_path} has; expected the same clips in both")
        if len(scores[clip]) != len(labels[clip]):
            found = f"{len(scores[clip])} scores, and {labels_path} {len(labels[clip])} labels"
            raise InputError(f"{scores_path}: clip '{clip}' has {found}; expected one each a frame")


def _single(path: Path, readers: Mapping[str, Reader]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the one clip of a file, as ``_arrays``."""
    array = readers[path.suffix.lower()](path)
    if not isinstance(array, np.ndarray) or array.ndim != 1 or not len(array):
        raise InputError(f"{path}: shape {getattr(array, 'shape', None)}; expected (T,), one score a frame of one clip")
    yield path.stem, str(path), array


def _checked(place: str, array: np.ndarray) -> np.ndarray:
    """Return labels as (T,) uint8."""
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InputError(f"{place}: holds other things than 0 and 1; expected 0 = normal, 1 = abnormal")
    return array.astype(np.uint8)


def _joined(path: Path) -> np.ndarray:
    """Read the labels of all clips, (T,), of one file that holds them as (T,), (1, T) or (T, 1)."""
    array = _from_text(path) if path.suffix.lower() == ".txt" else load_arrays(path)
    if not isinstance(array, np.ndarray) or array.ndim > 2 or array.size not in array.shape:
        raise InputError(f"{path}: shape {getattr(array, 'shape', None)}; expected (T,) or (1, T), all clips in a row")
    return array.ravel()


def _divided(labels: np.ndarray, lengths: Mapping[str, int], path: Path) -> Arrays:
    """Divide the labels of all clips by the lengths of the clips, in natural order."""
    clips = sorted(lengths, key=natural_key)
    total = sum(lengths.values())
    if total != len(labels):
        raise InputError(
            f"{path}: {len(labels)} labels of all clips in a row; expected {total}, the number of scores of the "
            f"{len(clips)} clips {clips[0]} to {clips[-1]}: score all clips, frame by frame"
        )
    ends = np.cumsum([lengths[clip] for clip in clips])
    return dict(zip(clips, np.split(labels, ends[:-1]), strict=True))


def _arrays(path: Path, column: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the name of each clip, where its array stands, for messages, and the array (T,).

    ``column`` is the one that counts in .csv files.
    """
    if checked_path(path).is_dir():
        found = _files(path, column)
    elif path.is_file() and path.suffix.lower() in (".npy", ".npz"):
        archive = load_arrays(path)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InputError(f"{path}: one array; expected a .npz keyed by clip, or a folder of <clip>.npy")
        found = ((clip, f"{path}: clip '{clip}'", load_member(archive, clip, path)) for clip in archive.files)
    else:
        raise InputError(f"{path}: {'a file of another kind' if path.exists() else 'missing'}; expected {EXPECTED}")
    empty = True
    for clip, place, array in found:
        empty = False
        if not isinstance(array, np.ndarray) or array.ndim != 1 or not array.size:
            raise InputError(f"{place}: shape {getattr(array, 'shape', None)}; expected (T,), one number a frame")
        yield clip, place, array
    if empty:
        raise InputError(f"{path}: no clips; expected {EXPECTED}")


def _files(folder: Path, column: str) -> Iterator[tuple[str, str, np.ndarray | np.lib.npyio.NpzFile]]:
    """Yield the clips of a folder, as ``_arrays``; all its files of arrays are of one kind."""
    readers = _readers(column)
    # The maps of ``vadistill score --maps`` lie beside its tables.
    files = [path for path in visible(folder) if path.suffix.lower() in readers and path.is_file()]
    kinds = sorted({path.suffix.lower() for path in files})
    if len(kinds) > 1:
        raise InputError(f"{folder}: holds {' and '.join(kinds)} files; expected files of one kind, one a clip")
    for path in files:
        yield path.stem, str(path), readers[kinds[0]](path)


def _readers(column: str) -> dict[str, Reader]:
    """Return what reads a file of one clip, by its ending."""
    return {
        ".npy": load_arrays,
        ".csv": lambda path: _from_table(path, column),
        ".parquet": lambda path: _from_parquet(path, column),
        ".txt": _from_text,
    }


def _from_table(path: Path, column: str) -> np.ndarray:
    """Read the named column (T,) of a CSV file with a header; rows are the frames 0, 1, ... where it numbers them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            rows, names = list(table), table.fieldnames or []
            if column not in names:
                raise InputError(f"{path}: has the columns {','.join(names)[:80]}; expected one named {column}")
            if "frame" in names and [int(row["frame"]) for row in rows] != list(range(len(rows))):
                raise InputError(f"{path}: its frames are not 0, 1, 2, ...; expected every frame once, in order")
            return np.array([float(row[column]) for row in rows])
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of numbers ({in_one_line(error)}); expected a row a frame") from error


def _from_parquet(path: Path, column: str) -> np.ndarray:
    """Read the named column (T,) of a Parquet file; rows are the frames 0, 1, ... where it numbers them."""
    with extra("parquet"):
        import polars
    try:
        table = polars.read_parquet(path, glob=False)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
        raise InputError(
            f"{path}: not a Parquet file, or damaged ({type(error).__name__}); expected a row a frame"
        ) from None
    if column not in table.columns:
        raise InputError(f"{path}: has the columns {','.join(table.columns)[:80]}; expected one named {column}")
    if "frame" in table.columns and table["frame"].to_list() != list(range(len(table))):
        raise InputError(f"{path}: its frames are not 0, 1, 2, ...; expected every frame once, in order")
    return table[column].to_numpy()


def _from_text(path: Path) -> np.ndarray:
    """Read (T,) numbers, one a line or several with spaces or commas between them."""
    try:
        return np.array([float(word) for word in path.read_text(encoding="utf-8-sig").replace(",", " ").split()])
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a file of numbers ({in_one_line(error)}); expected one a line") from error
