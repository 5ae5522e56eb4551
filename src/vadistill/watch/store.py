"""What a watch keeps: alarms, scores and feedback in SQLite, snapshots and clips beside it."""

import logging
import re
import sqlite3
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vadistill.errors import InputError, in_one_line
from vadistill.io.files import checked_path
from vadistill.watch.alarm import Alarm, Phase

log = logging.getLogger(__name__)
DATABASE, VERSION = "watch.db", 1
SNAPSHOTS, CLIPS = "snapshots", "clips"
FILE = re.compile(rf"{SNAPSHOTS}/[A-Za-z0-9-]+\.jpg|{CLIPS}/[A-Za-z0-9-]+\.mp4")
SCORES_WAIT = 2.0  # seconds of scores that may be lost with power; alarms are on the disk when they are saved
RETRY = 10.0  # seconds between attempts to write scores while nothing can be written
MOST_SCORES, MOST_ALARMS = 200_000, 10_000  # that wait in memory for space; the oldest go
PAUSE = 10.0  # seconds without a score that end an alarm which was cut off
DAY = 86400.0
REMOVED_AT_ONCE = 4 * 3600.0  # seconds of scores of one camera; others can write between
FORGOTTEN_AT_ONCE = 100  # files that are gone; others can write between
HALF_WRITTEN = 3600.0  # seconds after which a file that no alarm knows is removed
ORDER = {Phase.START: 0, Phase.UPDATE: 1, Phase.END: 2}
TABLES = """
create table alarms (
    id text primary key, camera text not null, zone text not null, phase text not null, start real not null, end real,
    peak real not null, score real not null, threshold real not null, x real not null, y real not null,
    width real not null, height real not null, snapshot text not null, clip text not null, feedback integer
);
create index alarms_by_start on alarms (start);
create table scores (camera text not null, time real not null, score real not null, primary key (camera, time))
    without rowid;
"""
COLUMNS = "id, camera, zone, phase, start, end, peak, score, threshold, x, y, width, height, snapshot, clip"


class _File(NamedTuple):
    """A snapshot or clip: when it was written, its size in bytes, and where it is."""

    written: float
    size: int
    path: Path


class Store:
    """One folder of alarms; any thread may use it.

    What cannot be written, as on a full disk, waits in memory and is tried again: those who analyse and send alarms on
    go on meanwhile. The log says when that begins and ends.

    Args:
        folder: Made where it is not there.

    Raises:
        InputError: The folder cannot be used, or its database is damaged, or of a newer version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = checked_path(folder)
        try:
            for name in ("", SNAPSHOTS, CLIPS):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be used as storage ({in_one_line(error)})") from error
        self._path = self.folder / DATABASE
        self._lock, self._read_lock = threading.RLock(), threading.Lock()
        self._late = deque[Alarm](maxlen=MOST_ALARMS)
        self._waiting = deque[tuple[str, float, float]](maxlen=MOST_SCORES)
        self._failing, self._written = False, time.monotonic()
        self._database = self._connected()
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise
        # Reading a day of scores takes some tenths of a second; alarms are saved meanwhile.
        self._reader = self._connected()
        self._reader.execute("pragma query_only = on")

    def _connected(self) -> sqlite3.Connection:
        try:
            made = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
        except sqlite3.Error as error:
            raise InputError(f"{self._path}: cannot be opened ({in_one_line(error)})") from error
        made.row_factory = sqlite3.Row
        return made

    def _prepare(self) -> None:
        """Check the database, and make its tables where it is new."""
        try:
            self._database.execute("pragma journal_mode = wal")
            self._database.execute("pragma synchronous = full")
            version = self._database.execute("pragma user_version").fetchone()[0]
            if version > VERSION:
                raise InputError(
                    f"{self._path}: of version {version}; this vadistill knows {VERSION}: expected a newer vadistill"
                )
            if version == 0:
                self._database.executescript(f"begin; {TABLES} pragma user_version = {VERSION}; commit;")
            # Of alarms alone: weeks of scores of many cameras are gigabytes, which a small machine reads for minutes.
            if (found := self._database.execute("pragma quick_check('alarms')").fetchone()[0]) != "ok":
                raise InputError(f"{self._path}: damaged ({found}); move it away, and a new one is made")
        except sqlite3.OperationalError as error:  # locked, no space, no permission: nothing is wrong with its content
            raise InputError(f"{self._path}: cannot be used ({in_one_line(error)})") from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self._path}: damaged ({in_one_line(error)}); move it away, and a new one is made"
            ) from error

    def save(self, alarm: Alarm) -> None:
        """Keep an alarm as it is now, on the disk when this returns; an earlier phase changes nothing.

        Where nothing can be written it is kept in memory, and written as soon as that is possible again.
        """
        with self._lock:
            alarms = [*self._late, alarm]
            if self._kept(lambda: self._upsert(alarms)):
                self._late.clear()
                self._note_success()
            else:
                self._late.append(alarm)

    def _upsert(self, alarms: Iterable[Alarm]) -> None:
        for alarm in alarms:
            values = (
                alarm.id, alarm.camera, alarm.zone, str(alarm.phase), alarm.start, alarm.end, alarm.peak, alarm.score,
                alarm.threshold, *alarm.box, alarm.snapshot, alarm.clip,
            )  # fmt: skip
            known = self._database.execute("select phase from alarms where id = ?", (alarm.id,)).fetchone()
            if known and ORDER[Phase(known["phase"])] > ORDER[alarm.phase]:
                continue
            changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ")[1:])
            marks = ", ".join("?" * len(values))
            self._database.execute(
                f"insert into alarms ({COLUMNS}) values ({marks}) on conflict (id) do update set {changed}", values
            )

    def _kept(self, write: Callable[[], object]) -> bool:
        """Write in one transaction and return whether that was possible; called with the lock held."""
        try:
            self._database.execute("begin immediate")
            write()
            self._database.execute("commit")
        except sqlite3.DatabaseError as error:
            with suppress(sqlite3.Error):
                self._database.rollback()
            if type(error) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
                raise  # what was to be written is wrong, and would be for ever
            if not self._failing:
                log.error("%s: cannot be written (%s); it is tried again", self._path, in_one_line(error))
            self._failing = True
            return False
        return True

    def _note_success(self) -> None:
        """Say that all is well again, when nothing waits any more: small things may fit where large ones do not."""
        if self._failing and not self._late and not self._waiting:
            log.warning("%s: is written again", self._path)
            self._failing = False

    def alarms(
        self, camera: str | None = None, since: float | None = None, until: float | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return alarms as ``Alarm.record`` with ``feedback`` (true, false, null), the newest first.

        Args:
            camera: Of this one alone.
            since: That start at this unix time or later.
            until: That start before this unix time.
            limit: So many at most.
        """
        where, values = ["1"], list[Any]()
        for text, value in (("camera = ?", camera), ("start >= ?", since), ("start < ?", until)):
            if value is not None:
                where.append(text)
                values.append(value)
        rows = self._rows(
            f"select * from alarms where {' and '.join(where)} order by start desc limit ?", *values, limit
        )
        return [_record(row) for row in rows]

    def alarm(self, alarm: str) -> dict[str, Any] | None:
        """Return one alarm, or None."""
        rows = self._rows("select * from alarms where id = ?", alarm)
        return _record(rows[0]) if rows else None

    def close_open(self, moment: float) -> list[Alarm]:
        """End alarms that were cut off, and return them.

        Args:
            moment: Unix time; they end with the last score before it that no pause parts from their peak.
        """
        ended = []
        for row in self._rows("select * from alarms where phase != ?", str(Phase.END)):
            try:
                end = self._last_score(row["camera"], row["peak"], moment)
            except InputError as error:
                log.error("%s: alarm %s ends at its peak", error, row["id"])
                end = row["peak"]
            box = (row["x"], row["y"], row["width"], row["height"])
            kept = {name: row[name] for name in COLUMNS.split(", ") if name not in ("x", "y", "width", "height")}
            alarm = Alarm(**{**kept, "phase": Phase.END, "end": end, "box": box})
            self.save(alarm)
            ended.append(alarm)
        return ended

    def _last_score(self, camera: str, since: float, until: float) -> float:
        times, _ = self.scores(camera, since, min(until, since + DAY))
        times = np.concatenate([[since], times])
        pauses = np.flatnonzero(np.diff(times) > PAUSE)
        return float(times[pauses[0] if len(pauses) else -1])

    def add_scores(self, camera: str, times: Sequence[float], scores: Sequence[float]) -> None:
        """Keep smoothed scores of a camera at unix times; they reach the disk within ``SCORES_WAIT`` seconds.

        A score that is no number is left out.
        """
        with self._lock:
            for moment, score in zip(times, scores, strict=True):
                if np.isfinite(moment) and np.isfinite(score):
                    self._waiting.append((camera, float(moment), float(score)))
            if time.monotonic() - self._written >= (RETRY if self._failing else SCORES_WAIT):
                self.flush()

    def flush(self) -> None:
        """Write what waits, as far as there is space."""
        with self._lock:
            self._written = time.monotonic()
            if self._late and self._kept(lambda: self._upsert(self._late)):
                self._late.clear()
            insert = "insert or replace into scores values (?, ?, ?)"
            if self._waiting and self._kept(lambda: self._database.executemany(insert, self._waiting)):
                self._waiting.clear()
            self._note_success()

    def scores(self, camera: str, since: float, until: float) -> tuple[np.ndarray, np.ndarray]:
        """Return unix times (T,) and smoothed scores (T,) of a camera between two unix times.

        Raises:
            InputError: The database is damaged there.
        """
        self.flush()
        with self._read_lock:
            cursor = self._reader.cursor()
            cursor.row_factory = None  # plain tuples take half the time; a day has 400,000 of them
            try:
                rows = cursor.execute(
                    "select time, score from scores where camera = ? and time between ? and ? order by time",
                    (camera, since, until),
                ).fetchall()
            except sqlite3.DatabaseError as error:
                raise InputError(f"{self._path}: scores cannot be read ({in_one_line(error)})") from error
        times, scores = np.array(rows, np.float64).reshape(-1, 2).T
        return times, scores

    def set_feedback(self, alarm: str, is_alarm: bool | None) -> None:
        """Note whether an alarm was one; None takes it back.

        Raises:
            InputError: There is no such alarm, or nothing can be written.
        """
        value = None if is_alarm is None else int(is_alarm)
        try:
            with self._lock:
                done = self._database.execute("update alarms set feedback = ? where id = ?", (value, alarm))
        except sqlite3.OperationalError as error:
            raise InputError(f"alarm {alarm}: its feedback cannot be kept ({in_one_line(error)})") from error
        if not done.rowcount:
            raise InputError(f"alarm {alarm}: unknown; it may have been removed, since it was old")

    def path_of(self, relative: str) -> Path:
        """Return where a snapshot or clip lies.

        Raises:
            InputError: It is no file of these two folders.
        """
        path = self.folder / relative
        # A link in the folder must not lead out of it; the folder itself may be one.
        if not FILE.fullmatch(relative) or path.resolve().parent != path.parent.resolve():
            raise InputError(f"{relative!r}: expected {SNAPSHOTS}/<id>.jpg or {CLIPS}/<id>.mp4")
        return path

    def prune(self, now: float, days: float, most_bytes: int) -> None:
        """Remove what is older than some days, then the oldest of what is beyond a size, and files that no alarm knows.

        Files go first: on a full disk, the database needs their space.

        Args:
            now: Unix time.
            days: Of alarms, scores and files.
            most_bytes: Of snapshots, clips and the database; clips and snapshots of the oldest alarms go, alarms stay.
                The oldest scores go where the database has more than half of it.
        """
        before, end = now - days * DAY, str(Phase.END)
        with self._lock:
            late = {alarm.id for alarm in self._late}
        known = {row["id"] for row in self._rows("select id from alarms where start >= ? or phase != ?", before, end)}
        removed = self._remove_files(now, known | late, most_bytes - min(self._size(), most_bytes // 2))
        self.flush()
        with self._lock:
            self._kept(
                lambda: self._database.execute("delete from alarms where start < ? and phase = ?", (before, end))
            )
        for first in range(0, len(removed), FORGOTTEN_AT_ONCE):
            self._forget(removed[first : first + FORGOTTEN_AT_ONCE])
        self._remove_scores(before)
        self._shrink_scores(most_bytes // 2)

    def _forget(self, removed: Sequence[Path]) -> None:
        """Note that files are gone, by their alarms' ids, by which rows are found without reading all."""

        def forget() -> None:
            for folder, column in ((SNAPSHOTS, "snapshot"), (CLIPS, "clip")):
                ids = [(path.stem,) for path in removed if path.parent.name == folder]
                self._database.executemany(f"update alarms set {column} = '' where id = ?", ids)

        with self._lock:
            self._kept(forget)

    def _shrink_scores(self, most_bytes: int) -> None:
        """Remove the oldest scores, until the database has no more bytes than that or nothing can be removed."""
        before = -np.inf
        while self._size() > most_bytes:
            first = self._first_score()
            if first is None or first <= before:
                return
            before = first
            self._remove_scores(first + REMOVED_AT_ONCE)

    def _size(self) -> int:
        """Return the bytes of the database that are in use; what is free in its file is used again."""
        pages, free, size = (self._rows(f"pragma {one}")[0][0] for one in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    def _first_score(self) -> float | None:
        """Return the time of the oldest score."""
        firsts = [self._rows("select min(time) from scores where camera = ?", one)[0][0] for one in self._scored()]
        return min(firsts, default=None)

    def _scored(self) -> Iterator[str]:
        """Yield the cameras that have scores; by their names they are found without reading all."""
        camera = ""
        while (camera := self._rows("select min(camera) from scores where camera > ?", camera)[0][0]) is not None:
            yield camera

    def _remove_files(self, now: float, known: set[str], most_bytes: int) -> list[Path]:
        """Remove files of no known alarm, and the oldest ones beyond a size; return the latter."""
        files, removed = [], []
        for file in self._files():
            if file.path.stem in known or now - file.written < HALF_WRITTEN:
                files.append(file)
            else:
                file.path.unlink(missing_ok=True)
        total = sum(file.size for file in files)
        for file in sorted(files):
            if total <= most_bytes:
                break
            if not file.path.name.startswith("."):  # it is being written
                file.path.unlink(missing_ok=True)
                total -= file.size
                removed.append(file.path)
        return removed

    def _files(self) -> list[_File]:
        files = []
        for folder in (SNAPSHOTS, CLIPS):
            for path in (self.folder / folder).iterdir():
                with suppress(FileNotFoundError):  # it has got its name, or was removed
                    found = path.lstat()
                    if not stat.S_ISDIR(found.st_mode):
                        files.append(_File(found.st_mtime, found.st_size, path))
        return files

    def _remove_scores(self, before: float) -> None:
        """Remove scores, some hours of one camera at once: by camera and time they are found without reading all."""
        for camera in self._scored():
            while True:
                first = self._rows("select min(time) from scores where camera = ?", camera)[0][0]
                if first is None or first >= before:
                    break
                remove = partial(self._remove_part, camera, min(before, first + REMOVED_AT_ONCE))
                with self._lock:
                    if not self._kept(remove):
                        return

    def _remove_part(self, camera: str, before: float) -> None:
        self._database.execute("delete from scores where camera = ? and time < ?", (camera, before))

    def close(self) -> None:
        """Write what waits and close the database."""
        self.flush()
        with self._lock:
            if lost := len(self._late) + len(self._waiting):
                log.error("%s: %d alarms and scores are lost", self._path, lost)
            self._database.close()
        with self._read_lock:
            self._reader.close()

    def _rows(self, text: str, *values: Any) -> list[sqlite3.Row]:
        with self._read_lock:
            return self._reader.execute(text, values).fetchall()


def _record(row: sqlite3.Row) -> dict[str, Any]:
    content = {name: row[name] for name in row.keys() if name not in ("x", "y", "width", "height")}  # noqa: SIM118
    feedback = row["feedback"]
    box = [row["x"], row["y"], row["width"], row["height"]]
    return {**content, "box": box, "feedback": None if feedback is None else bool(feedback)}
