"""What a watch keeps: alarms, scores and feedback in SQLite, snapshots and clips beside it."""

import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vadistill.errors import InputError, in_one_line
from vadistill.io.files import checked_path
from vadistill.watch.alarm import Alarm, Phase

DATABASE, VERSION = "watch.db", 1
SNAPSHOTS, CLIPS = "snapshots", "clips"
SCORES_WAIT = 2.0  # seconds of scores that may be lost with power; alarms are on the disk when they are saved
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


class Store:
    """One folder of alarms; any thread may use it.

    Args:
        folder: Made where it is not there.

    Raises:
        InputError: Its database is damaged, or of a newer version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = checked_path(folder)
        for name in ("", SNAPSHOTS, CLIPS):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._waiting: list[tuple[str, float, float]] = []
        self._written = time.monotonic()
        self._open()

    def _open(self) -> None:
        path = self.folder / DATABASE
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._database.row_factory = sqlite3.Row
            self._database.execute("pragma journal_mode = wal")
            self._database.execute("pragma synchronous = full")
            version = self._database.execute("pragma user_version").fetchone()[0]
            if version > VERSION:
                raise InputError(f"{path}: of version {version}; this vadistill knows {VERSION}: expected a newer one")
            if version == 0:
                self._database.executescript(f"begin; {TABLES} pragma user_version = {VERSION}; commit;")
            if (found := self._database.execute("pragma quick_check").fetchone()[0]) != "ok":
                raise InputError(f"{path}: damaged ({found}); move it away, and a new one is made")
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: damaged ({in_one_line(error)}); move it away, and a new one is made") from error

    def save(self, alarm: Alarm) -> None:
        """Keep an alarm as it is now, on the disk when this returns; an earlier phase changes nothing."""
        values = (
            alarm.id, alarm.camera, alarm.zone, str(alarm.phase), alarm.start, alarm.end, alarm.peak, alarm.score,
            alarm.threshold, *alarm.box, alarm.snapshot, alarm.clip,
        )  # fmt: skip
        with self._lock, self._database:
            known = self._database.execute("select phase from alarms where id = ?", (alarm.id,)).fetchone()
            if known and ORDER[Phase(known["phase"])] > ORDER[alarm.phase]:
                return
            changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ")[1:])
            marks = ", ".join("?" * len(values))
            self._database.execute(
                f"insert into alarms ({COLUMNS}) values ({marks}) on conflict (id) do update set {changed}", values
            )

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
            moment: Unix time; they end with their last score before it, or their peak.
        """
        ended = []
        for row in self._rows("select * from alarms where phase != ?", str(Phase.END)):
            last = self._rows(
                "select max(time) as time from scores where camera = ? and time between ? and ?",
                row["camera"], row["peak"], min(moment, row["peak"] + 60),
            )  # fmt: skip
            box = (row["x"], row["y"], row["width"], row["height"])
            kept = {name: row[name] for name in COLUMNS.split(", ") if name not in ("x", "y", "width", "height")}
            alarm = Alarm(**{**kept, "phase": Phase.END, "end": last[0]["time"] or row["peak"], "box": box})
            self.save(alarm)
            ended.append(alarm)
        return ended

    def add_scores(self, camera: str, times: Sequence[float], scores: Sequence[float]) -> None:
        """Keep smoothed scores of a camera at unix times; they reach the disk within ``SCORES_WAIT`` seconds."""
        with self._lock:
            self._waiting += zip([camera] * len(times), map(float, times), map(float, scores), strict=True)
            if time.monotonic() - self._written >= SCORES_WAIT:
                self.flush()

    def flush(self) -> None:
        """Write the scores that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._written = time.monotonic()
            if waiting:
                self._database.execute("begin")
                self._database.executemany("insert or replace into scores values (?, ?, ?)", waiting)
                self._database.execute("commit")

    def scores(self, camera: str, since: float, until: float) -> tuple[np.ndarray, np.ndarray]:
        """Return unix times (T,) and smoothed scores (T,) of a camera between two unix times."""
        self.flush()
        with self._lock:
            cursor = self._database.cursor()
            cursor.row_factory = None  # plain tuples take half the time; a day has 400,000 of them
            rows = cursor.execute(
                "select time, score from scores where camera = ? and time between ? and ? order by time",
                (camera, since, until),
            ).fetchall()
        times, scores = np.array(rows, np.float64).reshape(-1, 2).T
        return times, scores

    def set_feedback(self, alarm: str, is_alarm: bool | None) -> None:
        """Note whether an alarm was one; None takes it back.

        Raises:
            InputError: There is no such alarm.
        """
        with self._lock:
            value = None if is_alarm is None else int(is_alarm)
            done = self._database.execute("update alarms set feedback = ? where id = ?", (value, alarm))
            if not done.rowcount:
                raise InputError(f"alarm {alarm}: unknown; it may have been removed, since it was old")

    def path_of(self, relative: str) -> Path:
        """Return where a snapshot or clip lies.

        Raises:
            InputError: It is no file of these two folders.
        """
        path = Path(relative)
        if len(path.parts) != 2 or path.parts[0] not in (SNAPSHOTS, CLIPS) or path.name.startswith("."):
            raise InputError(f"{relative!r}: expected {SNAPSHOTS}/<id>.jpg or {CLIPS}/<id>.mp4")
        return self.folder / path

    def prune(self, now: float, days: float, most_bytes: int) -> None:
        """Remove what is older than some days, then the oldest files beyond a size, and files that no alarm knows.

        Args:
            now: Unix time.
            days: Of alarms, scores and files.
            most_bytes: Of snapshots and clips together; clips and snapshots of the oldest alarms go, alarms stay.
        """
        self.flush()
        before = now - days * 86400
        with self._lock:
            self._database.execute("delete from alarms where start < ? and phase = ?", (before, str(Phase.END)))
            self._database.execute("delete from scores where time < ?", (before,))
        named = {name for row in self._rows("select snapshot, clip from alarms") for name in row if name}
        files = []
        for folder in (SNAPSHOTS, CLIPS):
            for path in (self.folder / folder).iterdir():
                found = path.stat()
                if f"{folder}/{path.name}" in named or now - found.st_mtime < HALF_WRITTEN:
                    files.append((found.st_mtime, found.st_size, path))
                else:
                    path.unlink(missing_ok=True)
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= most_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
            with self._lock:
                column = "snapshot" if path.parent.name == SNAPSHOTS else "clip"
                name = f"{path.parent.name}/{path.name}"
                self._database.execute(f"update alarms set {column} = '' where {column} = ?", (name,))

    def close(self) -> None:
        """Write what waits and close the database."""
        self.flush()
        with self._lock:
            self._database.close()

    def _rows(self, text: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(text, values).fetchall()


def _record(row: sqlite3.Row) -> dict[str, Any]:
    content = {name: row[name] for name in row.keys() if name not in ("x", "y", "width", "height")}  # noqa: SIM118
    feedback = row["feedback"]
    box = [row["x"], row["y"], row["width"], row["height"]]
    return {**content, "box": box, "feedback": None if feedback is None else bool(feedback)}
