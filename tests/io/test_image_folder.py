import io
import json
import logging
import re
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from vadistill.datasets.registry import read_clips
from vadistill.errors import InputError
from vadistill.io.frames import FrameStore, write_frames
from vadistill.io.media.depth import measure_range, read_range, write_range
from vadistill.io.media.image_folder import images_of
from vadistill.io.media.numbering import missing_images
from vadistill.io.media.video import frames_of

SIZE = (24, 32)


def picture(level, kind=np.uint8):
    """An image (H, W) of one value with a ramp of eight values in its first row."""
    image = np.full(SIZE, level, kind)
    image[0, :8] = level + np.arange(8)
    return image


def save(folder, names, kind=np.uint8, levels=None):
    folder.mkdir(parents=True, exist_ok=True)
    for t, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), picture(levels[t] if levels else t * 5, kind))
    return folder


def numbered(numbers, pattern="{:03d}.png"):
    return [pattern.format(number) for number in numbers]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (numbered([*range(10), *range(13, 30)]), "3 missing in the numbers of its images: 010, 011, 012"),
        (numbered([7, 8, 9, 11, 12], "img{}.jpg"), "1 missing in the numbers of its images: img10"),
        (numbered([0, 5, 10, 20, 25], "f_{:04d}.tif"), "1 missing in the numbers of its images: f_0015"),
        (numbered([*range(4), *range(20, 24)]), "16 missing in the numbers of its images: 004, 005, 006, 007, 008 and"),
        ([*numbered([1, 2, 3], "a{}.png"), *numbered([5, 6, 8], "b{}.png")], "1 missing in"),
        (numbered([0, 1, 2, 4, 5, 9], "{:03d}_rgb.png"), "4 missing in the numbers of its images: 003_rgb, 006_rgb,"),
        (numbered([0, 1, 2, 999999999]), "999999996 missing in the numbers of its images: 003, 004, 005, 006, 007 and"),
        (numbered([0, 1, 2, 4], "{:06d}_cam2.png"), "1 missing in the numbers of its images: 000003_cam2"),
        (numbered([8, 9, 11, 12], "x{}_640x360.png"), "1 missing in the numbers of its images: x10_640x360"),
        (numbered([1, 2, 4, 5], "img ({}).png"), "1 missing in the numbers of its images: img (3)"),
    ],
)  # fmt: skip
def test_missing_numbers_are_named(names, told, tmp_path):
    assert missing_images(tmp_path, names[::-1]).startswith(told)


@pytest.mark.parametrize(
    "names",
    [
        numbered(range(200)),
        numbered(range(1, 181), "{:03d}.tif"),
        numbered(range(3, 90, 3), "frame{}.jpg"),
        [*numbered(range(5), "cam1_{}.jpg"), *numbered(range(40, 44), "cam2_{}.jpg")],
        ["left.png", "right.png", "middle.png"],
        numbered([0, 39, 80, 120, 161, 200, 240]),
        numbered([20240131115958, 20240131115959, 20240131120000, 20240131120001], "{}.jpg"),
        numbered([3, 17, 40, 41]),
        ["7.png"],
        numbered(range(12), "{:06d}_cam2.png"),
        [f"{t:04d}_cam{camera}.png" for t in range(9) for camera in (1, 2)],
    ],
)
def test_whole_and_irregular_sequences_lack_nothing(names, tmp_path):
    assert missing_images(tmp_path, names) == ""


@pytest.mark.parametrize("kept", [0.9, 0.6, 0.4])
@pytest.mark.parametrize("step", [1, 5])
def test_images_lost_by_chance_are_all_counted(kept, step, tmp_path):
    rng = np.random.default_rng(0)
    numbers = [0, *(n * step for n in range(1, 299) if rng.random() < kept), 299 * step]
    told = missing_images(tmp_path, numbered(numbers, "f{:05d}.png"))
    assert told.startswith(f"{300 - len(numbers)} missing in the numbers of its images: ")


@pytest.mark.parametrize(
    "names", [["img1.jpg", "img01.jpg"], ["001.jpg", "001.png"], ["x1.jpg", "x2.jpg", "x0002.jpg"], ["a.png", "a.BMP"]]
)
def test_two_images_of_one_number_are_refused(names, tmp_path):
    with pytest.raises(InputError, match="have the same number; expected one image a number"):
        list(frames_of(save(tmp_path / "c", names)))


def folder_set(root, numbers):
    save(root / "train/a", numbered([0, 1, 2, 4]))
    save(root / "test/b", numbered(numbers))
    return root


def test_a_gap_shifts_no_labels(tmp_path):
    root = folder_set(tmp_path, [0, 1, 2, 3, 6])
    assert [clip.name for clip in read_clips("folder", root)] == ["a", "b"], "without labels it is warned of"
    (root / "labels.csv").write_text("clip,start,end\nb,3,5\n")
    with pytest.raises(InputError, match=r"test/b: 2 missing in the numbers of its images: 004, 005; expected all"):
        read_clips("folder", root)
    (root / "test/b/006.png").rename(root / "test/b/004.png")
    assert len(read_clips("folder", root)) == 2


def test_a_gap_and_other_files_are_warned_of_once(tmp_path, caplog):
    folder = save(tmp_path / "c", numbered([0, 1, 2, 4]))
    for name in ("a.txt", "b.gif"):
        (folder / name).write_bytes(b"stray")
    assert len(list(images_of(folder))) == 4
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "1 missing in the numbers of its images: 003" in said[0] and "2 other files than images" in said[1]


def pages(kind, count=40):
    return [picture(t * 5 if kind == np.uint8 else t * 1500, kind) for t in range(count)]


def write_pages(path, images):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        assert cv2.imwritemulti(str(path), images)
        return
    film = cv2.Animation()
    film.frames, film.durations = [cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) for image in images], [40] * len(images)
    assert cv2.imwriteanimation(str(path), film)


@pytest.mark.parametrize(("name", "kind"), [("a.tif", np.uint8), ("a.tif", np.uint16), ("a.png", np.uint8)])
def test_all_pages_of_the_only_image_are_frames(name, kind, tmp_path):
    images = pages(kind)
    write_pages(tmp_path / "c" / name, images)
    expected = [image if kind == np.uint8 else image // 256 for image in images]
    found = list(frames_of(tmp_path / "c"))
    assert len(found) == len(images)
    for frame, grey in zip(found, expected, strict=True):
        np.testing.assert_array_equal(frame, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"compression": "tiff_lzw"}])
@pytest.mark.parametrize("among", [0, 30])
def test_a_file_of_pages_that_was_cut_off_is_refused_wherever_it_was_cut(options, among, tmp_path):
    path, content = tmp_path / "clip" / "009.tif", io.BytesIO()
    save(path.parent, numbered(range(10, 10 + among)))
    first, *others = (Image.fromarray(picture(t * 5)) for t in range(12))
    first.save(content, "TIFF", save_all=True, append_images=others, **options)
    for size in range(300, len(content.getvalue()) - 1, 97):
        path.write_bytes(content.getvalue()[:size])
        try:
            frames = list(images_of(path.parent))
        except InputError as error:
            assert "009.tif: " in str(error)
        else:
            assert frames[0].repaired, "the first picture itself is not whole, as a single image may be"
    path.write_bytes(content.getvalue())
    if not among:
        assert [int(image.frame[1, 1, 0]) for image in images_of(path.parent)] == list(range(0, 60, 5))


@pytest.mark.parametrize("name", ["1.tif", "1.png"])
def test_pages_among_other_images_are_refused(name, tmp_path):
    folder = save(tmp_path / "c", ["0.png", "2.png"])
    write_pages(folder / name, pages(np.uint8, 5))
    with pytest.raises(
        InputError, match=rf"{name}: 5 pages in one file beside other images; expected one picture a file"
    ):
        list(frames_of(folder))


def test_an_image_in_the_place_of_a_clip_is_told_where_it_belongs(tmp_path):
    root = folder_set(tmp_path, range(3))
    write_pages(root / "test/c.tif", pages(np.uint8, 3))
    with pytest.raises(InputError, match=r"c\.tif: an image; .*put it into a folder of its own"):
        read_clips("folder", root)
    with pytest.raises(InputError, match=r"c\.tif: an image; .*put it into a folder of its own"):
        list(frames_of(root / "test/c.tif"))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_narrow_range_is_warned_of_and_a_wide_one_said(suffix, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    names = numbered(range(4), "{}." + suffix)
    list(images_of(save(tmp_path / "twelve", names, np.uint16, [640, 1600, 2600, 4073])))
    list(images_of(save(tmp_path / "full", names, np.uint16, [0, 20000, 40000, 65528])))
    list(images_of(save(tmp_path / "eight", names)))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    narrow, wide = (record.getMessage() for record in caplog.records)
    assert "uint16 values from 640 to 4080 come to 13 of 255" in narrow and "frames.depth: percentiles" in narrow
    assert "uint16 values from 0 to 65535; 0 to 65535 become 0 to 255" in wide


@pytest.mark.parametrize("scale", [None, (600, 5000)])
def test_8_bit_images_beside_deeper_ones_are_warned_of(scale, tmp_path, caplog):
    folder = save(save(tmp_path / "c", ["0.png", "1.png"]), ["2.png"], np.uint16, [30000])
    list(images_of(folder, scale))
    assert "2 images have 8 bits and stay as they are" in caplog.messages[0]


def test_a_folder_without_images_names_what_it_holds(tmp_path):
    write_pages(tmp_path / "c/film.webp", pages(np.uint8, 3))
    with pytest.raises(InputError, match=r"c: no frames; expected images .*, found film\.webp; videos of a data set"):
        list(frames_of(tmp_path / "c"))
    with pytest.raises(InputError, match=r"film\.webp: an image; .*of its own as PNG images\)"):
        list(frames_of(tmp_path / "c/film.webp"))


@pytest.mark.parametrize(
    ("pixels", "codec", "suffix"),
    [("gray16le", "ffv1", ".mkv"), ("gray10le", "ffv1", ".avi"), ("gray16be", "png", ".mov")],
)
def test_a_narrow_range_in_a_grey_film_is_warned_of(pixels, codec, suffix, tmp_path, caplog):
    most = 2 ** int(re.search(r"\d+", pixels)[0]) - 1
    for share, level, told in ((0.05, "WARNING", "come to"), (0.5, "INFO", "become 0 to 255")):
        caplog.clear()
        caplog.set_level(logging.INFO)
        frames = [np.linspace(most // 4, most // 4 + most * share, 768).reshape(24, 32).astype(np.uint16)] * 4
        low, high = int(frames[0].min()), int(frames[0].max())
        decoded = list(frames_of(write_grey(tmp_path / f"{level}{suffix}", codec, pixels, frames)))
        assert len(decoded) == 4
        said = [record for record in caplog.records if "first frame's values" in record.getMessage()]
        assert [record.levelname for record in said] == [level]
        assert f"values from {low} to {high}" in said[0].getMessage() and told in said[0].getMessage()


def write_grey(path, codec, pixels, frames):
    """Write frames (H, W) as a film of more than 8 bits."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape, pixels
        for values in frames:
            picture = av.VideoFrame(values.shape[1], values.shape[0], pixels)
            order = ">u2" if pixels.endswith("be") else "<u2"
            lines = np.zeros((values.shape[0], picture.planes[0].line_size // 2), order)
            lines[:, : values.shape[1]] = values
            picture.planes[0].update(lines.tobytes())
            film.mux(stream.encode(picture))
        film.mux(stream.encode())
    return path


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_one_range_is_applied_and_clips(kind, tmp_path):
    folder = save(tmp_path / "c", ["0.tif", "1.tif"], kind, [100, 300])
    frames = [image.frame for image in images_of(folder, (102, 306))]
    expected = [picture(level, np.float64) for level in (100, 300)]
    for frame, values in zip(frames, expected, strict=True):
        levels = np.clip((values - 102) / 204 * 255, 0, 255).round()
        np.testing.assert_array_equal(frame, np.repeat(levels[..., None], 3, axis=2))


def test_floats_without_a_range_name_the_setting(tmp_path):
    folder = save(tmp_path / "c", ["0.tif"], np.float32, [290])
    with pytest.raises(InputError, match=r"0\.tif: its values are float32, .*frames\.depth: percentiles"):
        list(frames_of(folder))


def test_values_that_are_not_finite_are_said(tmp_path, caplog):
    image = picture(5, np.float32)
    image[5, 5:7] = np.nan, np.inf
    cv2.imwrite(str(tmp_path / "0.tif"), image)
    (frame,) = (found.frame for found in images_of(tmp_path, (0, 20)))
    assert (frame[5, 5:7] == 0).all() and (frame[5, 7] == round(5 * 255 / 20)).all()
    assert "2 pixels are not finite" in caplog.text


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_the_range_is_the_percentiles_of_the_values(kind, tmp_path):
    values = np.random.default_rng(0).normal(8000, 300, (60, 120, 160)).astype(kind)
    for t, image in enumerate(values):
        cv2.imwrite(str(tmp_path / f"{t:02d}.tif"), image)
    low, high = measure_range(sorted(tmp_path.iterdir()))
    assert (low, high) == pytest.approx(np.percentile(values, (0.1, 99.9)), abs=30), "a tenth of a standard deviation"


def test_8_bit_images_have_no_range_and_do_not_change(tmp_path):
    folder = save(tmp_path / "c", ["0.png", "1.tif"])
    assert measure_range(sorted(folder.iterdir())) is None
    plain, scaled = (np.stack([image.frame for image in images_of(folder, scale)]) for scale in (None, (3, 7)))
    np.testing.assert_array_equal(plain, scaled)


def test_the_range_is_written_and_a_damaged_file_refused(tmp_path):
    for scale in (None, (1.5, 7.25)):
        write_range(tmp_path / "depth.json", scale)
        assert read_range(tmp_path / "depth.json") == scale
    (tmp_path / "depth.json").write_text("{}")
    with pytest.raises(InputError, match=r"depth\.json: no range"):
        read_range(tmp_path / "depth.json")


def stage(name, settings, *arguments):
    command = [sys.executable, "-m", f"vadistill.stages.{name}", "--settings", json.dumps(settings)]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)


def test_the_stages_scale_all_splits_alike(tmp_path):
    train = save(tmp_path / "train", numbered(range(5), "{}.png"), np.uint16, [7320, 7500, 7900, 8500, 9040])
    test = save(tmp_path / "test", ["0.png"], np.uint16, [8180])
    depth, store = tmp_path / "depth.json", tmp_path / "a.h5"
    done = stage("measure_depth", {}, "--sources", train, tmp_path / "a.avi", "--output", depth)
    assert done.returncode == 0 and "5 training images: " in done.stderr
    low, high = read_range(depth)
    assert 7320 <= low < 7330 and 9035 < high <= 9047
    settings = {"frames": {"encoding": "png", "quality": 95}, "fingerprint": "f", "depth": str(depth)}
    done = stage("extract_frames", settings, "--source", test, "--split", "test", "--clip", "a", "--output", store)
    assert done.returncode == 0 and f"{low:g} to {high:g} become 0 to 255" in done.stderr
    assert FrameStore(store).read(0)[5, 5, 0] == round((8180 - low) / (high - low) * 255)
    assert FrameStore(store).depth == (low, high)


def exif(jpeg, orientation):
    """The JPEG file with an EXIF block that names an orientation."""
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + orientation.to_bytes(2, "big") + b"\x00\x00"
    block = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + entry + b"\x00\x00\x00\x00"
    return jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_kept_jpeg_stands_as_it_was_extracted(orientation, tmp_path):
    image = np.zeros((24, 32, 3), np.uint8)
    image[:8, :8] = 255  # a corner that the orientation moves
    (tmp_path / "c").mkdir()
    (tmp_path / "c/0.jpg").write_bytes(exif(cv2.imencode(".jpg", image)[1].tobytes(), orientation))
    write_frames(tmp_path / "a.h5", "a", "test", tmp_path / "c")
    frame = FrameStore(tmp_path / "a.h5").read(0)
    np.testing.assert_array_equal(frame, next(frames_of(tmp_path / "c")))
    turned = {1: image, 3: np.rot90(image, 2), 6: np.rot90(image, -1)}[orientation]
    assert frame.shape == turned.shape and np.abs(frame.astype(int) - turned).mean() < 5
