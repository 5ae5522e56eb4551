import pytest

from vadistill.errors import InputError
from vadistill.io.formats import NO_ENDING, ending, known_ending, refuse_to_replace, size_text

KNOWN = {".csv": "a table", NO_ENDING: "a folder"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        *(("a.onnx", ".onnx"), ("A.ONNX", ".onnx"), ("a.tar.Gz", ".gz"), (".onnx", ".onnx"), ("a.7z", ".7z")),
        *(("a", ""), ("cam.3", ""), ("2026.11.28", ""), ("a.", ""), (".", ""), ("..", ""), ("dir.pt/a", "")),
        ("dir/a.PT/", ".pt"),
    ],
)
def test_endings(name, found):
    assert ending(name) == found


def test_an_unknown_ending_is_refused_with_those_that_are_known(tmp_path):
    assert known_ending(tmp_path / "a.CSV", KNOWN) == ".csv"
    assert known_ending(tmp_path / "cam.3", KNOWN) == known_ending(tmp_path / "new", KNOWN) == NO_ENDING
    with pytest.raises(
        InputError, match=r"a\.xls: unknown ending \.xls; known are \.csv \(a table\), no ending \(a fol"
    ):
        known_ending(tmp_path / "a.xls", KNOWN)
    (tmp_path / "a.xls").mkdir()
    assert known_ending(tmp_path / "a.xls", KNOWN) == NO_ENDING, "a folder that is there is a folder"
    with pytest.raises(InputError, match=r"a: no ending; known are \.json \(a record\)$"):
        known_ending(tmp_path / "a", {".json": "a record"})
    with pytest.raises(InputError, match=r"a\.xls: unknown ending \.xls; known are \.json"):
        known_ending(tmp_path / "a.xls", {".json": "a record"})


def test_only_an_earlier_file_of_the_kind_is_replaced(tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_text("record 1")
    other.write_text("letter")

    def is_earlier(path):
        return path.read_text().startswith("record")

    refuse_to_replace(mine, is_earlier, "record")
    refuse_to_replace(tmp_path / "none", is_earlier, "record")
    with pytest.raises(InputError, match="other: a file is there that is no earlier record; expected another name"):
        refuse_to_replace(other, is_earlier, "record")
    for name, target in (("link", mine), ("dangling", tmp_path / "none")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(InputError, match=f"{name}: a link is there that is no earlier record"):
            refuse_to_replace(tmp_path / name, is_earlier, "record")
    with pytest.raises(InputError, match="a folder is there that is no earlier record"):
        refuse_to_replace(tmp_path, lambda path: path.is_file(), "record")


def test_sizes_as_text(tmp_path):
    (tmp_path / "a").write_bytes(bytes(999))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(bytes(1_250_000))
    assert [size_text(tmp_path / name) for name in ("a", "b")] == ["999 bytes", "1.2 MB"]
    (tmp_path / "b" / "d").write_bytes(bytes(250_000))
    assert size_text(tmp_path / "b") == "1.5 MB"
