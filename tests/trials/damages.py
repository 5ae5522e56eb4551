"""Ways to damage a file: from its content and a generator to other content."""

import io
import json
import pickle
import re
import zipfile

import cv2
import h5py
import numpy as np
import scipy.io

# What may stand where a number or a name is expected.
ODD = (
    "",
    "nan",
    "inf",
    "-1",
    "1e999",
    "9" * 5000,
    "0x10",
    "None",
    "é",
    "\x00",
    "5.5",
    "true",
    "[",
    '"',
    "1:2:3",
    "-0",
    "٣",
)


def _part(content, rng, most=4096):
    start = int(rng.integers(0, len(content) + 1))
    return start, min(len(content), start + int(rng.integers(1, most)))


def truncated(content, rng):
    return content[: int(rng.integers(0, len(content)))]


def flipped(content, rng):
    made = bytearray(content)
    made[int(rng.integers(0, len(content)))] ^= 1 << int(rng.integers(0, 8))
    return bytes(made)


def overwritten(content, rng):
    start, end = _part(content, rng, 64)
    return content[:start] + rng.bytes(end - start) + content[end:]


def zeroed(content, rng):
    start, end = _part(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def cut_out(content, rng):
    start, end = _part(content, rng)
    return content[:start] + content[end:]


def repeated(content, rng):
    start, end = _part(content, rng)
    return content[:end] + content[start:]


def grown(content, rng):
    return content + rng.bytes(int(rng.integers(1, 4096)))


def emptied(content, rng):
    return b""


def random(content, rng):
    return rng.bytes(int(rng.integers(1, len(content) + 64)))


def other_kind(content, rng):
    """The content of some other kind of file: a wrong name ending."""
    others = _others()
    return others[int(rng.integers(0, len(others)))]


def _others():
    store, archive = io.BytesIO(), io.BytesIO()
    with h5py.File(store, "w") as file:
        file.create_group("clip")["box"] = np.zeros((3, 4))
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a.txt", "text")
    picture = cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
    texts = (b"hello\nworld\n", b"\xff\xfe\x00\x01", b"{}", b"[[1, 2], 3]", b"null", json.dumps({"a": 1}).encode())
    return [store.getvalue(), archive.getvalue(), picture, pickle.dumps([1, {}]), *texts, *_arrays()]


def _arrays():
    made = []
    for array in (
        *(np.zeros(()), np.zeros(0), np.zeros((2, 3, 4, 5)), np.zeros((1, 10), np.uint8), np.full(10, np.nan)),
        *(np.zeros(10, complex), np.array(["a"] * 10), np.array([{}] * 10, object), np.zeros(10, "M8[s]")),
        *(np.zeros(10, [("a", int)]), np.full(10, 7, ">i8"), np.zeros((10, 4), order="F"), np.zeros(11, np.uint8)),
    ):
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        made.append(file.getvalue())
    return made


def odd_array(content, rng):
    """A .npy file of a wrong type or shape, or with pickled objects."""
    arrays = _arrays()
    return arrays[int(rng.integers(0, len(arrays)))]


def odd_image(content, rng):
    """A whole image of another size or depth, under the same name."""
    shape = [(48, 64, 4), (48, 64), (1, 1, 3), (64, 48, 3), (47, 64, 3), (480, 640, 3)][int(rng.integers(0, 6))]
    depth = np.uint16 if rng.random() < 0.3 else np.uint8
    return cv2.imencode(".png", rng.integers(0, 255, shape).astype(depth))[1].tobytes()


def odd_matrix(content, rng):
    """A whole .mat file whose volLabel is something else."""
    cells = np.empty((1, 10), object)
    cells[0, :] = [np.zeros((48, 64))] * 9 + [[np.zeros((4, 4)), np.zeros(3), "text", np.zeros((48, 64), complex)][
        int(rng.integers(0, 4))]]  # fmt: skip
    value = [cells, np.zeros((48, 64)), "text", {"a": 1}, cells[:, :3], np.zeros((0, 0))][int(rng.integers(0, 6))]
    file = io.BytesIO()
    scipy.io.savemat(file, {"volLabel": value})
    return file.getvalue()


def odd_token(content, rng):
    """A text file in which one number or name is another one."""
    places = list(re.finditer(rb"[^\s,;:=\[\]{}\"]+", content))
    if not places:
        return content
    place = places[int(rng.integers(0, len(places)))]
    return content[: place.start()] + ODD[int(rng.integers(0, len(ODD)))].encode() + content[place.end() :]


def odd_lines(content, rng):
    """A text file with lines in another order, one doubled and one gone."""
    lines = content.splitlines(keepends=True)
    order = rng.integers(0, len(lines), len(lines)) if lines else ()
    return b"".join(lines[i] for i in order)


BYTES = (truncated, flipped, overwritten, zeroed, cut_out, repeated, grown, emptied, random, other_kind)
TEXT = (odd_token, odd_lines)
