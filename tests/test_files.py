import json
import shutil

import numpy as np
import pytest

from vadistill.files import fingerprint, remove_unfinished, sha256, whole_file, whole_folder, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "new folder" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]


def test_a_process_that_ends_at_once_can_remove_what_it_has_half_written(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        remove_unfinished()
        assert not list(tmp_path.iterdir())


def test_left_overs_of_a_killed_writer_are_removed(tmp_path):
    for name in (".a.123.part.json", ".a.b.part.json", ".ab.123.part.json"):
        (tmp_path / name).write_text("half")
    write_json(tmp_path / "a.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.b.part.json", ".ab.123.part.json", "a.json"]


def test_json_refuses_numbers_that_are_not_finite(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"auc": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for text in ("one", "two"):
        with whole_folder(tmp_path / "pictures") as folder:
            (folder / f"{text}.png").write_text(text)
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "pictures") as folder:
        (folder / "half.png").write_text("")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["two.png"]


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
def test_fingerprints_know_content_but_no_dates(tmp_path, size):
    path = tmp_path / "a.avi"
    path.write_bytes(bytes(range(256)) * (size // 256 + 1))
    first = fingerprint(path)
    shutil.copy(path, tmp_path / "b.avi")
    assert fingerprint(tmp_path / "b.avi") == first
    path.write_bytes(path.read_bytes() + b"x")
    assert fingerprint(path) != first


def test_a_few_changed_frames_of_a_large_mask_are_noticed(tmp_path):
    path = tmp_path / "mask.npy"
    mask = np.zeros((200, 160, 240), bool)
    np.save(path, mask)
    first = fingerprint(path)
    for t in (0, 77, 199):
        mask[t] = True
        np.save(path, mask)
        assert fingerprint(path) != first
        mask[t] = False


def test_fingerprints_of_folders_know_names_sizes_and_content(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    seen = {fingerprint(folder)}
    for name, content in (("1.jpg", "a"), ("2.jpg", "b"), ("1.jpg", "c"), ("3.jpg", "long")):
        (folder / name).write_text(content)
        seen.add(fingerprint(folder))
    assert len(seen) == 5
    before = sha256(folder)
    (folder / "2.jpg").write_text("z")
    assert sha256(folder) != before
