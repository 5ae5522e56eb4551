import json
import math
import re

import av
import h5py
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from vadistill.detection.objects import read_objects
from vadistill.evaluation.alarm_thresholds import Alarms
from vadistill.evaluation.health import complaints_of_training
from vadistill.evaluation.metrics import smooth
from vadistill.io import object_scores
from vadistill.io.frames import FrameStore
from vadistill.io.maps import MapStore
from vadistill.settings import ObjectsConfig

pytestmark = pytest.mark.workflow
TEACHERS = ("background_agnostic", "multi_task", "flow_neighbours")
TRIVIAL = {"boxes", "not_person", "box_height", "speed", "frame_difference", "local_difference", "flow_by_row"}


@pytest.fixture(scope="module")
def results(finished):
    return finished.folder / "results/tiny"


@pytest.fixture(scope="module")
def auc(results):
    return json.loads((results / "auc.json").read_text())


def test_the_result_has_its_shape(auc):
    assert set(auc) == {
        *("dataset", "student", "teachers", "teachers_mean", "trivial", "frames", "clips", "labels", "settings"),
        *("protocol", "protocols", "provenance", "student_minus_teachers_mean", "warnings"),
        *("repaired_frames", "left_out_clips", "alarms"),
    }
    assert (auc["dataset"], auc["frames"], auc["clips"]) == ("tiny", 80, 2)
    assert set(auc["teachers"]) == set(TEACHERS)
    assert set(auc["student"]["by_resolution"]) == {"1x1", "4x4", "16x16"}
    assert set(auc["student"]["per_clip"]) == {"test_01", "test_02"}
    assert {"flow_by_row"} < set(auc["trivial"]) <= TRIVIAL and len(auc["trivial"]) >= 5
    for record in (auc["student"], *auc["teachers"].values(), *auc["trivial"].values()):
        assert 0 <= record["micro_auc"] <= 1 and 0 <= record["macro_auc"] <= 1
    assert auc["protocol"]["single_class_clips"] == "skipped" and auc["protocol"]["normalisation"] == "none"
    assert auc["protocol"]["smoothing"]["sigma_frames"] == 2.0


def test_settings_are_the_ones_that_were_used(auc):
    assert auc["settings"]["student"]["base_width"] == 4
    assert auc["settings"]["pretraining"]["epochs"] == 3
    assert auc["settings"]["detection"]["image_size"] == 160
    assert auc["settings"]["objects"]["min_side"] == 6.0
    assert auc["settings"]["multi_task"]["crop"] == 32
    assert auc["settings"]["calibration"]["high_value"] == 0.6
    assert auc["settings"]["frames"] == {"encoding": "jpeg", "quality": 95}
    assert set(auc["provenance"]["seeds"]) == {*TEACHERS, "pretraining", "distillation", "synthetic", "validation"}
    assert len(auc["provenance"]["detector"]["sha256"]) == 64
    assert auc["provenance"]["packages"]["torch"]
    data = auc["provenance"]["data"]
    assert len(data["training"]) == len(data["scored"]) == 16 and data["training"] != data["scored"]


def test_what_a_run_that_trains_nothing_useful_complains_of_is_in_its_result(results, auc):
    last = json.loads((results / "student/distilled.metrics.jsonl").read_text().splitlines()[-1])
    complaints = complaints_of_training(last)
    assert auc["warnings"][: len(complaints)] == complaints
    log = (results / "logs/evaluate.log").read_text()
    assert all(line in log for line in auc["warnings"])


def test_the_auc_follows_from_stored_scores_and_masks(results, auc):
    store = MapStore([results / "student/scores/test.h5"])
    scores, labels = [], []
    for clip in ("test_01", "test_02"):
        maps = store.read(clip, (1, 4, 16))
        mean = np.mean([grid.max((1, 2)) for grid in maps.values()], axis=0)
        np.testing.assert_allclose(store.score(clip), mean, atol=2e-3)
        scores.append(smooth(store.score(clip), 2.0))
        labels.append(np.load(results / f"clips/test_pixel_mask/{clip}.npy").any((1, 2)))
    expected = roc_auc_score(np.concatenate(labels), np.concatenate(scores))
    assert auc["student"]["micro_auc"] == pytest.approx(expected)


def test_protocols_stand_side_by_side(auc):
    assert set(auc["protocols"]) == {"vadistill", "fast_aed", "padded", "min_max"}
    assert auc["repaired_frames"] == {}
    assert auc["labels"] == "pixel masks (.npy): a frame is abnormal if any of its pixels is"
    for record in (auc["student"], auc["teachers_mean"], *auc["teachers"].values()):
        assert set(record["protocols"]) == {"fast_aed", "padded", "min_max"}
        for part in (record, *record["protocols"].values()):
            assert 0 <= part["micro_auc"] <= 1 and part["micro_interval"] is None, "two clips are too few for one"
        assert 0 < record["average_precision"] <= 1 and 0 <= record["equal_error_rate"] <= 1


def test_alarms_at_thresholds_of_held_out_clips(results, auc):
    """Their seconds are too few for any rate; so the highest score is the threshold, and this is said."""
    known = Alarms.read(results / "student/alarms.json")
    assert known.clips == sorted(auc["settings"]["held_out_clips"]) and known.frames_per_second == 12
    store = MapStore([results / "student/scores/held_out.h5"])
    assert store.clips() == known.clips, "no other training clip is scored for it"
    highest = max(smooth(store.score(clip), 0.8 * 12).max() for clip in known.clips)
    assert list(auc["alarms"]) == ["1", "24", "240"]
    for wanted, made in auc["alarms"].items():
        assert made["method"] == "highest" and made["threshold"] == pytest.approx(highest)
        assert "no rate can be promised" in known.thresholds[wanted].note
        assert made["events"] >= 2 and made["normal_hours"] < made["hours"] == pytest.approx(80 / 12 / 3600)


def test_the_student_is_compared_with_its_teachers(auc):
    made = auc["student_minus_teachers_mean"]
    assert made["macro_auc"] == pytest.approx(auc["student"]["macro_auc"] - auc["teachers_mean"]["macro_auc"])


def test_localisation_and_report(results):
    located = json.loads((results / "localisation.json").read_text())
    masks = [np.load(results / f"clips/test_pixel_mask/{clip}.npy") for clip in ("test_01", "test_02")]
    assert located["frames"] == 80 and located["clips"] == 2 and located["map_threshold"] > 0
    assert located["regions"] >= sum(int(mask.any((1, 2)).sum()) for mask in masks) * 0.9
    assert set(located["detectors"]) == {"student", "teachers_mean", *TEACHERS}
    assert all(0 <= made["rbdc"] <= 1 and 0 <= made["tbdc"] <= 1 for made in located["detectors"].values())
    page = (results / "report.html").read_text()
    assert page.count("data:image/svg+xml") >= 2 + 2 + 4 and page.count("data:image/jpeg") >= 3
    for rule in ("train_teacher", "distill_student", "evaluate", "calibrate_teacher", "build_maps"):
        assert f"<td>{rule}</td>" in page


def test_targets_say_how_they_were_made(results):
    with h5py.File(sorted((results / "maps/multi_task/train").glob("*.h5"))[0]) as file:
        assert {"teacher", "settings", "calibration", "object_settings", "model_settings", "detector"} <= set(
            file.attrs
        )
        group = next(iter(file.values()))
        assert {"height", "width", "objects"} <= set(group.attrs)
        assert {name: group[name].shape[1:] for name in group} == {"1x1": (1, 1), "4x4": (4, 4), "16x16": (16, 16)}
        assert all(group[name].dtype == np.float16 for name in group)


def test_every_test_clip_has_its_picture(results):
    names = {path.name for path in (results / "pictures").glob("*.png")}
    assert names == {f"test_0{i}_{kind}.png" for i in (1, 2) for kind in ("scores", "maps")} | {
        f"training_{model}.png" for model in ("pretrained", "distilled", "background_agnostic", "multi_task")
    }


@pytest.mark.parametrize(
    "model", [f"teachers/{name}/model" for name in TEACHERS[:2]] + ["student/pretrained", "student/distilled"]
)
def test_training_left_metrics_and_no_state(results, model):
    records = pd.read_json(results / f"{model}.metrics.jsonl", lines=True)
    assert len(records) >= 2 and records["train_loss"].map(math.isfinite).all()
    assert not (results / f"{model}.state").exists()


def test_moving_cells_are_scored_in_every_clip(results):
    for split, clips in (("train", 3), ("test", 2)):
        scored = list(object_scores.read_shards(sorted((results / f"object_scores/flow_cells/{split}").glob("*.h5"))))
        assert len(scored) == clips and all(len(clip.frame) and np.ptp(clip.terms) > 0 for clip in scored)


def test_heavy_rules_are_benchmarked_and_logged(results):
    for rule in (
        *("extract_frames", "detect_objects", "find_moving", "compute_motion"),
        *("train_teacher", "score_objects", "train_cells", "score_cells", "build_maps"),
    ):
        assert list((results / "benchmarks" / rule).rglob("*.tsv"))
        assert all(path.stat().st_size for path in (results / "logs" / rule).rglob("*.log"))


def test_nothing_half_written_is_left(results):
    assert not [path for path in results.rglob("*") if ".part" in path.name or path.suffix == ".state"]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_teachers_table_has_every_teacher_term_set_and_trivial_score(results, split):
    table = pd.read_csv(results / f"teachers_{split}.csv")
    assert set(table["split"]) == {split}
    every = table[table["kind"] == "all"]
    teachers = every[every["group"] == "teacher"]
    assert set(teachers["name"]) == {*TEACHERS, "flow_cells"} and set(teachers["level"]) == {
        "object",
        "filtered",
        "map",
    }
    assert "multi_task.arrow" in set(every[every["group"] == "term"]["name"])
    assert len(every[(every["group"] == "together") & (every["level"] == "object")]) == 11
    assert set(every[every["group"] == "trivial"]["name"]) <= TRIVIAL
    assert set(table["kind"]) == ({"all"} if split == "test" else {"all", "pasted", "cycling", "driving"})
    assert table["micro_auc"].between(0, 1).all()
    filtered = table[table["mean_filter"] != "none"]
    assert set(filtered["level"]) == {"filtered"} and len(filtered) == (table["level"] == "filtered").sum()


@pytest.mark.parametrize("name", ["teachers_test", "teachers_variants", "student_test", "student_variants"])
def test_every_table_says_the_protocol_of_the_result(results, auc, name):
    table, smoothing = pd.read_csv(results / f"{name}.csv"), auc["protocol"]["smoothing"]
    expected = {
        "protocol": auc["protocol"]["name"],
        **{key: smoothing[key] for key in ("sigma_frames", "taps", "borders")},
    }
    assert (table[list(expected)] == pd.Series(expected)).all(axis=None)
    test = table[table["split"] == "test"]
    assert set(test["clips"]) == {auc["clips"]}
    assert set(test["skipped_clips"]) == {len(auc["student"]["skipped_clips"])}


def test_validation_clips_are_labelled_where_their_boxes_are(results):
    for path in (results / "validation").glob("*.npy"):
        boxes, store = np.load(path), FrameStore(results / f"frames/validation/{path.stem}.h5")
        assert boxes.shape == (len(store), 1, 4) and store.split == "validation"
        assert 0 < boxes.any((1, 2)).mean() < 1
    assert len(list((results / "validation").glob("*.npy"))) == 3


def test_no_teacher_is_fitted_on_the_clips_of_the_validation_split(results):
    made = {path.name.rpartition(".")[0].rpartition(".")[0] for path in (results / "validation").glob("*.npy")}
    calibration = json.loads((results / "teachers/multi_task/calibration.json").read_text())
    assert calibration["clips"] == sorted(made)
    # Objects at least three frames, the reach of its windows, away from the ends of the clips that it may see.
    files = [sorted((results / folder / "train").glob("*.h5")) for folder in ("detections", "moving")]
    objects = list(read_objects(files[0], ObjectsConfig(confidence=0.1, min_side=6.0, moving=True), files[1]))
    inside = {clip.clip: int(((clip.frame >= 3) & (clip.frame < clip.frames - 3)).sum()) for clip in objects}
    log = (results / "logs/train_teacher/background_agnostic.log").read_text()
    fitted = int(re.search(r"of (\d+) objects", log)[1])
    assert fitted == sum(count for clip, count in inside.items() if clip not in made) < sum(inside.values())


def test_the_spread_joins_the_variants(results):
    table = pd.read_csv(results / "teachers_variants.csv")
    assert set(table["variant"]) == {"tiny", "tiny_seed1"} and set(table["split"]) == {"validation", "test"}
    assert not (results.parent / "tiny_seed1/frames").exists(), "a variant shares what it does not change"
    assert (results.parent / "tiny_seed1/teachers/flow_neighbours/model.pt").exists()
    assert not (results.parent / "tiny_seed1/teachers/flow_cells").exists()
    assert not (results.parent / "tiny_seed1/teachers/multi_task").exists()


def test_the_teachers_mistakes_are_drawn(results):
    names = {path.name for path in (results / "teacher_pictures").glob("*.png")}
    assert names == {"test_01_scores.png", "test_02_scores.png", "false_alarms.png", "misses.png"}


def test_a_clip_is_a_film_of_all_its_frames(results):
    with av.open(str(results / "overlays/test_01.mp4")) as film:
        stream, store = film.streams.video[0], FrameStore(results / "frames/test/test_01.h5")
        assert (stream.codec_context.name, stream.average_rate, stream.frames) == ("h264", store.fps, len(store))


def test_the_students_tables_have_every_fusion_and_agree_with_the_result(results, auc):
    levels = {"map", "1x1", "4x4", "16x16", "ranks"}
    validation, test = (pd.read_csv(results / f"student_{split}.csv") for split in ("validation", "test"))
    alone = [pd.read_csv(results.parent / f"tiny_seed1/student_{split}.csv") for split in ("validation", "test")]
    # A single clip is held out, so that no other one could weigh the maps for it.
    assert set(alone[0]["level"]) == levels and set(alone[1]["level"]) == levels | {"logistic"}
    assert set(validation["level"]) == set(test["level"]) == {"map"}, "with surprise all maps have one maximum"
    assert set(validation["kind"]) == {"all", "pasted", "cycling", "driving"} and set(test["kind"]) == {"all"}
    row = test[test["level"] == "map"].iloc[0]
    assert row["micro_auc"] == pytest.approx(auc["student"]["micro_auc"], abs=1e-5)
    assert row["macro_auc"] == pytest.approx(auc["student"]["macro_auc"], abs=1e-5)
    spread = pd.read_csv(results / "student_variants.csv")
    assert set(spread["variant"]) == {"tiny", "tiny_seed1"} and set(spread["split"]) == {"validation", "test"}
    assert (results.parent / "tiny_seed1/student/distilled.pt").exists()


def test_the_student_learns_from_synthetic_anomalies_and_from_no_held_out_clip(results):
    held, made = (
        {path.name.rpartition(".")[0].rpartition(".")[0] for path in (results / split).glob("*.npy")}
        for split in ("validation", "synthetic")
    )
    assert held and made and not held & made
    frames = {
        path.stem: len(FrameStore(path)) for path in (results / "frames").glob("*/*.h5") if path.parent.name != "test"
    }
    learned = sum(n for clip, n in frames.items() if clip not in held and clip.rpartition(".")[0] not in held)
    log = (results / "logs/distill_student.log").read_text()
    assert int(re.search(r"on \w+, (\d+) frames", log)[1]) == learned
    with h5py.File(results / "student/scores/test.h5") as file:
        settings = json.loads(file.attrs["model_settings"])
    assert set(settings["held_out_clips"]) == held and settings["synthetic"]["frames"] == 24
    filmed = [FrameStore(path) for path in (results / "frames" / "train").glob("*.h5")]
    known = settings["training_clips"]
    assert known["clips"] == sum(store.clip not in held for store in filmed)
    assert known["frames_per_second"] == sorted({store.fps for store in filmed})
    assert {tuple(size) for size in known["sizes"]} == {(store.width, store.height) for store in filmed}


def test_a_detector_without_training_has_its_own_numbers(finished):
    result = json.loads((finished.folder / "results/tiny/flow_cells/auc.json").read_text())
    assert result["detector"] == "flow_cells" and set(result["scores"]["per_clip"]) == {"test_01", "test_02"}
    assert {"frames", "motion", "flow_cells", "calibration", "held_out_clips"} <= set(result["settings"])
    assert "calibrated" not in result["settings"] and result["provenance"]["data"]["training"]
    other = finished.changed("datasets: {tiny: {maps: {resolutions: [1, 4]}}}")
    assert "pack_cells" in finished.planned("results/tiny/flow_cells/auc.json", config=[other])
    other = finished.changed("datasets: {tiny: {background_agnostic: {batch: 32}}}")
    assert "pack_cells" not in finished.planned("results/tiny/flow_cells/auc.json", config=[other])


def test_all_detectors_stand_side_by_side(finished):
    results = finished.folder / "results/tiny"
    table = pd.read_csv(results / "comparison.csv").set_index("name")
    assert list(table.index[table.group == "detector"]) == ["student", "flow_cells", "sdmae"]
    made = {name: json.loads((results / name / "auc.json").read_text())["scores"] for name in ("flow_cells", "sdmae")}
    made["student"] = json.loads((results / "auc.json").read_text())["student"]
    for name, numbers in made.items():
        assert table.micro_auc[name] == pytest.approx(numbers["micro_auc"], abs=1e-5)
        assert table.macro_auc[name] == pytest.approx(numbers["macro_auc"], abs=1e-5)
    ahead = table.micro_auc - table.micro_auc["student"]
    np.testing.assert_allclose(table.ahead_micro_auc.drop("student"), ahead.drop("student"), atol=2e-5)
    assert {"background_agnostic", "mean", "not_person"} <= set(table.index)
    assert "sdmae" in (results / "comparison.html").read_text(encoding="utf-8")
    places = {name: json.loads((results / name / "localisation.json").read_text()) for name in ("flow_cells", "sdmae")}
    of_student = json.loads((results / "localisation.json").read_text())["detectors"]
    for name, own in (("multi_task", "multi_task"), ("mean", "teachers_mean"), ("student", "student")):
        assert table.tbdc[name] == pytest.approx(of_student[own]["tbdc"], abs=1e-5)
    for name, located in places.items():
        assert set(located["detectors"]) == {name} and located["map_threshold"] > 0
        assert table.rbdc[name] == pytest.approx(located["detectors"][name]["rbdc"], abs=1e-5)


def test_a_detector_without_teachers_has_films_and_pictures(finished):
    folder = finished.folder / "results/tiny/sdmae"
    with av.open(str(folder / "overlays/test_01.mp4")) as film:
        assert film.streams.video[0].frames == 40
    drawn = {path.name for path in (folder / "pictures").glob("*.png")}
    clips = {f"{clip}_{kind}.png" for clip in ("test_01", "test_02") for kind in ("scores", "maps")}
    assert drawn == {*clips, "training_sdmae.png"}
