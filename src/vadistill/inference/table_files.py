"""Tables ``frame,time_s,score`` of one video, as CSV or Parquet by the ending of their name."""

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vadistill.errors import in_one_line
from vadistill.extras import extra
from vadistill.io.files import whole_file
from vadistill.io.formats import ending

CSV, PARQUET = ".csv", ".parquet"
TABLES = (CSV, PARQUET)
COLUMNS = ("frame", "time_s", "score")
HEADER = f"{','.join(COLUMNS)}\n"
Row = Callable[[float | None, np.float32], None]  # seconds, where known, and score of the next frame


@contextmanager
def table_writer(path: Path) -> Iterator[Row]:
    """Give what takes the rows of a table, which is whole or not there.

    Raises:
        InputError: It is to be Parquet, and the package for that is not installed.
    """
    with whole_file(path) as made, (_parquet if ending(path) == PARQUET else _csv)(made) as add_row:
        yield add_row


@contextmanager
def _csv(path: Path) -> Iterator[Row]:
    frame = 0

    def add_row(seconds: float | None, score: np.float32) -> None:
        nonlocal frame
        table.write(f"{frame},{'' if seconds is None else f'{seconds:.3f}'},{score!s}\n")
        frame += 1

    with path.open("w", encoding="utf-8") as table:
        table.write(HEADER)
        yield add_row


@contextmanager
def _parquet(path: Path) -> Iterator[Row]:
    """Keep the rows, 12 bytes each, and write them behind the last one: Parquet stores columns."""
    with extra("parquet"):
        import polars
    times, scores = array("d"), array("f")

    def add_row(seconds: float | None, score: np.float32) -> None:
        times.append(np.nan if seconds is None else seconds)
        scores.append(float(score))

    yield add_row
    seconds = polars.Series(np.array(times), nan_to_null=True)
    frames = np.arange(len(scores), dtype=np.uint32)
    columns = (frames, seconds, np.array(scores))
    try:
        polars.DataFrame(dict(zip(COLUMNS, columns, strict=True))).write_parquet(path)
    except polars.exceptions.PolarsError as error:
        raise OSError(f"{path}: cannot be written ({in_one_line(error)})") from error


def is_table(path: Path) -> bool:
    """Return whether a file is a table of scores.

    Raises:
        InputError: It is to be Parquet, and the package for that is not installed.
    """
    if not path.is_file():
        return False
    if ending(path) == PARQUET:
        with extra("parquet"):
            import polars
        try:
            with path.open("rb") as file:
                return tuple(polars.read_parquet_schema(file)) == COLUMNS
        except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError):
            return False
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER.encode()
