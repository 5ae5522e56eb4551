import dataclasses
import pickle

import cv2
import numpy as np
import pytest
import scipy.io
from trees import FRAMES, HEIGHT, TREES, WIDTH, avenue, folder, masks, save, truth, ubnormal, ucsd

from vadistill.datasets.labels import frame_labels, read_labels
from vadistill.datasets.layouts.ubnormal import NoAnomaly
from vadistill.datasets.registry import read_clips
from vadistill.errors import InputError

SIZE = (HEIGHT, WIDTH)


def clips_to_test(layout, root):
    return {clip.name: clip for clip in read_clips(layout, root) if clip.split == "test"}


@pytest.mark.parametrize("layout", TREES)
def test_labels_of_each_layout(layout, tmp_path):
    for name, clip in clips_to_test(layout, TREES[layout](tmp_path)).items():
        labels = read_labels(clip, FRAMES, SIZE)
        frame, mask = truth(), masks()
        if layout == "ucsd_ped1" and name == "Test001":
            frame, mask = np.array([1, 1, 0, 0, 0, 0, 0, 0, 1, 1]), None  # from the .m file; the clip has no masks
        if name.startswith("normal_scene"):
            frame, mask = np.zeros(FRAMES), np.zeros_like(mask)
        np.testing.assert_array_equal(labels.frame, frame)
        np.testing.assert_array_equal(frame_labels(clip, FRAMES), frame)
        assert labels.frame.dtype == np.uint8
        if mask is None:
            assert labels.mask is None
        else:
            np.testing.assert_array_equal(labels.mask, mask)
            assert labels.mask.dtype == bool


def test_clips_without_labels(tmp_path):
    for clip in read_clips("folder", folder(tmp_path, frame_masks=False, pixel_masks=False)):
        assert read_labels(clip, FRAMES, SIZE) is None and frame_labels(clip, FRAMES) is None


def test_own_frame_labels_win_over_masks(tmp_path):
    root = folder(tmp_path)
    save(root / "test_frame_mask" / "a.npy", 1 - truth())
    labels = read_labels(clips_to_test("folder", root)["a"], FRAMES, SIZE)
    np.testing.assert_array_equal(labels.frame, 1 - truth())
    np.testing.assert_array_equal(labels.mask, masks())


def test_table_of_intervals(tmp_path):
    root = folder(tmp_path, frame_masks=False, pixel_masks=False)
    (root / "labels.csv").write_text('clip,start,end\n"a",0,2\n\na, 9 ,10\n', encoding="utf-8-sig")
    clips = clips_to_test("folder", root)
    np.testing.assert_array_equal(frame_labels(clips["a"], FRAMES), [1, 1, 0, 0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(read_labels(clips["b"], FRAMES, SIZE).frame, np.zeros(FRAMES))
    with pytest.raises(InputError, match=r"labels\.csv: clip 'a' has 9 frames; the labels name \[9, 10\)"):
        frame_labels(clips["a"], 9)


@pytest.mark.parametrize("layout", TREES)
def test_labels_of_another_length(layout, tmp_path):
    clips = clips_to_test(layout, TREES[layout](tmp_path))
    clip = next(clip for clip in clips.values() if not isinstance(clip.labels, NoAnomaly))
    short = 3 if layout == "ubnormal" else FRAMES - 1
    with pytest.raises(InputError, match=rf"expected \(?{short}|has {short} frames"):
        read_labels(clip, short, SIZE)
    with pytest.raises(InputError, match=rf"expected \(?{short}|has {short} frames"):
        frame_labels(clip, short)


@pytest.mark.parametrize("layout", ["avenue", "shanghaitech", "ucsd_ped2", "ubnormal", "folder"])
def test_masks_of_another_size(layout, tmp_path):
    clips = clips_to_test(layout, TREES[layout](tmp_path))
    clip = next(clip for clip in clips.values() if not isinstance(clip.labels, NoAnomaly))
    with pytest.raises(InputError, match=rf"\(.*{HEIGHT}, {WIDTH}\); expected .*{HEIGHT}, {WIDTH + 1}\)"):
        read_labels(clip, FRAMES, (HEIGHT, WIDTH + 1))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, FRAMES), np.uint8), r"shape \(1, 10\)"),
        (np.zeros(FRAMES), "holds float64; expected a .npy array of booleans or integers"),
        (np.full(FRAMES, 255, np.uint8), "labels from 255 to 255; expected 0"),
        (np.array([{}] * FRAMES, object), "not a readable .npy file of plain numbers"),
        (None, "not a readable .npy"),
        (b"", "not a readable .npy"),
    ],
)
def test_malformed_arrays(array, message, tmp_path):
    root = folder(tmp_path)
    path = root / "test_frame_mask" / "a.npy"
    if isinstance(array, np.ndarray):
        np.save(path, array)
    else:
        path.write_bytes(pickle.dumps([0]) if array is None else array)
    with pytest.raises(InputError, match=message) as caught:
        read_labels(clips_to_test("folder", root)["a"], FRAMES, SIZE)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["absent", "numbers", "empty", "cut"])
def test_malformed_matlab_file(kind, tmp_path):
    root = avenue(tmp_path)
    path = root / "ground_truth_demo" / "testing_label_mask" / "8_label.mat"
    if kind == "absent":
        scipy.io.savemat(path, {"other": 1})
    elif kind == "numbers":
        scipy.io.savemat(path, {"volLabel": np.zeros((1, FRAMES))})
    else:
        path.write_bytes(b"" if kind == "empty" else path.read_bytes()[:400])
    with pytest.raises(InputError, match=r"8_label\.mat: .*volLabel"):
        read_labels(clips_to_test("avenue", root)["08"], FRAMES, SIZE)


def test_malformed_ucsd_ranges(tmp_path):
    root = ucsd(tmp_path)
    path = root / "UCSDped1" / "Test" / "UCSDped1.m"
    clips = clips_to_test("ucsd_ped1", root)
    path.write_text("TestVideoFile{end+1}.gt_frame = [4:six];\n")
    with pytest.raises(InputError, match=r"UCSDped1\.m: gt_frame 1 has '4:six'"):
        read_labels(clips["Test001"], FRAMES, SIZE)
    with pytest.raises(InputError, match=r"UCSDped1\.m: 1 lines of gt_frame; expected one for the clip 'Test002'"):
        read_labels(clips["Test002"], FRAMES, SIZE)
    path.write_text("TestVideoFile{end+1}.gt_frame = [ 2 : 3  5,7:7 ];\n")
    np.testing.assert_array_equal(frame_labels(clips["Test001"], FRAMES), [0, 1, 1, 0, 1, 0, 1, 0, 0, 0])


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("3,3,5", [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]),
        ("3.0,0.0,1.0\n1,8,20\n", [1, 1, 0, 0, 0, 0, 0, 0, 1, 1]),
        ("", "no tracks"),
        ("3,3", "expected object,start,end"),
        ("3,a,5", "expected object,start,end"),
        ("3,5,3", "the labels name"),
    ],
)
def test_ubnormal_tracks(text, labels, tmp_path):
    clip = clips_to_test("ubnormal", ubnormal(tmp_path))["abnormal_scene_1_scenario_2"]
    clip.labels.frames.write_text(text)
    if isinstance(labels, str):
        with pytest.raises(InputError, match=labels):
            read_labels(clip, FRAMES, SIZE)
    else:
        got = read_labels(clip, FRAMES, SIZE)
        np.testing.assert_array_equal(got.frame, labels)
        np.testing.assert_array_equal(got.mask.any(axis=(1, 2)), labels)


def test_ubnormal_missing_map(tmp_path):
    clip = clips_to_test("ubnormal", ubnormal(tmp_path))["abnormal_scene_1_scenario_2"]
    (clip.labels.masks / f"{clip.name}_0004_gt.png").unlink()
    with pytest.raises(InputError, match=r"_0004_gt\.png: missing"):
        read_labels(clip, FRAMES, SIZE)
    np.testing.assert_array_equal(frame_labels(clip, FRAMES), truth())


def test_damaged_mask_image(tmp_path):
    clip = clips_to_test("ucsd_ped2", TREES["ucsd_ped2"](tmp_path))["Test001"]
    cv2.imwrite(str(clip.labels.masks / "003.bmp"), np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=r"mask 2 has shape \(8, 8\)"):
        read_labels(clip, FRAMES, SIZE)
    (clip.labels.masks / "003.bmp").write_bytes(b"BM")
    with pytest.raises(InputError, match=r"003\.bmp: not a readable image"):
        read_labels(clip, FRAMES, SIZE)


def test_frame_labels_do_not_need_masks(tmp_path):
    clip = clips_to_test("shanghaitech", TREES["shanghaitech"](tmp_path))["01_0014"]
    clip = dataclasses.replace(clip, labels=dataclasses.replace(clip.labels, masks=tmp_path / "absent.npy"))
    np.testing.assert_array_equal(frame_labels(clip, FRAMES), truth())
    with pytest.raises(InputError, match=r"absent\.npy"):
        read_labels(clip, FRAMES, SIZE)
