"""What the params of a rule say of raw files, and which raw files a rule reads."""

import json
import os

import pytest
from trees import folder, pictures, write_avi

from vadistill.datasets.catalogue import Catalogue
from vadistill.datasets.raw_files import RAW
from vadistill.datasets.rule_settings import EXTRA, rule_settings
from vadistill.errors import InputError
from vadistill.settings.stages import STAGES


def dataset(root, **entry):
    return Catalogue({"datasets": {"own": {"layout": "folder", "path": str(root), **entry}}})["own"]


def demo(**entry):
    return Catalogue({"datasets": {"demo": {"layout": "demo", **entry}}})["demo"]


def said(data, stage, **wildcards):
    return json.loads(rule_settings(data, stage, wildcards))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder of a data set; one of its two training clips is too short."""
    monkeypatch.chdir(tmp_path)
    root = folder(tmp_path / "own")
    write_avi(root / "train/gate 2.AVI", pictures(2) * 10)
    return root


def test_every_stage_has_settings():
    assert EXTRA.keys() <= STAGES.keys()
    assert said(demo(), "score_frames", split="test") == {"version": 1}
    assert said(demo(), "train_teacher", teacher="multi_task").keys() >= {"multi_task", "objects", "held_out"}


def test_a_clip_is_known_by_its_content_and_not_by_its_date(own):
    data = dataset(own)
    name = next(iter(data.train))
    path = RAW["clip"](data, {"split": "train", "clip": name})
    before = said(data, "extract_frames", split="train", clip=name)
    os.utime(path, (1, 1))
    assert said(data, "extract_frames", split="train", clip=name) == before
    with open(path, "ab") as file:
        file.write(b"more")
    assert said(data, "extract_frames", split="train", clip=name) != before


def test_a_generated_clip_is_known_by_its_settings():
    one, other = (said(demo(demo={"seed": seed}), "extract_frames", split="test", clip="test_01") for seed in (1, 2))
    assert one != other and '"seed":1' in one["fingerprint"]


def test_the_range_of_deep_images_is_named_where_it_is_measured(own):
    data = dataset(own, frames={"depth": "percentiles"})
    name = next(iter(data.train))
    assert said(data, "extract_frames", split="train", clip=name)["depth"] == "results/own/depth.json"
    assert list(said(data, "measure_depth")["fingerprints"]) == RAW["training_clips"](data, {})
    assert "depth" not in said(dataset(own), "extract_frames", split="train", clip=name)
    assert not demo(frames={"depth": "percentiles"}).measures_depth


def test_labels_are_known_by_their_content(own):
    data = dataset(own)
    files = RAW["labels"](data, {})
    assert files and data.labelled and data.located
    for stage in ("evaluate", "draw_overlay", "evaluate_regions"):
        told = said(data, stage, clip="anything")
        assert list(told["labels"]) == files and told["layout"] == "folder" and told["path"] == str(own)
    assert RAW["regions"](data, {}) == files


def test_the_result_says_which_clips_were_left_out(own):
    assert said(dataset(own), "evaluate")["left_out_clips"] == {"gate 10": 10}
    assert "left_out_clips" not in said(dataset(own), "write_report")
    assert "left_out_clips" not in said(demo(), "evaluate")


def test_the_split_validation_needs_no_labels(own):
    assert RAW["labels"](dataset(own), {"split": "validation"}) == []
    assert said(dataset(own), "evaluate_student", split="validation").keys() == {"version", "evaluation"}
    assert "labels" in said(dataset(own), "evaluate_student", split="test")


def test_a_generated_data_set_says_where_its_masks_will_be():
    told = said(demo(), "evaluate")
    assert told["path"] == "results/demo/clips" and told["labels"] == {}
    assert RAW["labels"](demo(), {})[0] == "results/demo/clips/test_pixel_mask/test_01.npy"


def test_without_masks_and_tracks_nothing_says_where_anomalies_are(own, tmp_path):
    plain = folder(tmp_path / "plain", pixel_masks=False)
    data = dataset(plain)
    assert not data.located
    with pytest.raises(InputError, match="own: nothing says where the anomalies of its test clips are"):
        RAW["regions"](data, {})
    with pytest.raises(InputError, match=r"tracks: no \.txt files"):
        _ = dataset(plain, localisation={"tracks": "tracks"}).located
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks/one.txt").write_text("1")
    tracked = dataset(plain, localisation={"tracks": "tracks"})
    assert "tracks/one.txt" in RAW["regions"](tracked, {})
    assert said(tracked, "evaluate_regions")["tracks"].keys() == {"tracks/one.txt"}


def test_weights_are_known_by_content_unless_they_are_official(own, tmp_path):
    weights = tmp_path / "resources/weights/mine.pt"
    weights.parent.mkdir(parents=True)
    assert said(dataset(own), "detect_objects")["fingerprint"] == "official"
    mine = dataset(own, detection={"weights": "mine.pt"})
    assert RAW["detector_weights"](mine, {}) == "resources/weights/mine.pt"
    assert said(mine, "detect_objects")["fingerprint"] == "official", "they may come"
    weights.write_bytes(b"weights")
    assert said(mine, "detect_objects")["fingerprint"] != "official"
    assert RAW["detector_weights"](dataset(own, detection={"weights": "/far/x.pt"}), {}) == "/far/x.pt"


def test_a_detector_that_looks_at_every_frame_runs_as_before():
    known = {"batch": 8, "confidence": 0.05, "image_size": 640, "iou": 0.6, "max_objects": 300, "weights": "yolov8n.pt"}
    assert said(demo(), "detect_objects")["detection"] == known
    assert said(demo(detection={"frame_stride": 2}), "detect_objects")["detection"] == {**known, "frame_stride": 2}


def test_what_a_teacher_reads_from_elsewhere_is_among_its_settings(own, tmp_path):
    wildcards = {"teacher": "background_agnostic"}
    assert "resources" not in said(dataset(own), "train_teacher", **wildcards)
    data = dataset(own, background_agnostic={"image_pool": "pool", "motion": "raft"})
    with pytest.raises(InputError, match=r"pool: missing; background_agnostic\.image_pool is expected to be a folder"):
        RAW["image_pool"](data, wildcards)
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/image.png").write_bytes(b"image")
    (tmp_path / "resources/weights").mkdir(parents=True)
    (tmp_path / "resources/weights/raft_small_C.pth").write_bytes(b"flow")
    assert RAW["image_pool"](data, wildcards) == "pool"
    assert RAW["network_weights"](data, wildcards) == "resources/weights/raft_small_C.pth"
    resources = said(data, "train_teacher", **wildcards)["resources"]
    assert resources.keys() == {"pool", "resources/weights/raft_small_C.pth"}
    assert RAW["image_pool"](data, {"teacher": "multi_task"}) == []


def test_a_synthetic_clip_is_known_by_its_anomaly():
    data = demo(objects={"scene": "(train)"})
    name, clip = next(iter(data.clips("validation").items()))
    told = said(data, "make_validation_clip", split="validation", clip=name)
    assert told["kind"] == clip.kind and told["part"] == [0.0, 1.0] and told["scene"] == "(train)"


def test_a_student_says_what_it_does_not_learn_from_and_how_it_is_selected():
    data = demo(distillation={"selection": "validation", "synthetic": False})
    told = said(data, "distill_student")
    assert told["held_out_clips"] == data.held_out and "validation" in told and "synthetic" not in told
    told = said(demo(), "distill_student")
    assert "validation" not in told and "synthetic" in told


def test_groups_of_variants():
    assert said(demo(), "compare_variants", who="student") == {"version": 2, "groups": {"demo": "demo"}}
    told = said(demo(), "compare_ablation")
    assert told["version"] == 3 and told["configured"] in told["groups"].values()


def test_a_calibration_says_which_clips_it_is_fitted_on():
    assert said(demo(), "calibrate_teacher", teacher="multi_task")["fitted_on"] == demo().held_out
