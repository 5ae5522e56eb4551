"""The profiles name rules and options that exist, and cap what their machines have too little of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser

from vadistill.training.driver import has_gpu

WORKFLOW = Path(__file__).parents[1] / "workflow"
PROFILES = {path.parent.name: yaml.safe_load(path.read_text()) for path in WORKFLOW.glob("profiles/*/config.yaml")}
RULES = set(re.findall(r"^ *rule (\w+):", "".join(path.read_text() for path in WORKFLOW.glob("rules/*.smk")), re.M))


def test_there_are_profiles_and_rules():
    assert set(PROFILES) == {"default", "gpu", "slurm"} and {"extract_frames", "train_teacher"} <= RULES


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_names_rules_that_exist(name):
    keys = ("set-threads", "set-resources", "groups", "set-scatter")
    named = {re.split("[:=]", entry)[0] for key in keys for entry in PROFILES[name].get(key, [])}
    assert named <= RULES


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_has_options_that_exist(name):
    options = {
        option.removeprefix("--") for action in get_argument_parser()._actions for option in action.option_strings
    }
    # The plugin's own options are known where it is installed.
    assert {key for key in PROFILES[name] if not key.startswith("slurm-")} <= options


@pytest.mark.parametrize("name", ["default", "gpu"])
def test_one_rule_at_a_time_has_the_gpu(name):
    assert PROFILES[name]["resources"] == ["gpu=1"]


@pytest.fixture(scope="module")
def planned():
    """All jobs of the demo, as Snakemake lists them, by the files that they make."""
    options = ["-n", "-F", "--cores", "4", "--nolock", "--resources", "gpu=1"]
    command = [sys.executable, "-m", "snakemake", "results/demo/auc.json", *options]
    done = subprocess.run(command, cwd=WORKFLOW.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    jobs = re.findall(r"rule \w+:\n(?:    .*\n)*", done.stdout + done.stderr)
    return {re.search("output: results/demo/(.*)", job)[1]: job for job in jobs}


def test_without_a_gpu_jobs_run_side_by_side_with_one_thread_each(planned):
    if has_gpu():
        pytest.skip("this machine has a GPU")
    learning = [job for job in planned.values() if re.match("rule (train_teacher|distill_student)", job)]
    assert len(learning) == 4 and all("gpu=0" in job and "threads:" not in job for job in learning), learning


def test_what_the_student_waits_for_starts_before_what_is_only_tested(planned):
    def priority(made):
        found = re.search(r"priority: (\d+)", planned[made])
        return int(found[1]) if found else 0

    order = [f"teachers/{teacher}/model.pt" for teacher in ("background_agnostic", "multi_task")]
    order += [f"detections/{split}/0.h5" for split in ("synthetic", "train", "test")]
    assert [priority(made) for made in order] == sorted({priority(made) for made in order}, reverse=True)
    assert priority("object_scores/multi_task/train/0.h5") > priority("object_scores/multi_task/test/0.h5") == 0


def test_slurm_jobs_have_limits_and_few_threads():
    profile = PROFILES["slurm"]
    assert profile["executor"] == "slurm" and profile["retries"] >= 1 and profile["rerun-incomplete"]
    # The rules that take a whole machine need a number in place of it, in the job's own process as well.
    assert profile["cores"] == profile["max-threads"]
    assert {entry.split("=")[0] for entry in profile["default-resources"]} == {"runtime", "mem_mb"}
