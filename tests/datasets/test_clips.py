import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from trees import TREES, avenue, folder, pictures, shanghaitech, ubnormal, ucsd, write_images

from vadistill.datasets.clips import LabelSource
from vadistill.datasets.labels import frame_labels
from vadistill.datasets.registry import demo_clip_names, demo_clips, read_clips
from vadistill.errors import InputError
from vadistill.io.names import natural_key
from vadistill.settings import LAYOUTS, DemoConfig

NAMES = {
    "avenue": (["01", "02", "10"], ["08", "17"]),
    "shanghaitech": (["01_001", "01_002"], ["01_0014", "01_0015"]),
    "ucsd_ped1": (["Train001", "Train002"], ["Test001", "Test002"]),
    "ucsd_ped2": (["Train001", "Train002"], ["Test001", "Test002"]),
    "ubnormal": (
        ["normal_scene_2_scenario_1", "normal_scene_2_scenario_3_fog"],
        ["abnormal_scene_1_scenario_2", "normal_scene_1_scenario1_10"],
    ),
    "folder": (["gate 2", "gate 10"], ["a", "b"]),
}


@pytest.mark.parametrize("layout", NAMES)
def test_clips_of_each_layout(layout, tmp_path):
    clips = read_clips(layout, TREES[layout](tmp_path))
    assert [clip.name for clip in clips if clip.split == "train"] == NAMES[layout][0]
    assert [clip.name for clip in clips if clip.split == "test"] == NAMES[layout][1]
    assert all(clip.source.exists() for clip in clips)
    assert all((clip.labels is None) == (clip.split == "train") for clip in clips)
    paths = [path for clip in clips if clip.labels for path in (clip.labels.frames, clip.labels.masks) if path]
    assert paths and all(path.exists() for path in paths)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_or_empty_data_set(layout, tmp_path):
    with pytest.raises(InputError, match="missing"):
        read_clips(layout, tmp_path / "absent")
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"expected .*|missing"):
        read_clips(layout, tmp_path)


@pytest.mark.parametrize("layout", NAMES)
def test_a_split_without_clips_names_the_folder(layout, tmp_path):
    root = TREES[layout](tmp_path)
    victims = {
        "avenue": "testing_videos",
        "shanghaitech": "testing/frames",
        "ucsd_ped1": "UCSDped1/Train",
        "ucsd_ped2": "UCSDped2/Test",
        "ubnormal": "Scene2",
        "folder": "test",
    }
    shutil.rmtree(root / victims[layout])
    with pytest.raises(InputError, match=victims[layout].replace("/", ".")):
        read_clips(layout, root)


def test_ucsd_root_may_hold_the_splits_itself(tmp_path):
    root = ucsd(tmp_path)
    inside = [clip.name for clip in read_clips("ucsd_ped1", root / "UCSDped1")]
    assert inside == [clip.name for clip in read_clips("ucsd_ped1", root)]


@pytest.mark.parametrize(
    ("make", "layout", "victim"),
    [
        (avenue, "avenue", "ground_truth_demo/testing_label_mask/8_label.mat"),
        (shanghaitech, "shanghaitech", "testing/test_frame_mask/01_0015.npy"),
        (shanghaitech, "shanghaitech", "testing/test_pixel_mask/01_0014.npy"),
        (ubnormal, "ubnormal", "Scene1/abnormal_scene_1_scenario_2_annotations/abnormal_scene_1_scenario_2_tracks.txt"),
        (folder, "folder", "test_frame_mask/b.npy"),
        (folder, "folder", "test_pixel_mask/a.npy"),
    ],
)
def test_a_missing_label_file_is_named_with_its_clip(make, layout, victim, tmp_path):
    root = make(tmp_path)
    (root / victim).unlink()
    with pytest.raises(InputError) as caught:
        read_clips(layout, root)
    assert str(root / victim) in str(caught.value)
    clip = {"8_label": "08"}.get(Path(victim).stem, Path(victim).stem.removesuffix("_tracks"))
    assert f"'{clip}'" in str(caught.value)


def test_ucsd_without_ranges_needs_masks_for_every_clip(tmp_path):
    with pytest.raises(InputError, match=r"'Test001'.*UCSDped1\.m or .*Test001_gt"):
        read_clips("ucsd_ped1", ucsd(tmp_path, ranges=False))


def test_ubnormal_needs_the_official_lists_and_every_listed_video(tmp_path):
    root = ubnormal(tmp_path)
    video = root / "Scene2" / "normal_scene_2_scenario_1.mp4"
    video.rename(root / "elsewhere.mp4")
    with pytest.raises(InputError, match=r"normal_scene_2_scenario_1\.mp4: missing; .*names\.txt names it"):
        read_clips("ubnormal", root)
    shutil.rmtree(root / "scripts")
    with pytest.raises(InputError, match=r"normal_training_video_names\.txt: missing"):
        read_clips("ubnormal", root)


def test_folder_without_labels(tmp_path):
    root = folder(tmp_path, frame_masks=False, pixel_masks=False)
    assert [clip.labels for clip in read_clips("folder", root)] == [None] * 4


def test_folder_refuses_two_sources_of_one_name(tmp_path):
    root = folder(tmp_path)
    (root / "test" / "b.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="2 sources of the test clip 'b'"):
        read_clips("folder", root)


def test_folder_refuses_files_that_it_would_not_read(tmp_path):
    root = folder(tmp_path)
    (root / "train" / ".hidden").write_bytes(b"")
    assert len(read_clips("folder", root)) == 4
    (root / "train" / "gate.docx").write_bytes(b"")
    with pytest.raises(InputError, match=r"gate\.docx: expected only videos"):
        read_clips("folder", root)


def test_a_folder_of_videos_in_the_place_of_a_clip_is_refused(tmp_path):
    root = folder(tmp_path)
    (root / "train" / "monday").mkdir()
    (root / "train" / "monday" / "gate.MP4").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"monday: a folder of videos; expected gate\.MP4 and the like in .*train itself"
    ):
        read_clips("folder", root)


@pytest.mark.parametrize(
    "name",
    [
        *("a\nb", "tab\t", "back\\slash", "-x", "--output", "bell\a", "escape\x1b[2J", "a{clip}", "no-break\xa0space"),
        *("right to left\u202e4pm", "zero\u200bwidth", "not UTF-8 \udce9"),
    ],
)
def test_names_that_cannot_be_used(name, tmp_path):
    root = folder(tmp_path, frame_masks=False, pixel_masks=False)
    (root / "test" / "b").rename(root / "test" / name)
    with pytest.raises(InputError) as caught:
        read_clips("folder", root)
    assert ascii(name) in str(caught.value) and "\n" not in str(caught.value)


def test_names_that_stand_in_files_are_checked_as_well(tmp_path):
    root, name = ubnormal(tmp_path), "normal_scene_1_/../../outside"
    (root / "Scene1" / "normal_scene_1_").mkdir()
    (root / "outside.mp4").write_bytes(b"")
    (root / "scripts" / "normal_test_video_names.txt").write_text(name)
    with pytest.raises(InputError, match=f"clip name '{name}' cannot be used"):
        read_clips("ubnormal", root)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("".join(map(chr, range(0x100, 0x165))), "has 202 bytes; expected at most 200"),
        ("cam" + "0" * 20, "ends in '0' 20 times"),
    ],
)
def test_names_that_are_too_long_or_go_round_in_circles(name, told, tmp_path):
    root = folder(tmp_path, frame_masks=False, pixel_masks=False)
    (root / "test" / "b").rename(root / "test" / name[:-1])
    assert read_clips("folder", root)[-1].name in ("a", name[:-1])
    (root / "test" / name[:-1]).rename(root / "test" / name)
    with pytest.raises(InputError, match=told):
        read_clips("folder", root)


def test_a_training_clip_that_looks_like_one_with_a_synthetic_anomaly(tmp_path):
    root = folder(tmp_path, frame_masks=False, pixel_masks=False)
    (root / "train" / "gate 10").rename(root / "train" / "gate.fast")
    assert [clip.name for clip in read_clips("folder", root)][:2] == ["gate 2", "gate.fast"]
    (root / "train" / "gate 2.AVI").rename(root / "train" / "gate.AVI")
    with pytest.raises(InputError, match=r"'gate\.fast' cannot be told from .*'gate' with .*'fast'"):
        read_clips("folder", root)


def test_labels_know_a_name_in_any_spelling(tmp_path):
    """A file system or a spreadsheet writes é as one character or as two, and adds spaces."""
    composed, apart = "Caf\u00e9", "Cafe\u0301"
    root = folder(tmp_path, frame_masks=False, pixel_masks=False)
    (root / "test" / "b").rename(root / "test" / f" {apart} ")
    (root / "labels.csv").write_text(f"clip, start, end\n {composed}, 0, 1\n", encoding="utf-8")
    clip = next(clip for clip in read_clips("folder", root) if clip.name == f" {apart} ")
    assert frame_labels(clip, 3).tolist() == [1, 0, 0]
    (root / "test" / "a.mp4").rename(root / "test" / f"{composed}.mp4")
    with pytest.raises(InputError, match=f"2 sources of the test clip '{composed}'"):
        read_clips("folder", root)


def test_clips_may_be_links_but_not_to_nowhere(tmp_path):
    root = folder(tmp_path / "set", frame_masks=False, pixel_masks=False)
    (root / "train" / "gate 2.AVI").rename(tmp_path / "elsewhere.avi")
    (root / "train" / "gate 2.AVI").symlink_to(tmp_path / "elsewhere.avi")
    assert len(read_clips("folder", root)) == 4
    for target, told in ((tmp_path / "nowhere", "leads nowhere"), ("gate 2.AVI", "leads nowhere"),
                         ("/dev/zero", "expected only videos")):  # fmt: skip
        (root / "train" / "gate 2.AVI").unlink()
        (root / "train" / "gate 2.AVI").symlink_to(target)
        with pytest.raises(InputError, match=rf"gate 2\.AVI: .*{told}"):
            read_clips("folder", root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,from,to\na,0,1\n", "expected the header clip,start,end; found 'clip,from,to'"),
        ("", "expected the header"),
        ("clip,start,end\na,1\n", "row 2 is 'a,1'"),
        ("clip,start,end\na,1,2\na,5,5\n", "row 3"),
        ("clip,start,end\na,-1,2\n", "row 2"),
        ("clip,start,end\nc,0,1\n", "names the clip 'c'"),
    ],
)
def test_malformed_table_of_labels(text, message, tmp_path):
    root = folder(tmp_path, frame_masks=False)
    (root / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_clips("folder", root)


def test_two_kinds_of_frame_labels_are_refused(tmp_path):
    root = folder(tmp_path)
    (root / "labels.csv").write_text("clip,start,end\n")
    with pytest.raises(InputError, match="both hold frame labels"):
        read_clips("folder", root)


def test_natural_order():
    names = ["clip10", "clip2", "clip02", "b", "10", "9", "1a", "1"]
    assert sorted(names, key=natural_key) == ["1", "1a", "9", "10", "b", "clip02", "clip2", "clip10"]


def test_demo_clips_are_known_before_their_files(tmp_path):
    clips = demo_clips(tmp_path / "none", DemoConfig(train_clips=11, test_clips=2))
    assert [clip.name for clip in clips[9:]] == ["train_10", "train_11", "test_01", "test_02"]
    assert clips[-1].labels.masks == tmp_path / "none" / "test_pixel_mask" / "test_02.npy"
    assert demo_clip_names(DemoConfig(test_clips=1), "test") == ["test_01"]
    several = demo_clip_names(DemoConfig(test_clips=3, scenes=2), "test")
    assert several == ["scene_1_test_01", "scene_2_test_02", "scene_1_test_03"]


def test_labels_must_say_where_they_come_from():
    class Silent(LabelSource):
        pass

    with pytest.raises(TypeError, match="text"):
        Silent()


def test_the_table_is_read_without_heavy_imports():
    modules = ", ".join(["vadistill.datasets.registry", *(f"vadistill.datasets.layouts.{m}" for m in LAYOUTS.values())])
    code = f"import sys, {modules}; print({{'numpy', 'cv2', 'h5py', 'torch', 'scipy'}} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def names_of(layout, root):
    return [(clip.split, clip.name) for clip in read_clips(layout, root)]


@pytest.mark.parametrize("levels", ["unpacked", "a/b c"])
@pytest.mark.parametrize("layout", NAMES)
def test_a_data_set_may_lie_in_the_folder_of_its_archive(layout, levels, tmp_path):
    TREES[layout](tmp_path / "whole" / levels)
    (tmp_path / "whole" / "readme").mkdir()
    assert names_of(layout, tmp_path / "whole") == names_of(layout, tmp_path / "whole" / levels)


def test_archives_as_they_are_unpacked(tmp_path):
    """Avenue: two archives, "Avenue Dataset" and the labels; UCSD: both sets in UCSD_Anomaly_Dataset.v1p2."""
    expected = names_of("avenue", avenue(tmp_path / "plain"))
    made = avenue(tmp_path / "made")
    for labels in ("one/ground_truth_demo", "two/ground_truth_demo/ground_truth_demo"):
        root = tmp_path / labels.split("/")[0]
        shutil.copytree(made, root / "Avenue Dataset")
        (root / labels.split("/", 1)[1]).parent.mkdir(exist_ok=True)
        (root / "Avenue Dataset" / "ground_truth_demo").rename(root / labels.split("/", 1)[1])
        assert names_of("avenue", root) == names_of("avenue", root / "Avenue Dataset") == expected
        assert all(clip.labels.masks.is_file() for clip in read_clips("avenue", root) if clip.labels)
    for name in ("UCSDped1", "UCSDped2"):
        ucsd(tmp_path / "ucsd" / "UCSD_Anomaly_Dataset.v1p2", name)
    for layout, name in (("ucsd_ped1", "UCSDped1"), ("ucsd_ped2", "UCSDped2")):
        found = read_clips(layout, tmp_path / "ucsd")
        assert len(found) == 4 and all(name in clip.source.parts for clip in found)


def test_one_ucsd_set_does_not_stand_for_the_other(tmp_path):
    ucsd(tmp_path, "UCSDped2")
    with pytest.raises(InputError, match=r"the clips of UCSDped1.*found UCSDped2/"):
        read_clips("ucsd_ped1", tmp_path)


def test_shanghaitech_may_have_its_training_clips_as_frames(tmp_path):
    root = shanghaitech(tmp_path)
    expected = names_of("shanghaitech", root)
    shutil.rmtree(root / "training" / "videos")
    for name in ("01_001", "01_002"):
        write_images(root / "training" / "frames" / name, pictures(), ".jpg")
    assert names_of("shanghaitech", root) == expected
    assert all(clip.source.is_dir() for clip in read_clips("shanghaitech", root))


def test_two_data_sets_below_one_folder_are_not_mixed(tmp_path):
    for name in ("north", "south"):
        folder(tmp_path / name)
    with pytest.raises(InputError, match="north and south both hold train; expected the path of one"):
        read_clips("folder", tmp_path)


@pytest.mark.parametrize("layout", NAMES)
def test_a_folder_of_something_else_says_what_it_holds(layout, tmp_path):
    (tmp_path / "music" / "deeper").mkdir(parents=True)
    with pytest.raises(InputError, match=r"found music/|missing; expected the official list"):
        read_clips(layout, tmp_path)


@pytest.mark.parametrize("layout", NAMES)
def test_what_systems_leave_in_folders_is_no_clip(layout, tmp_path):
    expected = names_of(layout, TREES[layout](tmp_path))
    for place in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        for name in ("@eaDir", "__MACOSX", "$RECYCLE.BIN", "lost+found", "#recycle"):
            write_images(place / name, pictures(1), ".jpg")
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._01.avi"):
            (place / name).write_bytes(b"stray")
    assert names_of(layout, tmp_path) == expected
