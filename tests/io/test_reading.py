"""Results are read while they are made: a reader meets the old or the new content, never a part of it."""

import json
import multiprocessing
import time
from collections import Counter

import cv2
import h5py
import numpy as np
import pytest

from vadistill.io import maps
from vadistill.io.files import whole_file, whole_folder, write_json
from vadistill.io.hdf5 import writing

SECONDS = 1.0


def write_result(path, number):
    write_json(path, {"numbers": [number] * 20000})


def read_result(path):
    return json.loads(path.read_text())["numbers"]


def write_maps(path, number):
    with writing(path) as file:
        maps.write_clip(file, "clip", {16: np.full((200, 16, 16), number % 2000, np.float32)})


def read_maps(path):
    with h5py.File(path) as file:
        return file["clip/16x16"][:].ravel().tolist()


def write_picture(path, number):
    with whole_file(path) as temporary:
        cv2.imwrite(str(temporary), np.full((200, 200), number % 256, np.uint8))


def read_picture(path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE).ravel().tolist()


def write_pictures(path, number):
    with whole_folder(path) as folder:
        for index in range(5):
            write_result(folder / f"{index}.json", number)


def read_pictures(path):
    return read_result(path / "4.json")


KINDS = {
    "auc.json": (write_result, read_result),
    "maps.h5": (write_maps, read_maps),
    "clip.png": (write_picture, read_picture),
    "pictures": (write_pictures, read_pictures),
}


def write_on(write, path):
    number = 0
    while True:
        write(path, number)
        number += 1


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_reader_never_meets_a_part(tmp_path, name):
    write, read = KINDS[name]
    write(tmp_path / name, 0)
    writer = multiprocessing.get_context("spawn").Process(target=write_on, args=(write, tmp_path / name), daemon=True)
    writer.start()
    seen, end = Counter(), None
    try:
        while end is None or time.monotonic() < end or len(seen) <= 3:
            assert writer.is_alive()
            try:
                numbers = read(tmp_path / name)
            except FileNotFoundError:
                assert name == "pictures", "a folder is removed before the new one takes its place"
                continue
            assert len(set(numbers)) == 1
            seen[numbers[0]] += 1
            if end is None and len(seen) > 1:  # the writer has started
                end = time.monotonic() + SECONDS
    finally:
        writer.kill()
        writer.join()
    assert len(seen) > 3 and sum(seen.values()) > 10
