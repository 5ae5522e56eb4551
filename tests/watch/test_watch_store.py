"""What a watch keeps, and what it removes."""

import os
import sqlite3
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from full_disk import full_disk

from vadistill.errors import InputError
from vadistill.io.files import whole_file
from vadistill.watch.alarm import Alarm, Phase
from vadistill.watch.store import Store

DAY = 86400.0


def alarm(number=0, phase=Phase.START, camera="yard", start=1000.0):
    return Alarm(
        id=f"{camera}-{number}", camera=camera, zone="gate", phase=phase, start=start + number, end=None,
        peak=start + number, score=0.5, threshold=0.4, box=(0.1, 0.2, 0.3, 0.4),
        snapshot=f"snapshots/{camera}-{number}.jpg",
    )  # fmt: skip


def plain(record):
    return {name: value for name, value in record.items() if name != "feedback"}


def test_alarms_are_kept_through_their_phases(tmp_path):
    store, first = Store(tmp_path), alarm()
    store.save(first)
    assert plain(store.alarm(first.id)) == first.record()
    risen = replace(first, phase=Phase.UPDATE, score=0.9, peak=1010.0)
    ended = replace(risen, phase=Phase.END, end=1020.0, clip="clips/yard-0.mp4")
    for one in (risen, ended, first, risen):  # earlier phases that come late change nothing
        store.save(one)
    assert plain(store.alarm(first.id)) == ended.record()
    store.close()
    again = Store(tmp_path)
    assert plain(again.alarm(first.id)) == ended.record() and again.alarm("none") is None


def test_alarms_are_found_by_camera_and_time_the_newest_first(tmp_path):
    store = Store(tmp_path)
    for number in range(10):
        store.save(alarm(number, camera="yard" if number % 2 else "gate"))
    assert [one["id"] for one in store.alarms(limit=3)] == ["yard-9", "gate-8", "yard-7"]
    assert [one["id"] for one in store.alarms("gate")] == [f"gate-{n}" for n in (8, 6, 4, 2, 0)]
    assert [one["id"] for one in store.alarms(since=1003, until=1006)] == ["yard-5", "gate-4", "yard-3"]


def test_feedback_stays_when_the_alarm_goes_on(tmp_path):
    store = Store(tmp_path)
    store.save(alarm())
    store.set_feedback("yard-0", False)
    store.save(alarm(phase=Phase.END))
    assert store.alarm("yard-0")["feedback"] is False
    store.set_feedback("yard-0", None)
    assert store.alarm("yard-0")["feedback"] is None
    with pytest.raises(InputError, match="alarm other: unknown"):
        store.set_feedback("other", True)


def test_alarms_that_were_cut_off_are_ended(tmp_path):
    store = Store(tmp_path)
    store.save(alarm(0))
    store.save(alarm(1, Phase.END))
    store.add_scores("yard", [1005.0, 1009.0], [0.5, 0.5])
    store.flush()
    (ended,) = store.close_open(2000.0)
    assert (ended.id, ended.phase, ended.end) == ("yard-0", Phase.END, 1009.0)
    assert store.alarm("yard-0")["end"] == 1009.0 and store.close_open(2000.0) == []


def test_a_long_alarm_that_was_cut_off_ends_with_its_last_score(tmp_path):
    store = Store(tmp_path)
    store.save(alarm(0))
    store.add_scores("yard", np.arange(1000.0, 1600.0), [0.5] * 600)
    store.add_scores("yard", np.arange(1700.0, 1800.0), [0.1] * 100)  # behind a pause: of another life
    assert store.close_open(1750.0)[0].end == 1599.0


def test_an_alarm_that_was_cut_off_without_scores_ends_with_its_peak(tmp_path):
    store = Store(tmp_path)
    store.save(alarm(0))
    assert store.close_open(2000.0)[0].end == 1000.0


def test_scores_that_are_no_numbers_are_left_out(tmp_path):
    store = Store(tmp_path)
    store.add_scores("yard", [1.0, 2.0, 3.0], [0.1, float("nan"), 0.3])
    assert [part.tolist() for part in store.scores("yard", 0, 9)] == [[1.0, 3.0], [0.1, 0.3]]


def test_scores(tmp_path):
    store, rng = Store(tmp_path), np.random.default_rng(0)
    times, scores = np.sort(rng.uniform(0, 100, 500)), rng.random(500)
    for part in np.array_split(np.arange(500), 9):
        store.add_scores("yard", times[part], scores[part])
    store.add_scores("gate", [1.0], [2.0])
    for since, until in ((0, 100), (20, 60)):
        inside = (times >= since) & (times <= until)
        found = store.scores("yard", since, until)
        np.testing.assert_array_equal(found[0], times[inside])
        np.testing.assert_array_equal(found[1], scores[inside])
    assert len(store.scores("none", 0, 100)[0]) == 0


def test_several_threads_write_at_once(tmp_path):
    store = Store(tmp_path)

    def write(camera):
        for number in range(30):
            store.save(alarm(number, camera=camera))
            store.add_scores(camera, [float(number)], [0.5])
            store.alarms(camera)

    threads = [threading.Thread(target=write, args=(f"c{n}",)) for n in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(store.alarms(limit=1000)) == 180 and len(store.scores("c3", 0, 100)[0]) == 30


def files_in(folder):
    return sorted(path.name for name in ("snapshots", "clips") for path in (folder / name).iterdir())


def test_what_is_old_or_too_much_is_removed(tmp_path):
    store, now = Store(tmp_path), time.time()
    for number, age in enumerate((10, 3, 2, 1)):
        made = replace(alarm(number, Phase.END, start=now - age * DAY), clip=f"clips/yard-{number}.mp4")
        store.save(made)
        for name in (made.snapshot, made.clip):
            (tmp_path / name).write_bytes(bytes(10**6))
            os.utime(tmp_path / name, (now - age * DAY, now - age * DAY))
    (tmp_path / "clips/.half.part.mp4").write_bytes(b"half")
    os.utime(tmp_path / "clips/.half.part.mp4", (now - DAY, now - DAY))
    (tmp_path / "clips/new.mp4").write_bytes(b"being written")
    store.add_scores("yard", [now - 10 * DAY, now - DAY], [0.5, 0.6])
    store.prune(now, 7, 4_500_000 + size_of(store))
    assert [one["id"] for one in store.alarms()] == ["yard-3", "yard-2", "yard-1"]
    assert files_in(tmp_path) == ["new.mp4", "yard-2.jpg", "yard-2.mp4", "yard-3.jpg", "yard-3.mp4"]
    assert store.alarm("yard-1")["clip"] == "" and store.alarm("yard-2")["clip"] == "clips/yard-2.mp4"
    assert store.scores("yard", 0, now)[1].tolist() == [0.6]


def size_of(store):
    """The bytes of its database, once all is in one file."""
    store._database.execute("pragma wal_checkpoint(truncate)")
    return (store.folder / "watch.db").stat().st_size


def test_the_oldest_scores_give_way_where_they_are_too_much(tmp_path):
    store, now = Store(tmp_path), time.time()
    clip = tmp_path / "clips/yard-0.mp4"
    store.save(alarm(0, Phase.END, start=now - 60))
    clip.write_bytes(bytes(400_000))
    for name in ("gate", "yard"):
        times = np.arange(now - 2 * DAY, now, 10.0)
        store.add_scores(name, times, times)
    store.flush()
    whole = size_of(store)
    assert whole > 800_000
    store.prune(now, 7, 1_000_000)
    kept = [store.scores(name, 0, now)[0] for name in ("gate", "yard")]
    assert kept[0][-1] == kept[1][-1] > now - 20 and len(kept[0]) == len(kept[1])
    assert 0.4 < len(kept[0]) / len(times) < 500_000 / whole and clip.exists() and store.alarm("yard-0")
    store.add_scores("yard", times[: len(times) // 3], times[: len(times) // 3])
    store.flush()
    assert size_of(store) <= 1.02 * whole, "what was free is used again"


def test_scores_of_all_cameras_are_removed_by_age(tmp_path):
    store, rng, now = Store(tmp_path), np.random.default_rng(0), 50 * DAY
    kept = {name: np.sort(rng.uniform(now - 5 * DAY, now, 300)) for name in ("a", "b", "yard", "zoo")}
    for name, times in kept.items():
        store.add_scores(name, times, times)
    store.prune(now, 2, 10**9)
    for name, times in kept.items():
        np.testing.assert_array_equal(store.scores(name, 0, now)[0], times[times >= now - 2 * DAY])


def test_files_may_come_and_go_while_old_ones_are_removed(tmp_path):
    store, over = Store(tmp_path), threading.Event()
    (tmp_path / "clips/folder").mkdir()

    def write():
        while not over.is_set():
            with whole_file(tmp_path / "clips/new.mp4") as part:
                part.write_bytes(b"whole")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(100):
            store.prune(time.time(), 1, 10**9)
    finally:
        over.set()
        writer.join()
    assert files_in(tmp_path) == ["folder", "new.mp4"]


def test_what_is_being_written_is_not_removed_for_its_size(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "clips/.a.1.part.mp4").write_bytes(bytes(100))
    (tmp_path / "clips/b.mp4").write_bytes(bytes(100))
    store.prune(time.time(), 1, 2 * 10)
    assert files_in(tmp_path) == [".a.1.part.mp4"]


def test_nothing_is_lost_while_the_disk_is_full(tmp_path, caplog):
    store, times = Store(tmp_path), np.arange(5000.0)
    store.save(alarm(0))
    with full_disk(40_000):
        store.add_scores("yard", times, times)
        store.flush()
        for number in range(30):
            store.save(alarm(number, start=time.time()))
        store.save(replace(alarm(0), phase=Phase.END, end=2000.0))
        store.flush()
        with pytest.raises(InputError, match="alarm yard-0: its feedback cannot be kept"):
            for number in range(100):  # the same value again would write nothing
                store.set_feedback("yard-0", number % 2 == 0)
    assert ["cannot be written" in line for line in caplog.messages] == [True], "one line for all of it"
    store.flush()
    assert "is written again" in caplog.messages[-1] and len(caplog.messages) == 2
    np.testing.assert_array_equal(store.scores("yard", 0, 5000)[1], times)
    assert store.alarm("yard-0")["phase"] == "end" and len(store.alarms(limit=1000)) == 30


def test_space_is_made_on_a_full_disk(tmp_path):
    store, now = Store(tmp_path), time.time()
    clip = replace(alarm(start=now - 9 * DAY), phase=Phase.END, clip="clips/yard-0.mp4")
    store.save(clip)
    (tmp_path / clip.clip).write_bytes(b"old")
    os.utime(tmp_path / clip.clip, (now - 9 * DAY, now - 9 * DAY))
    with full_disk(40_000):
        store.add_scores("yard", now - np.arange(5000.0), np.zeros(5000))
        store.prune(now, 7, 10**9)
    assert files_in(tmp_path) == []
    store.prune(now, 7, 10**9)
    assert store.alarms() == [] and len(store.scores("yard", 0, now)[0]) == 5000


def test_an_alarm_that_goes_on_is_never_too_old(tmp_path):
    store = Store(tmp_path)
    store.save(alarm())
    store.prune(time.time(), 1, 0)
    assert store.alarm("yard-0")


@pytest.mark.parametrize(
    "name", [
        "../watch.db", "clips/../watch.db", "/etc/passwd", "clips", "watch.db", "clips/a/b", "clips/.x", "clips/..",
        "", "clips/a.db", "snapshots/a.mp4", "clips/a\0.mp4", "clips/a.mp4\n", "clips/link.mp4",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder(name, tmp_path):
    store = Store(tmp_path / "kept")
    (tmp_path / "kept/clips/link.mp4").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match=r"expected snapshots/<id>\.jpg or clips/<id>\.mp4"):
        store.path_of(name)


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "kept").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/clips").symlink_to(tmp_path)
    store = Store(tmp_path / "kept")
    assert store.path_of("clips/a-1.mp4") == tmp_path / "kept/clips/a-1.mp4"


def test_a_damaged_or_newer_database_is_one_line(tmp_path):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "watch.db") as database:
        database.execute("pragma user_version = 9")
    database.close()
    with pytest.raises(InputError, match=r"watch\.db: of version 9; this vadistill knows 1"):
        Store(tmp_path)
    for path in tmp_path.glob("watch.db*"):
        path.unlink()
    (tmp_path / "watch.db").write_bytes(b"dear " * 1000)
    with pytest.raises(InputError, match=r"watch\.db: damaged .*; move it away, and a new one is made"):
        Store(tmp_path)


def test_damage_amid_the_alarms_is_one_line(tmp_path):
    store = Store(tmp_path)
    for number in range(500):
        store.save(alarm(number))
    store.close()
    with (tmp_path / "watch.db").open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.seek(file.tell() // 2 // 4096 * 4096)
        file.write(b"dear " * 1000)
    with pytest.raises(InputError, match=r"watch\.db: damaged .*; move it away, and a new one is made"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_used_is_one_line_and_no_damage(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot be used as storage"):
        Store(tmp_path / "file")
    (tmp_path / "kept/watch.db").mkdir(parents=True)
    with pytest.raises(InputError, match=r"watch\.db: cannot be (opened|used) \(unable to open"):
        Store(tmp_path / "kept")


def test_a_damaged_page_of_scores_ends_neither_start_nor_pruning(tmp_path):
    """The alarms are whole: the storage opens, an alarm that was cut off ends at its peak, and the log says why."""
    store, now = Store(tmp_path), time.time()
    store.save(alarm(0, Phase.START, start=now - 60))
    times = np.arange(now - 50_000, now, 1.0)
    store.add_scores("yard", times, times)
    store.flush()
    size_of(store)
    page = store._rows("select rootpage from sqlite_master where name = 'scores'")[0][0]
    store.close()
    content = bytearray((tmp_path / "watch.db").read_bytes())
    content[4096 * (page - 1) : 4096 * page] = b"\xa5" * 4096
    (tmp_path / "watch.db").write_bytes(content)
    again = Store(tmp_path)
    (ended,) = again.close_open(now)
    assert ended.end == ended.peak and again.alarm(ended.id)["phase"] == "end"
    with pytest.raises(InputError, match="scores cannot be read"):
        again.scores("yard", 0, now)
    again.close()


def test_thousands_of_files_are_removed_at_once(tmp_path):
    """By their alarms' ids: rows are not searched one after another, which took a minute of everybody's time."""
    store, now = Store(tmp_path), time.time()
    with store._lock:
        store._database.execute("begin")
        store._upsert(replace(alarm(n, Phase.END, start=now - 60), clip=f"clips/yard-{n}.mp4") for n in range(20_000))
        store._database.execute("commit")
    for number in range(2000):
        (tmp_path / f"clips/yard-{number}.mp4").write_bytes(b"film")
    store.prune(now, 7, 0)
    assert files_in(tmp_path) == [] and store.alarm("yard-1999")["clip"] == "" and store.alarm("yard-2000")["clip"]
