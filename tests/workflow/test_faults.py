"""Bad input ends in one clear line, and a killed training resumes."""

import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torchvision
from conftest import HANGS, ROOT, Project
from trees import write_avi

from vadistill.io.maps import MapStore
from vadistill.settings.stages import stage_settings

pytestmark = pytest.mark.workflow


@pytest.fixture
def project(finished, tmp_path):
    """The finished project, with folders that a test may add found by none and left behind for none."""
    added = finished.folder / "resources/cameras", finished.folder / "results/cameras"
    for path in added:
        shutil.rmtree(path, ignore_errors=True)
    yield finished
    for path in added:
        shutil.rmtree(path, ignore_errors=True)


def start_stage(project, stage, settings, *arguments, before=(), python=sys.executable, **streams):
    command = [
        *before,
        python,
        "-m",
        f"vadistill.stages.{stage}",
        "--settings",
        json.dumps(settings),
        *map(str, arguments),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project.folder / "src")}
    return subprocess.Popen(command, cwd=project.folder, env=environment, text=True, **streams)


def run_stage(project, stage, settings, *arguments, before=()):
    """Run a stage to its end; with a command ``before`` it, which limits it, in a process of its own."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    python = sys.executable if before else project.python
    process = start_stage(project, stage, settings, *arguments, before=before, python=python, **streams)
    output, _ = process.communicate(timeout=HANGS)
    return process.returncode, output


def one_error(output):
    lines = [line for line in output.splitlines() if "error: " in line]
    assert len(lines) == 1 and "Traceback (most" not in output, output
    return lines[0]


def cameras(project, train=("one",), test=("two",), broken=None):
    root = project.folder / "resources/cameras"
    rng = np.random.default_rng(0)
    for split, names in (("train", train), ("test", test)):
        (root / split).mkdir(parents=True)
        for name in names:
            write_avi(root / split / f"{name}.avi", list(rng.integers(90, 110, (20, 48, 64, 3), np.uint8)))
    if broken:
        path = root / "train" / "one.avi"
        path.write_bytes(broken(path.read_bytes()))
    return root


@pytest.mark.parametrize(
    ("target", "config", "told"),
    [
        ("results/shanghaitech/auc.json", "", "resources/shanghaitech: missing; expected the folder of a data set"),
        ("results/nowhere/auc.json", "", "no data set 'nowhere' under datasets"),
        ("results/tiny/auc.json", "student: {hieght: 3}", "unknown key 'hieght' in student"),
        ("results/tiny/auc.json", "student: {height: tall}", "student.height is the text 'tall', expected a integer"),
        ("results/tiny/auc.json", "distillation: {teachers: [flow]}", "unknown teacher 'flow'"),
        ("results/tiny/frames/test/test_99.h5", "", "no test clip 'test_99'"),
        ("results/tiny/overlays/train_01.mp4", "", "no test clip 'train_01'"),
    ],
)
def test_a_bad_request_is_refused_before_anything_runs(finished, target, config, told):
    done = finished.snakemake(target, config=[finished.changed(config)] if config else (), check=False)
    assert done.returncode and told in done.stdout + done.stderr
    assert "Traceback (most recent call last)" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda content: content[: len(content) // 2], "one.avi"),
        (lambda _: b"", "one.avi"),
        (lambda _: b"text" * 99, "one.avi"),
    ],
)
def test_a_broken_video_is_named_and_nothing_is_left(project, broken, told):
    cameras(project, broken=broken)
    done = project.snakemake("results/cameras/frames/train/one.h5", check=False)
    assert done.returncode and told in one_error(done.stdout + done.stderr)
    assert not list((project.folder / "results/cameras/frames").rglob("*one*"))


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"one": 20}, "one.avi: 20 frames, of which the last 15 % (held_out.share) are held out"),
        (
            {"one": 1, "six": 6},
            "cameras: no training clip has 12 frames or more (one: 1, six: 6); expected longer ones",
        ),
    ],
)
def test_training_clips_that_are_too_short_end_the_run_before_it_begins(project, train, told):
    root = cameras(project, train=())
    for name, count in train.items():
        write_avi(root / "train" / f"{name}.avi", [np.full((48, 64, 3), 90, np.uint8)] * count)
    done = project.snakemake("results/cameras/auc.json", check=False)
    assert done.returncode and told in done.stdout + done.stderr
    assert not (project.folder / "results/cameras").exists()


def test_weights_that_are_not_here_say_where_they_belong(project):
    cameras(project)
    config = project.changed("datasets: {cameras: {detection: {weights: my_own.pt}}}")
    done = project.snakemake("results/cameras/detections/train/0.h5", config=[config], check=False)
    assert done.returncode
    assert "resources/weights/my_own.pt: no such detector weights" in one_error(done.stdout + done.stderr)


def test_weights_that_hold_more_than_a_network_need_a_line_of_config(project):
    cameras(project)
    weights, target = project.folder / "resources/weights", "results/cameras/detections/train/0.h5"
    content = torch.load(weights / "demo.pt", weights_only=False)
    torch.save({**content, "made": datetime.date(2026, 11, 25)}, weights / "own.pt")
    own = "datasets: {cameras: {detection: {weights: own.pt}}}\n"
    project = Project(project.folder)  # ultralytics reads when it is imported whether it may load them
    try:
        done = project.snakemake(target, config=[project.changed(own)], check=False)
        told = one_error(done.stdout + done.stderr)
        assert done.returncode and "own.pt: loading it could run any code" in told
        project.snakemake(target, config=[project.changed(own + told[told.index("trusted_weights: ") :])])
    finally:
        (weights / "own.pt").unlink()


TRAINED = {"objects": {}, "held_out": {}, "multi_task": {"crop": 32}}


def test_clips_without_any_object_get_empty_maps(project):
    """Frames, detections, scores and maps of a clip in which nothing is found."""
    cameras(project)
    config = project.changed("datasets: {cameras: {detection: {confidence: 0.99}}}")
    target = "results/cameras/detections/test/0.h5"
    project.snakemake(target, config=[config])
    tiny = project.folder / "results/tiny/teachers/multi_task"
    folder = project.folder / "results/cameras"
    code, output = run_stage(
        *(project, "score_objects", {"objects": {}}, "--teacher", "multi_task", "--model", tiny / "model.pt"),
        *("--frames", folder / "frames/test/two.h5", "--detections", target, "--output", folder / "scores.h5"),
    )
    assert code == 0, output
    code, output = run_stage(
        *(project, "build_maps", {"maps": {"resolutions": [1, 4]}}, "--calibration", tiny / "calibration.json"),
        *("--scores", folder / "scores.h5", "--output", folder / "maps.h5"),
    )
    assert code == 0, output
    grids = MapStore([folder / "maps.h5"]).read("two", (1, 4))
    assert {g: grid.shape for g, grid in grids.items()} == {1: (20, 1, 1), 4: (20, 4, 4)}
    assert not any(grid.any() for grid in grids.values())

    code, output = run_stage(
        *(
            project,
            "train_teacher",
            TRAINED,
            "--teacher",
            "multi_task",
        ),
        *("--frames", folder / "frames/test/two.h5", "--detections", target, "--output", folder / "model.pt"),
    )
    assert code == 1 and "no object in 1 training clips" in one_error(output)
    assert not list(folder.glob("model*"))


def evaluation_of(results, output, **changes):
    """Arguments of evaluate; of several files for one option, ``changes`` may name others."""
    files = {"student": "student/scores/test.h5", "scores": "object_scores/*/test/*.h5", "maps": "maps/*/test/*.h5"}
    files |= {"calibrations": "teachers/*/calibration.json", "trivial": "trivial/test/*.h5"}
    found = {option: changes.get(option) or sorted(results.glob(pattern)) for option, pattern in files.items()}
    given = [part for option, paths in found.items() for part in (f"--{option}", *np.atleast_1d(paths))]
    return ["--dataset", "cameras", *given, "--output", output / "auc.json"]


def test_without_labels_there_are_scores_and_no_auc(project, tmp_path):
    root, results = project.folder / "resources/cameras", project.folder / "results/tiny"
    for split in ("train", "test"):
        shutil.copytree(results / "clips" / split, root / split)
    settings = {"evaluation": {"smoothing_sigma": 2.0}, "layout": "folder", "path": "resources/cameras"}
    student = shutil.copy(results / "student/scores/test.h5", tmp_path)
    with h5py.File(student, "r+") as file:
        file["test_02"].attrs["repaired"] = [7]
    arguments = evaluation_of(results, tmp_path, student=student)
    code, output = run_stage(project, "evaluate", settings, *arguments)
    assert code == 0, output
    made = json.loads((tmp_path / "auc.json").read_text())
    assert "no labels" in made["note"] and made["student"]["micro_auc"] is None
    assert len(made["student"]["per_clip"]["test_01"]["scores"]) == 40
    assert made["repaired_frames"] == {"test_02": [7]}

    (root / "labels.csv").write_text("clip,start,end\ntest_01,10,99\n")
    code, output = run_stage(project, "evaluate", settings, *arguments)
    assert code == 1 and "test_01" in one_error(output) and "40 frames" in output


NETWORK = {"height": 48, "width": 80, "base_width": 4, "downsamplings": 3, "depth": 1, "heads": 2, "head_width": 8}


def distillation_of(results):
    """Settings and arguments of distill_student: everything that a resumed training must bring back."""
    used = {"teachers": ["multi_task"], "pretrained": False, "epochs": 4, "batch": 8, "schedule": "cosine"}
    used |= {"average": 0.9, "selection": "validation"}
    settings = {"student": NETWORK, "distillation": used, "maps": {}, "held_out_clips": {}}
    inputs = {"frames": "frames/train/*.h5", "maps": "maps/multi_task/train/*.h5"}
    inputs |= {"validation": "frames/validation/*.h5", "boxes": "validation/*.npy"}
    inputs |= {"validation-maps": "maps/multi_task/validation/*.h5"}
    return settings, [part for name, files in inputs.items() for part in (f"--{name}", *sorted(results.glob(files)))]


def pretraining_of(results, **used):
    """Settings and arguments of pretrain_student."""
    settings = {"student": NETWORK, "pretraining": {"epochs": 4, "batch": 8} | used}
    return settings, ["--frames", *sorted(results.glob("frames/train/*.h5"))]


def teaching_of(results, teacher, **used):
    """Settings and arguments of train_teacher."""
    settings = {"objects": {"confidence": 0.1, "min_side": 6.0, "moving": True}, "held_out": {}}
    settings[teacher] = {"crop": 32, "max_objects": 60} | used
    inputs = {name: sorted(results.glob(f"{name}/train/*.h5")) for name in ("frames", "detections", "moving")}
    options = [part for name, files in inputs.items() for part in (f"--{name}", *files)]
    return settings, ["--teacher", teacher, *options]


AGNOSTIC = {"batch": 16, "autoencoder_epochs": 3, "adversarial_epochs": 2, "classifier_epochs": 2}
TASKS = {"batch": 16, "epochs": 4, "schedule": "cosine", "imagenet": False, "width": "narrow", "depth": "shallow"}


@pytest.mark.parametrize(
    ("stage", "prepare", "sent"),
    [
        ("pretrain_student", pretraining_of, signal.SIGKILL),
        ("pretrain_student", pretraining_of, signal.SIGTERM),
        ("distill_student", distillation_of, signal.SIGKILL),
        ("train_teacher", partial(teaching_of, teacher="background_agnostic", **AGNOSTIC), signal.SIGTERM),
        ("train_teacher", partial(teaching_of, teacher="multi_task", **TASKS), signal.SIGKILL),
    ],
)
def test_a_killed_training_resumes_to_the_same_weights(finished, tmp_path, stage, prepare, sent):
    """Which also shows that the same seed gives the same weights to the bit."""
    settings, inputs = prepare(finished.folder / "results/tiny")

    def arguments(name):
        return [*inputs, "--output", tmp_path / name]

    assert run_stage(finished, stage, settings, *arguments("whole.pt"))[0] == 0
    output = {"python": finished.python, "stderr": subprocess.DEVNULL}
    process = start_stage(finished, stage, settings, *arguments("killed.pt"), **output)
    deadline = time.monotonic() + HANGS
    while not (tmp_path / "killed.state").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(sent)
    assert process.wait() != 0 and not (tmp_path / "killed.pt").exists()
    if sent == signal.SIGTERM:
        assert not list(tmp_path.glob(".*.part*"))
    code, output = run_stage(finished, stage, settings, *arguments("killed.pt"))
    assert code == 0 and "resumed after epoch" in output
    whole, resumed = (torch.load(tmp_path / name, weights_only=True)["weights"] for name in ("whole.pt", "killed.pt"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_student_fits_into_memory(finished, tmp_path):
    settings, inputs = distillation_of(finished.folder / "results/tiny")
    settings["distillation"]["epochs"] = 1
    process = start_stage(finished, "distill_student", settings, *inputs, "--output", tmp_path / "model.pt")
    highest = 0  # kilobytes; ru_maxrss would be that of these tests' own process, which it was forked from
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        highest = max(highest, int(found[1])) if found else highest
        time.sleep(0.05)
    assert process.returncode == 0 and 2**17 < highest < 2.5 * 2**20, "of which libraries and their threads take most"


def test_a_teacher_without_training_is_the_same_to_the_bit(finished, tmp_path):
    settings, inputs = teaching_of(finished.folder / "results/tiny", "flow_neighbours")
    for name in ("one.pt", "two.pt"):
        assert run_stage(finished, "train_teacher", settings, *inputs, "--output", tmp_path / name)[0] == 0
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_learned_flow_needs_weights_and_goes_with_the_model(finished, tmp_path, monkeypatch):
    """With weights that nobody trained, since no others are at hand; the flow's worth is another question."""
    results = finished.folder / "results/tiny"
    settings, inputs = teaching_of(results, "background_agnostic", motion="raft", **dict.fromkeys(AGNOSTIC, 1))
    settings["background_agnostic"] |= {"batch": 8, "max_objects": 8}
    inputs = [*inputs, "--output", tmp_path / "model.pt"]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    code, output = run_stage(finished, "train_teacher", settings, *inputs)
    assert code == 1 and "motion is raft, but there is no raft_small*.pth" in one_error(output)
    torch.manual_seed(0)
    network = torchvision.models.optical_flow.raft_small(weights=None)
    torch.save(network.state_dict(), tmp_path / "raft_small.pth")
    code, output = run_stage(finished, "train_teacher", settings, *inputs, "--network", tmp_path / "raft_small.pth")
    assert code == 0, output
    (tmp_path / "raft_small.pth").unlink()
    kept = torch.load(tmp_path / "model.pt", weights_only=True)["weights"]
    assert torch.equal(kept["raft.network.feature_encoder.convnormrelu.0.weight"],
                       network.state_dict()["feature_encoder.convnormrelu.0.weight"])  # fmt: skip
    scored = [part for name in ("frames", "detections", "moving")
              for part in (f"--{name}", *sorted(results.glob(f"{name}/test/*.h5")))]  # fmt: skip
    options = ["--teacher", "background_agnostic", "--model", tmp_path / "model.pt", "--output", tmp_path / "scores.h5"]
    code, output = run_stage(finished, "score_objects", {"objects": settings["objects"]}, *scored, *options)
    assert code == 0 and (tmp_path / "scores.h5").exists(), output


def test_a_loss_that_is_not_finite_names_the_batch_and_its_clips(finished, tmp_path):
    results = finished.folder / "results/tiny"
    for stage, (settings, inputs), told in (
        ("pretrain_student", pretraining_of(results, learning_rate=1e30), r"epoch 1, batch \d+ \(clips train_0"),
        ("train_teacher", teaching_of(results, "multi_task", **TASKS, learning_rate=1e30), r"epoch 1, batch \d+"),
    ):
        code, output = run_stage(finished, stage, settings, *inputs, "--output", tmp_path / "model.pt")
        assert code == 1 and re.search(r"the loss is (nan|inf) at .*" + told, one_error(output))
        assert not (tmp_path / "model.pt").exists()


def test_a_full_disk_is_named_and_with_space_the_stage_completes(finished, tmp_path):
    """No file may grow beyond a limit: writes fail in their middle as on a full disk."""
    results = finished.folder / "results/tiny"
    scored = ["--scores", *sorted(results.glob("object_scores/multi_task/test/*.h5"))]
    scored += ["--calibration", results / "teachers/multi_task/calibration.json"]
    # The limit also holds for memory that loaders share: batches are small.
    trained, inputs = pretraining_of(results, epochs=1, batch=2)
    for stage, settings, arguments, output, size in (
        ("pretrain_student", trained, inputs, tmp_path / "model.pt", 100_000),
        ("build_maps", {"maps": {}}, scored, tmp_path / "test.h5", 10_000),
    ):
        arguments = [*arguments, "--output", output]
        limit = ["prlimit", f"--fsize={size}"]
        code, told = run_stage(finished, stage, settings, *arguments, before=limit)
        assert code == 1 and "File too large" in one_error(told) and str(output.with_suffix("")) in one_error(told)
        assert not output.exists() and not list(tmp_path.glob(".*"))
        code, told = run_stage(finished, stage, settings, *arguments)
        assert code == 0 and output.exists(), told


def test_damaged_frames_are_named_in_one_line_also_by_a_loaders_worker(finished, tmp_path):
    damaged = tmp_path / "train_01.h5"
    content = bytearray((finished.folder / "results/tiny/frames/train/train_01.h5").read_bytes())
    for place in range(len(content) // 3, len(content) // 2):
        content[place] ^= 0xFF
    damaged.write_bytes(content)
    settings = {"student": {"height": 48, "width": 80, "base_width": 4, "depth": 1}, "pretraining": {"batch": 8}}
    code, output = run_stage(
        finished, "pretrain_student", settings, "--frames", damaged, "--output", tmp_path / "model.pt"
    )
    assert code == 1 and "train_01.h5" in one_error(output) and not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize(
    ("file", "made_again"),
    [
        ("maps/multi_task/test/*.h5", {"build_maps"}),
        ("trivial/test/*.h5", {"score_trivially"}),
        ("student/scores/test.h5", {"score_frames"}),
        (
            "teachers/multi_task/calibration.json",
            {"calibrate_teacher", "build_maps", "distill_student", "measure_usual", "score_frames", "fit_alarms"},
        ),
    ],
)
def test_a_damaged_file_is_named_and_once_deleted_only_it_and_what_follows_is_made_again(
    finished, tmp_path, file, made_again
):
    results = finished.folder / "results/tiny"
    path, result = sorted(results.glob(file))[0], results / "auc.json"
    kept, kept_result = (shutil.copy2(part, tmp_path / f"kept_{part.name}") for part in (path, result))
    try:
        content = bytearray(path.read_bytes())
        for place in range(len(content) // 3, len(content) // 2):
            content[place] ^= 1
        path.write_bytes(content)
        settings = {"evaluation": {}, "layout": "demo", "path": "results/tiny/clips"}
        code, output = run_stage(finished, "evaluate", settings, *evaluation_of(results, tmp_path))
        told = one_error(output)
        assert code == 1 and str(path) in told and "delete it to have it made again" in told
        for part in (path, result):  # the workflow removes the output of a stage that fails
            part.unlink()
        assert finished.planned("results/tiny/auc.json") == {*made_again, "evaluate"}
    finally:
        shutil.copy2(kept, path)
        shutil.copy2(kept_result, result)


def test_cleaning_without_a_data_set_is_refused(finished):
    makefile = str(ROOT / "Makefile")
    for target in ("clean", "clean-frames", "clean-teachers"):
        done = subprocess.run(
            ["make", "-n", "-f", makefile, target, "DATASET="], cwd=finished.folder, capture_output=True, text=True
        )
        assert done.returncode and "DATASET is empty" in done.stderr and "rm" not in done.stdout


def test_the_same_command_line_works_for_settings_of_the_workflow(finished):
    """What the workflow passes and what a stage reads are the same JSON."""
    settings = json.loads(stage_settings({"datasets": {"x": {"layout": "folder"}}}, "x", "build_maps"))
    assert settings == {"version": 2, "maps": {"resolutions": [1, 4, 16]}}
