import csv
from collections import deque

import numpy as np
import polars
import pytest
from films import write_film
from stream_parts import SIDES, Means, Reference, joined, noise
from trees import write_avi, write_images

from vadistill.errors import InputError
from vadistill.evaluation.score_files import read_scores
from vadistill.inference.backend import BatchScores
from vadistill.inference.score_table import score_all, write_scores
from vadistill.inference.scoring import ScoreOptions
from vadistill.inference.stream import score_video
from vadistill.inference.table_files import is_table
from vadistill.io.frames import write_frames
from vadistill.windows.training_conditions import Conditions


def parts_of(scores, maps, batch):
    for start in range(0, len(scores), batch):
        chosen = slice(start, start + batch)
        yield BatchScores(scores[chosen], {g: grid[chosen] for g, grid in maps.items()})


@pytest.mark.parametrize("known", [True, False])
def test_a_table_reads_back_as_written(known, tmp_path):
    rng = np.random.default_rng(0)
    scores, maps = rng.random(11, np.float32), {g: rng.random((11, g, g), np.float32) for g in SIDES}
    moments = [0.04 * t + (t > 5) for t in range(11)]
    path, archive = tmp_path / "new" / "a.csv", tmp_path / "new" / "a.npz"
    write_scores(path, parts_of(scores, maps, 4), deque(moments if known else ()), archive)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["frame", "time_s", "score"]
    assert [int(row["frame"]) for row in rows] == list(range(11))
    assert [row["time_s"] for row in rows] == [f"{seconds:.3f}" if known else "" for seconds in moments]
    np.testing.assert_array_equal(np.array([row["score"] for row in rows], np.float32), scores)
    assert max(len(row["score"]) for row in rows) < 15, "no digits that float32 does not have"
    with np.load(archive) as made:
        assert made.files == ["1x1", "4x4"]
        for g in SIDES:
            np.testing.assert_array_equal(made[f"{g}x{g}"], maps[g].astype(np.float16))
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.csv", "a.npz"]


@pytest.mark.parametrize("known", [True, False])
def test_a_parquet_table_reads_back_as_written(known, tmp_path):
    scores = np.random.default_rng(0).random(11, np.float32)
    moments = [0.04 * t + (t > 5) for t in range(11)]
    path = tmp_path / "new" / "a.parquet"
    write_scores(path, parts_of(scores, {}, 4), deque(moments if known else ()))
    table = polars.read_parquet(path)
    assert table.columns == ["frame", "time_s", "score"] and table["frame"].to_list() == list(range(11))
    assert table["time_s"].to_list() == (moments if known else [None] * 11)
    assert table["score"].dtype == polars.Float32 and table["score"].to_list() == scores.tolist()
    np.testing.assert_array_equal(read_scores(path.parent)["a"], scores)
    assert is_table(path) and [file.name for file in path.parent.iterdir()] == ["a.parquet"]


def test_tables_are_parquet_where_that_is_asked_for(tmp_path):
    write_avi(tmp_path / "one.avi", noise(5))
    for output, options in (
        (tmp_path / "out", ScoreOptions(4, parquet=True)),
        (tmp_path / "b.parquet", ScoreOptions()),
    ):
        for _ in range(2):  # an earlier table is replaced
            assert score_all([tmp_path / "one.avi"], output, Reference(), options) == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one.parquet"]
    assert polars.read_parquet(tmp_path / "b.parquet").equals(polars.read_parquet(tmp_path / "out/one.parquet"))
    write_avi(tmp_path / "cam[1].avi", noise(5))  # no pattern of names
    for _ in range(2):
        assert score_all([tmp_path / "cam[1].avi"], tmp_path / "odd", Reference(), ScoreOptions(parquet=True)) == []
    assert list(read_scores(tmp_path / "odd")) == ["cam[1]"]
    with pytest.raises(InputError, match=r"cam\[1\]\.csv: cam\[1\]\.parquet is there, too; expected one table"):
        score_all([tmp_path / "cam[1].avi"], tmp_path / "odd", Reference(), ScoreOptions())
    with pytest.raises(InputError, match=r"b\.csv: no Parquet table by its name"):
        score_all([tmp_path / "cam[1].avi"], tmp_path / "b.csv", Reference(), ScoreOptions(parquet=True))
    good = (tmp_path / "b.parquet").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(30):  # some of these make the reader panic
        damaged = bytearray(good)
        for place in rng.integers(0, len(good), 3):
            damaged[place] ^= 255
        (tmp_path / "damaged.parquet").write_bytes(damaged)
        try:
            read_scores(tmp_path / "damaged.parquet")
        except InputError as error:
            assert "damaged.parquet" in str(error) and "\n" not in str(error)
    for content in (b"mine", b"PAR1 mine PAR1"):
        (tmp_path / "b.parquet").write_bytes(content)
        with pytest.raises(InputError, match=r"b\.parquet: a file is there that is no earlier table of scores"):
            score_all([tmp_path / "one.avi"], tmp_path / "b.parquet", Reference(), ScoreOptions())
        with pytest.raises(InputError, match=r"b\.parquet: not a Parquet file"):
            read_scores(tmp_path / "b.parquet")
    polars.DataFrame({"frame": [0, 2], "score": [0.0, 1.0]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="its frames are not 0, 1, 2"):
        read_scores(tmp_path / "b.parquet")
    polars.DataFrame({"value": [0.0, 1.0]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="has the columns value; expected one named score"):
        read_scores(tmp_path / "b.parquet")


def test_a_table_is_whole_or_not_there(tmp_path):
    path, archive = tmp_path / "a.csv", tmp_path / "a.npz"
    path.write_text("old")

    def broken():
        yield BatchScores(np.zeros(3, np.float32), {1: np.zeros((3, 1, 1), np.float32)})
        raise InputError("cut")

    with pytest.raises(InputError, match="cut"):
        write_scores(path, broken(), deque(), archive)
    bad = BatchScores(np.array([0.5, np.nan], np.float32), {})
    with pytest.raises(InputError, match=r"a\.csv: the score of frame 1 is nan; expected a finite number"):
        write_scores(path, iter([bad]), deque())
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_a_full_disk_under_a_parquet_table_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise polars.exceptions.ComputeError("No space left on device")

    monkeypatch.setattr(polars.DataFrame, "write_parquet", full)
    write_avi(tmp_path / "one.avi", noise(5))
    errors = score_all([tmp_path / "one.avi"] * 1, tmp_path / "out", Reference(), ScoreOptions(parquet=True))
    assert len(errors) == 1 and "cannot be written" in errors[0] and list((tmp_path / "out").iterdir()) == []


def test_every_readable_source_is_scored(tmp_path, caplog):
    caplog.set_level("INFO")
    write_avi(tmp_path / "one.avi", noise(9))
    (tmp_path / "two.mp4").write_text("no video")
    write_images(tmp_path / "cam.3", noise(5), ".png")
    sources = [tmp_path / name for name in ("one.avi", "two.mp4", "none.mkv", "cam.3")]
    errors = score_all(sources, tmp_path / "out", Reference(), ScoreOptions(4, maps=True))
    assert len(errors) == 2 and "two.mp4: not a readable video" in errors[0] and "none.mkv: missing" in errors[1]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "cam.3.csv",
        "cam.3.npz",
        "one.csv",
        "one.npz",
    ]
    scored = [line for line in caplog.messages if " frames/s, limited by " in line]
    assert [line.split(" frames,")[0] for line in scored] == [f"{sources[0]}: 9", f"{sources[3]}: 5"]
    for line, name in zip(scored, ("one", "cam.3"), strict=True):
        size = (tmp_path / "out" / f"{name}.csv").stat().st_size
        assert f"wrote {tmp_path}/out/{name}.csv ({size} bytes), {tmp_path}/out/{name}.npz (" in line
    table = np.genfromtxt(tmp_path / "out" / "one.csv", delimiter=",", names=True, dtype=np.float32)
    np.testing.assert_array_equal(table["score"], joined(score_video(sources[0], Reference(), 4)).score)


def test_a_video_is_told_from_images_of_a_range(tmp_path, caplog):
    class Deep(Reference):
        conditions = Conditions(1, (25.0,), ((64, 48),), (600.0, 4000.0))

    write_film(tmp_path / "a.mp4", "libx264", noise(8, 48, 64))
    write_frames(tmp_path / "b.h5", "b", "test", tmp_path / "a.mp4")
    write_images(tmp_path / "c", noise(5, 48, 64), ".png")
    assert not score_all(
        [tmp_path / name for name in ("a.mp4", "b.h5", "c")], tmp_path / "out", Deep(), ScoreOptions(4)
    )
    assert [line.split(": ")[0] for line in caplog.messages if "a video (training: images" in line] == [
        f"{tmp_path}/a.mp4"
    ]
    assert any(f"{tmp_path}/c: 5 images have 8 bits" in line for line in caplog.messages)


def test_the_table_has_presentation_times(tmp_path):
    times = [40 * t for t in range(20)] + [800 + 200 * t for t in range(20)]
    write_film(tmp_path / "a.mp4", "libx264", noise(40, 48, 64), times=times)
    write_frames(tmp_path / "b.h5", "b", "test", tmp_path / "a.mp4")
    assert not score_all([tmp_path / "a.mp4", tmp_path / "b.h5"], tmp_path / "out", Means(), ScoreOptions(4))
    for name in "ab":
        with (tmp_path / "out" / f"{name}.csv").open(newline="") as file:
            assert [row["time_s"] for row in csv.DictReader(file)] == [f"{t / 1000:.3f}" for t in times]


def test_sources_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"out/a\.csv: 2 sources are named 'a'"):
        score_all([tmp_path / "x" / "a.avi", tmp_path / "y" / "a.mp4"], tmp_path / "out", Means(), ScoreOptions(4))
    assert not (tmp_path / "out").exists()
