import errno
import json
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from full_disk import full_disk

from vadistill.datasets.demo.video import write_clip
from vadistill.errors import InputError
from vadistill.io.files import (
    fingerprint,
    remove_unfinished,
    sha256,
    whole_file,
    whole_folder,
    whole_stream,
    write_json,
)
from vadistill.io.hdf5 import writing
from vadistill.io.mp4 import write_mp4
from vadistill.settings import DemoConfig
from vadistill.watch.alarm import Alarm, Phase
from vadistill.watch.clips import Still
from vadistill.watch.clips import write_clip as write_alarm


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
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (f".a.{ended.pid}.part.json", ".a.b.part.json", f".ab.{ended.pid}.part.json"):
        (tmp_path / name).write_text("half")
    write_json(tmp_path / "a.json", {})
    kept = [".a.b.part.json", f".ab.{ended.pid}.part.json", "a.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


WRITER = """
import sys
from vadistill.io.files import whole_file
with whole_file(sys.argv[1]) as temporary:
    temporary.write_text("orphan")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_two_writers_of_one_file_leave_each_other_alone(tmp_path):
    path = tmp_path / "a.txt"
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    orphan = subprocess.Popen([sys.executable, "-c", WRITER, path], **streams)
    assert orphan.stdout.readline() == "writing\n"
    with whole_file(path) as temporary:
        temporary.write_text("anew")
    assert path.read_text() == "anew"
    orphan.communicate(timeout=3600)
    assert orphan.returncode == 0 and path.read_text() == "orphan"
    assert list(tmp_path.iterdir()) == [path]


def store(path):
    rng = np.random.default_rng(0)
    with writing(path) as file:
        grown = file.create_dataset("bytes", (0,), "u1", maxshape=(None,), chunks=(1 << 12,), fletcher32=True)
        for number in range(20):
            group = file.create_group(f"clip{number}")
            group.create_dataset("map", data=rng.random((32, 8, 8)), chunks=(8, 8, 8), fletcher32=True)
            group.attrs["settings"] = "x" * 200
            grown.resize((len(grown) + 5000,))
            grown[-5000:] = rng.integers(0, 256, 5000, np.uint8)


def stream(write):
    def written(path):
        with whole_stream(path) as file:
            write(file)

    return written


def figures(path):
    with whole_folder(path) as folder, whole_file(folder / "one.csv") as temporary:
        pd.DataFrame(np.zeros((20_000, 3))).to_csv(temporary)


def film(path):
    rng = np.random.default_rng(0)
    write_mp4(path, (rng.integers(0, 256, (200, 200, 3), np.uint8) for _ in range(20)), 25.0)


def clip(path):
    write_clip(DemoConfig(seed=3, frames=8, height=96, width=160), "train", "train_01", path)


def alarm(path):
    """PyAV alone, whose errors have names that cannot be set."""
    told = Alarm(
        id="a", camera="yard", zone="", phase=Phase.END, start=0, end=4, peak=0, score=1, threshold=0.5,
        box=(0, 0, 1, 1),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (200, 200, 3), np.uint8) for _ in range(20)]
    write_alarm(path, [Still(n / 5, cv2.imencode(".jpg", one)[1].tobytes(), 0.1) for n, one in enumerate(images)], told)


WRITERS = {
    "a.h5": store,
    "a.pt": stream(lambda file: torch.save({"weights": torch.zeros(40_000)}, file)),
    "a.npy": stream(lambda file: np.save(file, np.zeros(40_000))),
    "a.json": lambda path: write_json(path, list(range(40_000))),
    "pictures": figures,
    "a.mp4": film,
    "alarm.mp4": alarm,
    "a.avi": clip,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_cannot_be_written_is_named_and_not_left(tmp_path, name):
    path = tmp_path / name
    for size in (0, 1, 1000, 5000, 20_000, 77_777):
        with pytest.raises(Exception) as caught, full_disk(size):
            WRITERS[name](path)
        assert str(path) in str(caught.value) and not re.search(r"\.part|None", str(caught.value))
        assert os.strerror(errno.EFBIG) in str(caught.value) or "is its disk full" in str(caught.value)
        assert not list(tmp_path.iterdir())
    WRITERS[name](path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_json(tmp_path / "file" / "a.json", {})
    with pytest.raises(FileNotFoundError) as caught, whole_file(tmp_path / "gone" / "a.json") as temporary:
        temporary.write_text("half")
        shutil.rmtree(tmp_path / "gone")
    assert str(caught.value).endswith(f"No such file or directory: '{tmp_path}/gone/a.json'")


def test_the_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"input\.h5"), whole_file(tmp_path / "a.json"):
        (tmp_path / "input.h5").read_bytes()


@pytest.mark.parametrize("name", ["a.h5", "a.pt"])
def test_the_same_content_makes_the_same_file(tmp_path, name):
    paths = [tmp_path / folder / name for folder in ("one", "two")]
    for path in paths:
        WRITERS[name](path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_json_refuses_numbers_that_are_not_finite(tmp_path):
    with pytest.raises(InputError, match=r"a\.json: not written, a number in it is not finite"):
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
