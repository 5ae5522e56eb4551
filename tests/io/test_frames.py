import json
import multiprocessing
import os
import pickle
import subprocess
import sys

import cv2
import h5py
import numpy as np
import pytest
from trees import FRAMES, HEIGHT, WIDTH, number_of, pictures, write_avi, write_images, write_mp4

from vadistill.errors import InputError
from vadistill.io.frames import FrameStore, write_frames
from vadistill.io.frames import write_images as store_images
from vadistill.io.media.video import frame_rate, frames_of
from vadistill.io.window import window_indices


def numbers(frames):
    return [number_of(frame) for frame in frames]


@pytest.fixture
def store(tmp_path):
    write_avi(tmp_path / "clip.avi", pictures())
    assert write_frames(tmp_path / "clip.h5", "clip", "test", tmp_path / "clip.avi", fingerprint="f00") == FRAMES
    return FrameStore(tmp_path / "clip.h5")


@pytest.mark.parametrize("write", [write_avi, write_mp4])
def test_video_frames_come_in_order(write, tmp_path):
    path = tmp_path / ("a %02d.avi" if write is write_avi else "a.mp4")
    write(path, pictures(19))
    frames = list(frames_of(path))
    assert numbers(frames) == list(range(19))
    assert all(frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8 for frame in frames)
    assert frame_rate(path) == 25


def test_odd_size_and_grey_video(tmp_path):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (5, 7), dtype=np.uint8)
    grey = cv2.resize(coarse, (101, 67), interpolation=cv2.INTER_CUBIC)
    write_avi(tmp_path / "a.avi", [grey] * 3)
    frames = list(frames_of(tmp_path / "a.avi"))
    assert [frame.shape for frame in frames] == [(67, 101, 3)] * 3
    assert np.abs(frames[0].astype(int) - grey[..., None]).mean() < 3


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif"])
def test_image_folders_in_natural_order(suffix, tmp_path):
    write_images(tmp_path, pictures(), suffix, first=8)
    for path in sorted(tmp_path.iterdir()):
        path.rename(path.with_name(f"frame{int(path.stem)}{suffix.upper()}"))
    (tmp_path / "._frame8.jpg").write_bytes(b"stray")
    (tmp_path / "Thumbs.db").write_bytes(b"stray")
    assert numbers(frames_of(tmp_path)) == list(range(FRAMES))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_and_16_bit_images_become_bgr(suffix, tmp_path):
    deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 21
    cv2.imwrite(str(tmp_path / f"1{suffix}"), deep)
    cv2.imwrite(str(tmp_path / f"2{suffix}"), (deep >> 8).astype(np.uint8))
    for frame in frames_of(tmp_path):
        np.testing.assert_array_equal(frame, np.repeat((deep >> 8)[..., None], 3, axis=2))


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_truncated_video(share, tmp_path):
    path = tmp_path / "a.avi"
    write_avi(path, pictures(19))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"a\.avi: truncated: \d+ of 19 frames could be decoded"):
        list(frames_of(path))


def test_a_declared_length_that_is_a_little_off_is_no_truncation(tmp_path):
    write_avi(tmp_path / "more.avi", pictures(), declared=FRAMES + 2)
    write_avi(tmp_path / "fewer.avi", pictures(), declared=FRAMES - 3)
    assert (
        numbers(frames_of(tmp_path / "more.avi")) == numbers(frames_of(tmp_path / "fewer.avi")) == list(range(FRAMES))
    )


@pytest.mark.parametrize("content", [b"", b"no video at all", None])
def test_unreadable_video(content, tmp_path):
    path = tmp_path / "a.mp4"
    write_mp4(path, pictures())
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(InputError, match=r"a\.mp4: not a readable video"):
        list(frames_of(path))


def test_sources_without_frames(tmp_path):
    write_avi(tmp_path / "a.avi", [])
    with pytest.raises(InputError, match=r"a\.avi: no(t a readable| frame)"):
        list(frames_of(tmp_path / "a.avi"))
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="b: no frames; expected images"):
        list(frames_of(tmp_path / "b"))
    with pytest.raises(InputError, match=r"c\.avi: missing"):
        list(frames_of(tmp_path / "c.avi"))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_damaged_image_is_named(suffix, share, tmp_path):
    rng = np.random.default_rng(0)
    write_images(tmp_path, [rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(3)], suffix)
    path = tmp_path / f"001{suffix}"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=rf"001\{suffix}: not a readable image"):
        list(frames_of(tmp_path))


def test_a_frame_of_another_size_is_named(tmp_path):
    write_images(tmp_path / "c", pictures(3), ".png")
    write_images(tmp_path / "c", pictures(1, 32, 40), ".png", first=3)
    with pytest.raises(InputError, match=r"003\.png: is 40x32 pixels; expected 64x48"):
        write_frames(tmp_path / "c.h5", "c", "train", tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["c"], "a failed extraction leaves nothing"


def test_store_describes_the_clip(store):
    assert (store.clip, store.split, store.height, store.width) == ("clip", "test", HEIGHT, WIDTH)
    assert (store.fingerprint, store.fps, len(store)) == ("f00", 25, FRAMES)
    assert numbers(store) == list(range(FRAMES)) == numbers(store.read(t) for t in range(FRAMES))
    for t in (-1, FRAMES):
        with pytest.raises(IndexError):
            store.read(t)
        with pytest.raises(IndexError):
            store.window(t, (0,))


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_encodings(encoding, tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (67, 101, 3), dtype=np.uint8) for _ in range(4)]
    write_images(tmp_path / "c", frames, ".bmp")
    write_frames(tmp_path / "c.h5", "c", "train", tmp_path / "c", encoding, 90)
    store = FrameStore(tmp_path / "c.h5")
    for t, frame in enumerate(frames):
        kept = cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(store.read(t), kept if encoding == "jpeg" else frame)
    assert store.fps is None


def test_jpeg_images_are_kept_byte_for_byte(tmp_path):
    write_images(tmp_path / "c", pictures(), ".jpg")
    write_frames(tmp_path / "c.h5", "c", "train", tmp_path / "c", "jpeg", 10)
    with h5py.File(tmp_path / "c.h5") as file:
        stored = file["bytes"][:].tobytes()
    assert stored == b"".join(path.read_bytes() for path in sorted((tmp_path / "c").iterdir()))
    assert numbers(FrameStore(tmp_path / "c.h5")) == list(range(FRAMES))


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_images_are_stored_like_a_source(encoding, tmp_path):
    write_images(tmp_path / "c", pictures(), ".bmp")
    write_frames(tmp_path / "a.h5", "c", "train", tmp_path / "c", encoding, 80, "f00")
    assert store_images(tmp_path / "b.h5", "c", "train", iter(pictures()), encoding, 80, "f00") == FRAMES
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    store_images(tmp_path / "b.h5", "c", "validation", pictures(), encoding, fps=12.5)
    store = FrameStore(tmp_path / "b.h5")
    assert (store.fps, store.split, len(store)) == (12.5, "validation", FRAMES)


def test_images_of_no_or_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(InputError, match="clip c: no frames"):
        store_images(tmp_path / "c.h5", "c", "train", [])
    with pytest.raises(InputError, match=r"clip c: frame 2 is \(32, 40, 3\); expected \(48, 64, 3\)"):
        store_images(tmp_path / "c.h5", "c", "train", pictures(2) + pictures(1, 32, 40))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("t", "offsets", "frames", "repeat", "clamp"),
    [
        (5, (-3, 0, 3), 10, [2, 5, 8], [2, 5, 8]),
        (0, (-3, 0, 3), 10, [0, 0, 3], [0, 3, 6]),
        (8, (-3, 0, 3), 10, [5, 8, 8], [3, 6, 9]),
        (3, (-3, 0, 3), 7, [0, 3, 6], [0, 3, 6]),
        (1, (-3, 0, 3), 4, [1, 1, 1], [0, 1, 3]),
        (0, (0, 1), 1, [0, 0], [0, 0]),
        (9, (0, 2), 10, [9, 9], [7, 9]),
    ],
)
def test_window_at_the_border(t, offsets, frames, repeat, clamp):
    assert window_indices(t, frames, offsets, "repeat") == repeat
    assert window_indices(t, frames, offsets, "clamp") == clamp


def test_window_reads_the_frames(store):
    window = store.window(1, (-3, 0, 3), border="clamp")
    assert window.shape == (3, HEIGHT, WIDTH, 3) and window.dtype == np.uint8
    assert numbers(window) == [0, 3, 6]
    assert numbers(store.window(1, (-3, 0, 3))) == [1, 1, 4]
    with pytest.raises(ValueError, match="border"):
        store.window(1, (0,), border="wrap")


def test_store_is_pickled_as_its_path_and_survives_a_fork(store):
    store.read(0)
    again = pickle.loads(pickle.dumps(store))
    assert numbers([again.read(4)]) == [4] and len(pickle.dumps(store)) < 1000
    parent = store._opened()
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        assert numbers(pool.map(store.read, [9, 2, 5, 7])) == [9, 2, 5, 7]
    with context.Pool(1, initializer=_inherit, initargs=(store,)) as pool:
        assert pool.apply(_reopened)
    assert store._opened() is parent and numbers([store.read(3)]) == [3]


def _inherit(store):
    global inherited
    inherited = store


def _reopened():
    before, process = inherited._file, inherited._process
    assert before is not None and process != os.getpid(), "the store came open from the parent"
    return numbers(inherited.window(4, (-3, 0, 3))) == [1, 4, 7] and inherited._file is not before and not before


def test_damaged_data_are_reported_with_the_file(store):
    path = store.path
    with h5py.File(path) as file:
        start = file["bytes"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start + 40] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"clip\.h5: frame 0 is damaged"):
        FrameStore(path).read(0)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"clip\.h5: not a readable HDF5 file"):
        FrameStore(path)
    with h5py.File(path, "w") as file:
        file["other"] = 1
    with pytest.raises(InputError, match=r"clip\.h5: damaged, or not written by the stage expected"):
        FrameStore(path)


def extract(tmp_path, source):
    settings = {"version": 1, "frames": {"encoding": "png", "quality": 95}, "fingerprint": "abc"}
    command = [sys.executable, "-m", "vadistill.stages.extract_frames", "--settings", json.dumps(settings)]
    command += ["--source", str(source), "--split", "train", "--clip", "a b", "--output", str(tmp_path / "o/a.h5")]
    return subprocess.run(command, capture_output=True, text=True)


def test_stage(tmp_path):
    write_avi(tmp_path / "a.avi", pictures())
    done = extract(tmp_path, tmp_path / "a.avi")
    assert done.returncode == 0 and f"a b: {FRAMES} frames of {WIDTH}x{HEIGHT} pixels" in done.stderr
    store = FrameStore(tmp_path / "o" / "a.h5")
    assert (store.clip, store.fingerprint, len(store)) == ("a b", "abc", FRAMES)


def test_stage_ends_in_one_line(tmp_path):
    (tmp_path / "a.avi").write_bytes(b"RIFFxxxxAVI junk")
    done = extract(tmp_path, tmp_path / "a.avi")
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "o" / "a.h5").exists()
