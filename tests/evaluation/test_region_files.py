import re
import time

import numpy as np
import pytest

from vadistill.errors import InputError
from vadistill.evaluation.rbdc_tbdc import Regions, Tracks, rbdc_and_tbdc
from vadistill.evaluation.region_files import read_pair, read_regions, read_tracks, write_regions, write_tracks

TRACK_ROW, REGION_ROW = "0,31,4,42,119,149", "31,4,42,119,149,0.5"


def folder_of(path, **files):
    path.mkdir()
    for name, text in files.items():
        (path / f"{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_tracks_as_published(tmp_path):
    folder = folder_of(tmp_path / "t", c10="0,31,4,42,119,149\n1,32,6,45,129,154\n", c2="", readme="The format is:\n")
    (folder / ".c3.txt").write_text("hidden")
    (folder / "notes.csv").write_text("no tracks")
    made = read_tracks(folder)
    assert list(made) == ["c2", "c10"]
    assert made["c2"].box.shape == (0, 4) and len(made["c2"].track) == len(made["c2"].frame) == 0
    np.testing.assert_array_equal(made["c10"].track, [0, 1])
    np.testing.assert_array_equal(made["c10"].frame, [31, 32])
    np.testing.assert_array_equal(made["c10"].box, [[4, 42, 119, 149], [6, 45, 129, 154]])
    assert made["c10"].frame.dtype == made["c10"].track.dtype == np.int64


@pytest.mark.parametrize("text", ["\ufeff3,1,2,3,4,0.5", "3, 1, 2, 3, 4, 5e-1\r\n\r\n", "\n3.0,1,2,3,4,.5\n  \n"])
def test_what_other_programs_write(tmp_path, text):
    made = read_regions(folder_of(tmp_path / "r", a=text))["a"]
    assert (made.frame.tolist(), made.box.tolist(), made.score.tolist()) == ([3], [[1, 2, 3, 4]], [0.5])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_written_numbers_are_read_back_as_they_were(tmp_path, dtype):
    rng = np.random.default_rng(0)
    corner = (rng.normal(0, 50, (200, 2))).astype(dtype)
    box = np.concatenate([corner, corner + rng.integers(0, 40, (200, 2)).astype(dtype)], 1)
    regions = Regions(rng.integers(0, 10**6, 200), box, rng.normal(0, 1e-7, 200).astype(dtype))
    tracks = Tracks(rng.integers(-5, 5, 200), regions.frame, box)
    write_regions(tmp_path / "r" / "a.txt", regions)
    write_tracks(tmp_path / "t" / "a.txt", tracks)
    write_regions(tmp_path / "r" / "b.txt", Regions(np.zeros(0, int), np.zeros((0, 4)), np.zeros(0)))
    write_tracks(tmp_path / "t" / "b.txt", Tracks(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4))))
    assert (tmp_path / "r" / "b.txt").read_bytes() == b""
    truth, found = read_pair(tmp_path / "t", tmp_path / "r")
    assert list(truth) == list(found) == ["a", "b"]
    for made, expected in ((truth["a"], tracks), (found["a"], regions)):
        for name, values in vars(expected).items():
            np.testing.assert_array_equal(getattr(made, name), values)


def test_whole_numbers_are_written_as_in_published_files(tmp_path):
    write_tracks(tmp_path / "a.txt", Tracks(np.array([0]), np.array([31]), np.array([[4.0, 42.0, 119.0, 149.5]])))
    write_regions(tmp_path / "b.txt", Regions(np.array([7]), np.array([[1, 2, 3, 4]]), np.array([0.1])))
    assert (tmp_path / "a.txt").read_text() == "0,31,4,42,119,149.5\n"
    assert (tmp_path / "b.txt").read_text() == "7,1,2,3,4,0.1\n"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("1,2,3,4,5", "too few columns"),
        ("1,2,3,4,5,6,7", "too many columns"),
        ("1,2,3,4,5,", "an empty cell"),
        ("1;2;3;4;5;6", "another separator"),
        ("1,2,3,4,x,6", "no number"),
        ("1,2,3,4,1_0,6", "no number"),
        ("# a comment", "no comments"),
        ("1,2,nan,4,5,6", "nan"),
        ("1,2,3,4,inf,6", "infinity"),
        ("1,2,3,4,1e999,6", "infinity"),
        ("1,-1,3,4,5,6", "frame before the first"),
        ("1,2.5,3,4,5,6", "no whole frame"),
        ("1.5,2,3,4,5,6", "no whole track"),
        ("1,1e300,3,4,5,6", "beyond every frame"),
        ("1,2,6,4,5,6", "x_max < x_min"),
        ("1,2,3,7,5,6", "y_max < y_min"),
    ],
)
@pytest.mark.parametrize("position", [1, 2, 5])
def test_a_bad_row_of_tracks_is_named(tmp_path, row, why, position):
    lines = [TRACK_ROW, TRACK_ROW, "", TRACK_ROW, TRACK_ROW]
    lines[position - 1] = row
    lines += ["bad as well"] * (position == 2)
    folder = folder_of(tmp_path / "t", good=TRACK_ROW, wrong="\n".join(lines))
    with pytest.raises(InputError) as error:
        read_tracks(folder)
    message = str(error.value)
    assert message.startswith(f"{folder / 'wrong.txt'}: row {position} is '{row}'; expected track_id,frame_id,x_min,")
    assert "\n" not in message and "x_min <= x_max" in message


@pytest.mark.parametrize(
    "row",
    [
        "1,2,3,4,5",
        "-1,1,2,3,4,0.5",
        "0.5,1,2,3,4,0.5",
        "1,3,2,2,4,0.5",
        "1,1,3,2,2,0.5",
        "1,1,2,3,4,nan",
        "1,1,2,3,4,high",
    ],
)
def test_a_bad_row_of_detections_is_named(tmp_path, row):
    folder = folder_of(tmp_path / "r", a=f"{REGION_ROW}\n{row}\n{REGION_ROW}\n")
    with pytest.raises(InputError, match=rf"a\.txt: row 2 is '{re.escape(row)}'; expected frame_id,x_min,.*,score"):
        read_regions(folder)


def test_a_file_in_which_every_row_is_too_long(tmp_path):
    with pytest.raises(InputError, match=r"a\.txt: row 1 is"):
        read_regions(folder_of(tmp_path / "r", a="1,2,3,4,5,6,7\n1,2,3,4,5,6,7\n"))


@pytest.mark.parametrize("read", [read_tracks, read_regions])
def test_missing_and_unreadable_folders_and_files(tmp_path, read):
    with pytest.raises(InputError, match="nowhere: missing; expected a folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"empty: no \.txt files; expected a folder"):
        read(folder_of(tmp_path / "empty", readme="nothing else"))
    with pytest.raises(InputError, match=r"latin.a\.txt: not a readable text file in UTF-8"):
        read(folder_of(tmp_path / "latin", a=b"1,2,3,4,5,\xe9"))
    folder_of(tmp_path / "nested")
    (tmp_path / "nested" / "a.txt").mkdir()
    with pytest.raises(InputError, match=r"nested.a\.txt: not a readable text file"):
        read(tmp_path / "nested")


def test_both_folders_hold_the_same_clips(tmp_path):
    tracks = folder_of(tmp_path / "t", a=TRACK_ROW, b="", c="")
    regions = folder_of(tmp_path / "r", a=REGION_ROW, b=REGION_ROW)
    with pytest.raises(InputError, match=rf"^{regions / 'c.txt'}: missing; {tracks / 'c.txt'} exists"):
        read_pair(tracks, regions)
    (regions / "c.txt").touch()
    (regions / "d.txt").touch()
    with pytest.raises(InputError, match=rf"^{tracks / 'd.txt'}: missing; {regions / 'd.txt'} exists"):
        read_pair(tracks, regions)
    (regions / "d.txt").unlink()
    assert rbdc_and_tbdc(*read_pair(tracks, regions), 300).rbdc == 1


@pytest.mark.slow
def test_a_long_file_takes_seconds_even_where_its_last_row_is_bad(tmp_path):
    folder = folder_of(tmp_path / "r", a=f"{REGION_ROW}\n" * 200_000 + "1,2,3,4,5\n")
    start = time.process_time()  # another's load does not count
    with pytest.raises(InputError, match="row 200001 is '1,2,3,4,5'"):
        read_regions(folder)
    assert time.process_time() - start < 20
