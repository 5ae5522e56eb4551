"""Damaged input: a sample of the trials of ``trials.corrupt``, and the repair of a broken image of a folder."""

import errno
import json
import logging

import cv2
import h5py
import numpy as np
import pytest
import torch
from students import write_student
from trees import HEIGHT, WIDTH, write_avi, write_images, write_mp4
from trials.corrupt import GOOD, run
from trials.readers import READERS

from vadistill.errors import InputError
from vadistill.io import frame_scores
from vadistill.io.frames import FrameStore, write_frames
from vadistill.io.frames import write_images as store_images
from vadistill.io.hdf5 import attribute, damage_named, read_attribute, reading, write_attributes, writing
from vadistill.io.maps import MapStore
from vadistill.io.media.video import frames_of
from vadistill.io.mp4 import write_mp4 as write_film
from vadistill.maps.calibration_file import KEYS, read_calibration, write_calibration
from vadistill.stages import score_frames
from vadistill.training.checkpoint import load_model

BROKEN = b"II*\x00\x08\x00\x00\x00\x00\x00"  # a tif without a picture


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_end_in_a_clear_error_or_leave_what_is_read_as_it_was(name):
    results = run(name, first=7000, cases=len(READERS[name].damages))
    assert len(results) == len(READERS[name].damages)
    assert not [result for result in results if result[2] not in GOOD]


@pytest.mark.parametrize("write", [write_avi, write_mp4, lambda path, frames: write_film(path, frames, 25)])
def test_a_video_cut_at_any_byte_is_refused_or_a_warning_is_logged(write, tmp_path, caplog):
    path, rng = tmp_path / f"a.{'avi' if write is write_avi else 'mp4'}", np.random.default_rng(0)
    write(path, [cv2.resize(image, (WIDTH, HEIGHT)) for image in rng.integers(0, 255, (24, 6, 8, 3), np.uint8)])
    content, whole = path.read_bytes(), list(frames_of(path))
    assert not caplog.records and len(whole) == 24
    outcomes = set()
    for end in rng.integers(0, len(content), 60):
        path.write_bytes(content[:end])
        caplog.clear()
        try:
            made = list(frames_of(path))
        except InputError as error:
            assert "a." in str(error)
            outcomes.add("refused")
        else:
            assert 22 <= len(made) <= 24 and path.name in caplog.text
            outcomes.add("logged")
    assert "refused" in outcomes


def test_an_image_under_the_name_of_a_video_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9, 3), np.uint8))
    path = (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"a\.mp4: an image; expected a video"):
        list(frames_of(path))


def clip_of_tifs(folder, broken=(), count=40):
    """Grey frames, by whose level tests recognise them, as UCSD's; the broken ones cannot be decoded."""
    write_images(folder, [np.full((HEIGHT, WIDTH), 30 + 5 * (t % 45), np.uint8) for t in range(count)], ".tif")
    for t in broken:
        (folder / f"{t:03d}.tif").write_bytes(BROKEN)
    return folder


def levels(store):
    return [round((frame.mean() - 30) / 5) for frame in store]


@pytest.mark.parametrize(("broken", "neighbour"), [(17, 16), (0, 1), (39, 38)])
def test_a_single_broken_image_is_replaced_by_its_neighbour_and_reported(broken, neighbour, tmp_path, caplog):
    source = clip_of_tifs(tmp_path / "Test017", [broken])
    assert write_frames(tmp_path / "c.h5", "c", "test", source, "png") == 40
    store = FrameStore(tmp_path / "c.h5")
    assert store.repaired == [broken] and len(store) == 40
    assert levels(store) == [neighbour if t == broken else t for t in range(40)]
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1 and f"{broken:03d}.tif" in told[0] and f"frame {broken} is replaced" in told[0]


@pytest.mark.parametrize(
    ("broken", "count", "told"),
    [
        ([17, 18], 40, "018.tif: not a readable image"),
        ([0, 1], 40, "001.tif: not a readable image"),
        ([3, 9, 17], 40, "017.tif: not a readable image; .*of 40 images, at most 2 single ones are replaced"),
        ([3], 19, "003.tif: not a readable image; .*of 19 images, at most 0"),
        (range(0, 12, 2), 200, "010.tif: .*of 200 images, at most 5"),
    ],
)
def test_more_broken_images_than_single_ones_are_refused(broken, count, told, tmp_path):
    with pytest.raises(InputError, match=told):
        write_frames(tmp_path / "c.h5", "c", "test", clip_of_tifs(tmp_path / "a", broken, count), "png")
    assert not (tmp_path / "c.h5").exists()


def test_repaired_frames_reach_the_students_scores(tmp_path):
    write_student(tmp_path / "student.pt")
    for name, broken in (("a", [5]), ("b", [])):
        write_frames(tmp_path / f"{name}.h5", name, "test", clip_of_tifs(tmp_path / name, broken), "png")
    arguments = {"model": tmp_path / "student.pt", "frames": [tmp_path / "a.h5", tmp_path / "b.h5"]}
    score_frames.main(type("Arguments", (), {**arguments, "output": tmp_path / "scores.h5"}))
    assert MapStore([tmp_path / "scores.h5"]).repaired == {"a": [5]}


def test_text_in_a_store_is_read_as_it_was_written_and_may_be_long(tmp_path):
    texts = {"empty": "", "plain": "one", "accents": "vélo ٣", "long": "x" * 50_000}
    with writing(tmp_path / "a.h5") as file:
        write_attributes(file, **texts, many=["a", "bé", ""], none=np.zeros(0, "S1"), number=3)
        for index in range(20):  # more than HDF5 keeps in the header by itself
            write_attributes(file, **{f"other{index}": index})
    assert {name: attribute(tmp_path / "a.h5", name) for name in texts} == texts
    assert attribute(tmp_path / "a.h5", "many") == ["a", "bé", ""] and attribute(tmp_path / "a.h5", "none") == []
    content = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content.replace(b"x" * 100, b"x" * 99 + b"y", 1))
    with pytest.raises(InputError, match=r"a\.h5: .*delete it to have it made again"):
        attribute(tmp_path / "a.h5", "plain")


def test_a_zeroed_block_is_seen_though_its_fletcher32_is_that_of_zeros(tmp_path):
    with writing(tmp_path / "a.h5") as file:
        frame_scores.write_clip(file, "clip", {"score": np.arange(1, 9)})
    content = (tmp_path / "a.h5").read_bytes()
    values = np.arange(1, 9, dtype=np.float32).tobytes()
    start = content.index(values)
    (tmp_path / "a.h5").write_bytes(content[:start] + bytes(len(values) + 4) + content[start + len(values) + 4 :])
    with pytest.raises(InputError, match=r"a\.h5: .*differs from its checksum"):
        frame_scores.read_shards([tmp_path / "a.h5"])


def test_a_frame_in_the_place_of_another_is_seen(tmp_path):
    """It decodes, and HDF5's own checksums are right."""
    images = [np.full((20, 30, 3), value, np.uint8) for value in (100, 101)]
    store_images(tmp_path / "a.h5", "a", "train", images, "png")
    assert [int(frame.mean()) for frame in FrameStore(tmp_path / "a.h5")] == [100, 101]
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        start, middle, end = file["offsets"][:]
        assert middle - start == end - middle
        file["bytes"][start:middle] = file["bytes"][middle:end]
    store = FrameStore(tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"a\.h5: frame 0 is damaged.*it differs from its checksum"):
        store.read(0)
    assert store.read(1).mean() == 101


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ESTALE, "Stale file handle"),
        OSError("Can't synchronously read data (file read failed: errno = 5, error message = 'Input/output error')"),
    ],
)
def test_a_folder_that_went_away_is_no_reason_to_delete_a_store(error):
    with pytest.raises(InputError, match=r"^a\.h5: cannot be read now \(") as told, damage_named("a.h5"):
        raise error
    assert "delete" not in str(told.value)


def test_stores_of_older_versions_are_still_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update(terms=["one", "two"], teacher="multi_task")
        file.create_group("clip")["score"] = np.arange(3, dtype=np.float32)
    assert attribute(tmp_path / "a.h5", "terms") == ["one", "two"]
    assert frame_scores.read_shards([tmp_path / "a.h5"])["score"]["clip"].tolist() == [0, 1, 2]
    with reading(tmp_path / "a.h5") as file:
        assert read_attribute(file, "teacher") == "multi_task"


def test_a_changed_digit_of_a_calibration_is_seen_and_older_files_are_read(tmp_path):
    path, affine = tmp_path / "calibration.json", {"slope": 1.0, "intercept": 0.25}
    score = {"terms": ("a",), "logits": (False,), "scenes": (), "tables": [], "squash": None, "affine": affine}
    content = dict.fromkeys(KEYS, 1) | {"score": score, "single": {"a": score}}
    write_calibration(path, content)
    whole = path.read_text()
    assert read_calibration(path) == json.loads(json.dumps(content))
    path.write_text(whole.replace("0.25", "0.35", 1))
    with pytest.raises(InputError, match=r"calibration\.json: differs from what was written"):
        read_calibration(path)
    path.write_text(json.dumps(content))
    assert read_calibration(path)["score"]["affine"] == affine


def test_a_flipped_bit_of_a_weight_is_seen(tmp_path):
    torch.save({"kind": "test", "weights": torch.full((64,), 1.5)}, tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    content[content.index(np.full(8, 1.5, np.float32).tobytes())] ^= 1
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pt: not a model of this project \(.*differs from its checksum"):
        load_model(tmp_path / "a.pt", "test")
