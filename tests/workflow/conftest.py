"""One finished run of the whole workflow on a tiny data set, shared by all tests of this folder."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from forks import Forks

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "envs", "config.yaml", "src", "resources/weights/demo.pt")
CONFIG = Path(__file__).parent / "tiny.yaml"
# Seconds, only so that what hangs ends with its output: a command takes minutes, on a busy machine some more.
HANGS = 1200


class Project:
    """A copy of the project's files in a folder of its own, and the ``python`` that runs it."""

    def __init__(self, folder: Path, python: str | Path = sys.executable) -> None:
        self.folder, self.python = folder, str(python)

    def snakemake(self, *arguments, config=(), check=True) -> subprocess.CompletedProcess:
        # Jobs that would take both cores run side by side: they are too small to use two.
        command = [self.python, "-m", "snakemake", "--cores", "2", "--max-threads", "1", *arguments]
        command += ["--configfile", str(CONFIG), *map(str, config)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=HANGS)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def planned(self, *targets, config=()) -> set[str]:
        """Return the rules that a dry run would run."""
        output = self.snakemake("-n", *targets, config=config)
        text = output.stdout + output.stderr
        if "Nothing to be done" in text:
            return set()
        table = re.search(r"job +count\n-+ +-+\n(.*?)\ntotal", text, re.S)
        assert table, text
        return {line.split()[0] for line in table[1].splitlines()}

    def changed(self, text: str) -> Path:
        """Write a config file that goes over the tiny one."""
        path = self.folder / "changed.yaml"
        path.write_text(text)
        return path


def copy_project(folder: Path, python: str | Path = sys.executable) -> Project:
    for part in PARTS:
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
    return Project(folder, python)


@pytest.fixture(scope="session")
def forks():
    """A stand-in for the interpreter, with which commands take a tenth of the time; for tests that only run them."""
    with Forks() as made:
        yield made.python


@pytest.fixture(scope="session")
def finished(tmp_path_factory, forks) -> Project:
    """The finished run; of several processes (pytest-xdist) one makes it, and each has a copy."""
    made = tmp_path_factory.mktemp("finished") / "project"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return finish(copy_project(made, forks))
    shared = tmp_path_factory.getbasetemp().parent / "finished"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            finish(copy_project(made, forks)).folder.rename(shared)
    shutil.copytree(shared, made, symlinks=True)
    return Project(made, forks)


def finish(project: Project) -> Project:
    """Make every kind of result."""
    targets = (
        "auc.json",
        "flow_cells/auc.json",
        "sdmae/auc.json",
        "comparison.html",
        "sdmae/pictures",
        "sdmae/overlays/test_01.mp4",
        "pictures",
        "teachers_validation.csv",
        "teacher_pictures",
        "teachers_variants.csv",
        "student_variants.csv",
        "overlays/test_01.mp4",
        "report.html",
    )
    project.snakemake(*(f"results/tiny/{target}" for target in targets))
    return project
