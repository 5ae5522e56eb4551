"""The rerun contract: a changed setting reruns exactly the stages that read it and those after them."""

import json
import shutil

import pytest
from conftest import Project

from vadistill.settings import score_keys

pytestmark = pytest.mark.workflow
TARGET = "results/tiny/auc.json"
EVALUATED = {"evaluate"}
DISTILLED = {"distill_student", "measure_usual", "score_frames", "fit_alarms", *EVALUATED}
MAPPED = {"build_maps", *DISTILLED}
OF_SDMAE = {"fit_score", "score_frames", "fit_alarms", "evaluate_detector"}


def override(section, **values):
    lines = "".join(f"      {key}: {value}\n" for key, value in values.items())
    return f"datasets:\n  tiny:\n    {section}:\n{lines}"


def touch(*paths):
    for path in paths:
        path.touch()


def test_nothing_changed(finished):
    assert finished.planned(TARGET, "results/tiny/pictures") == set()


def test_touched_code_config_and_clips(finished):
    touch(finished.folder / "Snakefile", finished.folder / "config.yaml", *(finished.folder / "src").rglob("*.py"))
    touch(*(finished.folder / "workflow").rglob("*.smk"), *(finished.folder / "results/tiny/clips").rglob("*.avi"))
    assert finished.planned(TARGET) == set()


def test_other_gpus_rerun_nothing(finished):
    table = "results/tiny/sdmae/auc.json"
    assert finished.planned(TARGET, table, config=[finished.changed("gpus: 2")]) == set()


def test_an_ablation_shares_what_lies_before_the_student(finished):
    rules = {"build_maps", "pretrain_student", *DISTILLED - {"fit_alarms", *EVALUATED}, "evaluate_student"}
    assert finished.planned("results/tiny/ablation.csv") == {*rules, "compare_ablation"}


def test_sdmae_has_speed_and_backends_as_the_student_has(finished):
    targets = [f"results/tiny/{folder}{name}" for folder in ("", "sdmae/") for name in ("speed.json", "backends.csv")]
    rules = {"measure_speed", "compare_backends", "measure_detector_speed", "compare_detector_backends"}
    assert finished.planned(*targets) == rules


def test_an_ablation_of_sdmae_trains_and_judges_it_alone(finished):
    rules = {"train_detector", *OF_SDMAE, "compare_detector_ablation"}
    assert finished.planned("results/tiny/sdmae/ablation.csv") == rules


OTHER_SCORE = {"score": "places", "error_weight": 1.0, "gap_weight": 0.0, "abnormal_weight": 0.0, "filter_tokens": 1}
OTHER_SCORE |= {"masks": 4}


def test_every_setting_that_a_score_alone_reads_is_tried():
    assert OTHER_SCORE.keys() == set(score_keys("sdmae"))


@pytest.mark.parametrize(
    ("section", "values", "rules"),
    [
        *(("sdmae", {key: value}, OF_SDMAE) for key, value in OTHER_SCORE.items()),
        ("maps", {"resolutions": "[2, 8]"}, OF_SDMAE),
        ("sdmae", {"classifier_weight": 0.5}, {"train_detector", *OF_SDMAE}),
        ("held_out", {"share": 0.3}, {"train_detector", *OF_SDMAE}),
    ],
)
def test_another_score_of_a_detector_trains_nothing(finished, section, values, rules):
    config = finished.changed(override(section, **values))
    assert finished.planned("results/tiny/sdmae/auc.json", config=[config]) == rules


@pytest.mark.parametrize(
    ("section", "values", "rules"),
    [
        ("distillation", {"learning_rate": 5e-4}, DISTILLED),
        ("pretraining", {"epochs": 4}, {"pretrain_student", *DISTILLED}),
        ("student", {"depth": 2}, {"pretrain_student", *DISTILLED}),
        ("surprise", {"weight": 0.2}, DISTILLED - {"distill_student"}),
        ("maps", {"resolutions": "[2, 8]"}, MAPPED),
        ("calibration", {"high_value": 0.7}, {"calibrate_teacher", *MAPPED}),
        ("calibration", {"low_value": 0.6, "high_value": 0.65}, {"calibrate_teacher", *MAPPED}),
        ("evaluation", {"smoothing_sigma": 3.0}, EVALUATED),
        ("alarms", {"cool_down": 3.0}, {"fit_alarms", *EVALUATED}),
        ("objects", {"confidence": 0.2}, {"train_teacher", "score_objects", "score_trivially", "calibrate_teacher",
                                          *MAPPED}),
        ("moving", {"speed": 2.0}, {"find_moving", "train_teacher", "score_objects", "score_trivially",
                                    "calibrate_teacher", *MAPPED}),
        ("held_out", {"share": 0.3}, {"make_synthetic_clip", "detect_objects", "find_moving", "train_teacher",
                                      "score_objects", "calibrate_teacher", *MAPPED}),
        ("validation", {"seed": 5}, {"make_synthetic_clip", "detect_objects", "find_moving", "score_objects", *MAPPED}),
        ("synthetic", {"seed": 5}, {"make_synthetic_clip", "detect_objects", "find_moving", "score_objects", *MAPPED}),
        ("motion", {"step": 2}, {"compute_motion", "fit_flow_by_row", "score_trivially", "evaluate"}),
        ("frames", {"quality": 90}, {"extract_frames", "compute_motion", "fit_flow_by_row", "detect_objects",
                                     "find_moving", "train_teacher", "score_objects", "score_trivially",
                                     "calibrate_teacher", "pretrain_student", "make_synthetic_clip", *MAPPED}),
        ("detection", {"iou": 0.5}, {"detect_objects", "make_synthetic_clip", "find_moving", "train_teacher",
                                     "score_objects", "score_trivially", "calibrate_teacher", *MAPPED}),
    ],
)  # fmt: skip
def test_a_setting_reruns_its_stage_and_what_follows(finished, section, values, rules):
    assert finished.planned(TARGET, config=[finished.changed(override(section, **values))]) == rules


def test_one_teachers_setting_leaves_the_other_teacher_alone(finished):
    config = finished.changed(override("multi_task", learning_rate=5e-4))
    assert finished.planned(TARGET, config=[config]) == {"train_teacher", "score_objects", "calibrate_teacher", *MAPPED}
    other = [
        f"results/tiny/maps/background_agnostic/{split}/{shard}.h5" for split in ("train", "test") for shard in (0, 1)
    ]
    present = [path for path in other if (finished.folder / path).exists()]
    assert present and finished.planned(*present, config=[config]) == set()


def test_a_teacher_of_cells_follows_motion_and_not_objects(finished):
    table, scores = "results/tiny/teachers_test.csv", {"score_cells", "calibrate_teacher", "build_maps"}
    for section, values, rules in (
        ("flow_cells", {"neighbours": 3}, {"train_cells", *scores}),
        ("motion", {"step": 2}, {"compute_motion", "fit_flow_by_row", "score_trivially", "train_cells", *scores}),
    ):
        config = finished.changed(override(section, **values))
        assert finished.planned(table, config=[config]) == {*rules, "evaluate_teachers"}
    made = [f"results/tiny/maps/flow_cells/{split}/{shard}.h5" for split in ("train", "test") for shard in (0, 1)]
    present = [path for path in made if (finished.folder / path).exists()]
    config = finished.changed(override("objects", confidence=0.2))
    assert present and finished.planned(*present, config=[config]) == set()


def test_the_content_of_a_pretrained_network_is_among_the_settings(finished):
    config = finished.changed(override("background_agnostic", motion="raft"))
    weights = finished.folder / "resources/weights/raft_small_C_T_V2.pth"

    def command():
        model = "results/tiny/teachers/background_agnostic/model.pt"
        printed = finished.snakemake("-n", "-p", model, config=[config])
        return next(line for line in printed.stdout.splitlines() if "stages.train_teacher" in line)

    without = command()
    assert "raft_small" not in without
    try:
        weights.write_bytes(b"one")
        one = command()
        assert "--network resources/weights/raft_small_C_T_V2.pth" in one
        touch(weights)
        assert command() == one
        weights.write_bytes(b"two")
        assert command() not in (one, without)
        other = override("background_agnostic", motion="farneback")
        assert "raft_small" not in finished.snakemake("-n", "-p", TARGET, config=[finished.changed(other)]).stdout
    finally:
        weights.unlink()


def test_synthetic_anomalies_rerun_the_validation_split_only(finished):
    config = finished.changed(override("validation", seed=5))
    rules = finished.planned("results/tiny/teachers_validation.csv", config=[config])
    assert rules == {"make_synthetic_clip", "compute_motion", "detect_objects", "find_moving", "score_objects",
                     "score_cells", "score_trivially", "build_maps", "evaluate_teachers"}  # fmt: skip
    assert finished.planned("results/tiny/teachers_test.csv", config=[config]) == set()
    last = finished.changed(override("validation", seed=5) + "    distillation: {selection: last}\n")
    assert finished.planned(TARGET, config=[last]) == DISTILLED, "a student that is not selected by it"


def test_swapped_numbers_are_noticed_and_the_order_of_keys_is_not(finished):
    same = "datasets:\n  tiny:\n    pretraining: {frame_stride: 2, batch: 8, epochs: 3}\n"
    assert finished.planned(TARGET, config=[finished.changed(same)]) == set()
    swapped = "datasets:\n  tiny:\n    pretraining: {frame_stride: 3, batch: 8, epochs: 2}\n"
    assert finished.planned(TARGET, config=[finished.changed(swapped)]) == {"pretrain_student", *DISTILLED}


def test_another_datasets_setting_changes_nothing(finished):
    config = finished.changed("datasets:\n  avenue:\n    maps: {resolutions: [2, 4]}\n")
    assert finished.planned(TARGET, config=[config]) == set()


def test_a_moved_or_copied_folder_is_still_finished(finished, tmp_path):
    place, moved = finished.folder, tmp_path / "moved"
    shutil.move(place, moved)
    try:
        finished.folder = moved
        assert finished.planned(TARGET) == set()
    finally:
        finished.folder = place
        shutil.move(moved, place)
    finished.folder = tmp_path / "copied"
    try:
        shutil.copytree(place, finished.folder, symlinks=True)
        assert finished.planned(TARGET) == set()
    finally:
        finished.folder = place


def test_a_raw_clip_is_known_by_its_content(finished):
    clips = finished.folder / "results/tiny/clips"
    cameras = finished.folder / "resources/cameras"
    for split in ("train", "test"):
        shutil.copytree(clips / split, cameras / split)
    target = "results/cameras/detections/train/0.h5"
    finished.snakemake(target)
    assert finished.planned(target) == set()
    touch(*cameras.rglob("*.avi"))
    assert finished.planned(target) == set(), "a new date alone"
    shutil.copy(clips / "train/train_02.avi", cameras / "train/train_01.avi")
    assert finished.planned(target) == {"extract_frames", "detect_objects"}, "other content"


EXECUTOR = """
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=False,
    pass_default_resources_args=True,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)


class Executor(RemoteExecutor):
    def run_job(self, job):
        asked = {name: job.resources.get(name) for name in ("gpu", "mem_mb")}
        print("submitted", job.name, asked, flush=True)
        raise SystemExit(3)

    async def check_active_jobs(self, jobs):
        for job in ():
            yield job

    def cancel_jobs(self, jobs):
        pass
"""


@pytest.mark.parametrize(
    ("gpus", "teacher", "asked"),
    [
        (1, "multi_task", "{'gpu': 1, 'mem_mb': 12000}"),
        (2, "multi_task", "{'gpu': 2, 'mem_mb': 24000}"),
        (2, "flow_neighbours", "{'gpu': 1, 'mem_mb': 12000}"),
    ],
)
def test_a_cluster_is_asked_for_gpus_by_a_machine_that_has_none(finished, tmp_path, monkeypatch, gpus, teacher, asked):
    plugin = tmp_path / "snakemake_executor_plugin_recorder/__init__.py"
    plugin.parent.mkdir()
    plugin.write_text(EXECUTOR)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    variant = f"{{variant_of: tiny, {teacher}: {{seed: 9}}}}"
    config = finished.changed(f"gpus: {gpus}\ndatasets: {{clustered: {variant}}}")
    target = f"results/clustered/teachers/{teacher}/model.pt"
    project = Project(finished.folder)  # Snakemake looks for its plugins when it is imported
    done = project.snakemake(target, "--executor", "recorder", "--jobs", "1", config=[config], check=False)
    assert f"submitted train_teacher {asked}" in done.stdout + done.stderr, done.stderr
    shutil.rmtree(finished.folder / "results/clustered", ignore_errors=True)


def test_a_batch_that_gpus_cannot_share_is_named(finished):
    config = finished.changed("gpus: 3\ndatasets: {tiny: {distillation: {epochs: 3}}}")
    done = finished.snakemake("-n", TARGET, config=[config], check=False)
    assert (
        done.returncode and "tiny: distillation.batch is 8; expected a multiple of gpus, 3" in done.stdout + done.stderr
    )


def test_two_processes_train_what_one_trains(finished, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    losses = []
    for gpus, name in enumerate(("alone", "pair"), 1):
        variant = "{variant_of: tiny, pretraining: {precision: float32, seed: 1}}"
        config = finished.changed(f"gpus: {gpus}\ndatasets: {{{name}: {variant}}}")
        model = f"results/{name}/student/pretrained.pt"
        finished.snakemake(model, config=[config])
        results = finished.folder / "results" / name
        assert ("in 2 processes" in (results / "logs/pretrain_student.log").read_text()) == (gpus == 2)
        metrics = (results / "student/pretrained.metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["train_loss"] for line in metrics])
        assert (finished.folder / model).is_file()
    assert losses[1] == pytest.approx(losses[0], rel=1e-3) and losses[0]
