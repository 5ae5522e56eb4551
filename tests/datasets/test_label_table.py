"""labels.csv as people write it."""

import pytest

from vadistill.datasets.label_table import intervals_of_clips, read_intervals
from vadistill.errors import InputError

CLIPS = ["01", "2", "Cam_007", "gate 10", "x.y"]


@pytest.mark.parametrize(
    ("written", "clip"),
    [
        *(("01", "01"), ("01.mp4", "01"), ("01.AVI", "01"), ("1", "01"), ("1.webm", "01"), ("001", "01"), ("02", "2")),
        *(("test/01.mp4", "01"), (r"C:\videos\test\01.mp4", "01"), ("cam_7", "Cam_007"), ("CAM_007.mkv", "Cam_007")),
        *(("gate 010", "gate 10"), ("x.y", "x.y"), ("x.y.ts", "x.y")),
    ],
)
def test_a_clip_is_known_by_its_name_its_file_or_its_number(tmp_path, written, clip):
    (tmp_path / "labels.csv").write_text(f"clip,start,end\n{written},3,5\n")
    made = intervals_of_clips(tmp_path / "labels.csv", CLIPS)
    assert made == {name: [(3, 5)] if name == clip else [] for name in CLIPS}


def test_rows_of_one_clip_in_two_forms_are_joined(tmp_path):
    (tmp_path / "labels.csv").write_text("clip,start,end\n1,3,5\n01.mp4,7,9\n")
    assert intervals_of_clips(tmp_path / "labels.csv", CLIPS)["01"] == [(3, 5), (7, 9)]


def test_an_exact_name_wins_and_a_loose_one_of_several_clips_is_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("clip,start,end\n1,3,5\n")
    assert intervals_of_clips(path, ["1", "01", "001"]) == {"1": [(3, 5)], "01": [], "001": []}
    with pytest.raises(InputError, match=r"labels\.csv: '1' may be the clip '01' or '001'; expected one name"):
        intervals_of_clips(path, ["01", "001"])


def test_an_unknown_name_is_told_the_nearest(tmp_path):
    (tmp_path / "labels.csv").write_text("clip,start,end\nCam_070,3,5\n")
    with pytest.raises(InputError, match=r"names the clip 'Cam_070', .* nearest is 'Cam_007'"):
        intervals_of_clips(tmp_path / "labels.csv", CLIPS)


ROWS = [("clip", "start", "end"), ("Straße, a", "3", "5"), ("b", "7", "9")]


def table(separator, quote='"'):
    return "\r\n".join(separator.join(f"{quote}{cell}{quote}" for cell in row) for row in ROWS)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((table(","), "utf-8"), (table(","), "utf-8-sig"), (table(";"), "utf-8-sig"), (table("\t"), "utf-16")),
        *(
            ("sep=;\r\n" + table(";"), "utf-8"),
            (table(";", ""), "utf-8"),
            (table(";").replace('"clip"', "Clip"), "utf-8"),
        ),
        (table(";", "").replace("end", "end;;").replace(";5", ";5;;"), "utf-8"),
    ],
)
def test_what_spreadsheets_write(tmp_path, text, encoding):
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    assert read_intervals(tmp_path / "labels.csv") == {"Straße, a": [(3, 5)], "b": [(7, 9)]}


def test_another_encoding_is_refused_in_one_line(tmp_path):
    (tmp_path / "labels.csv").write_bytes(table(";").encode("cp1252"))
    with pytest.raises(InputError, match=r"labels\.csv: not a text file in UTF-8 .* saved as 'CSV UTF-8'") as caught:
        read_intervals(tmp_path / "labels.csv")
    assert "\n" not in str(caught.value)
