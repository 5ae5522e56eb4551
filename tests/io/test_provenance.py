import os
import subprocess
import sys

import pytest

from vadistill import __version__
from vadistill.io.provenance import PACKAGE, git_revision, other_checkout

WHO = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]


def git(folder, *words):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", "-C", folder, *WHO, *words], env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def checkout(root):
    """Make a repository of this project's shape; return its package and its commit."""
    package = root / "src" / "vadistill"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (root / "pyproject.toml").write_text("")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return package, git(root, "rev-parse", "HEAD")


def test_the_revision_is_of_the_packages_own_checkout(tmp_path, monkeypatch):
    package, commit = checkout(tmp_path / "a")
    checkout(tmp_path / "b")
    assert git_revision(package) == commit
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "b" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "b"))
    assert git_revision(package) == commit
    (package / "__init__.py").write_text("changed")
    assert git_revision(package) == f"{commit}-dirty"


@pytest.mark.parametrize(
    "place", ["venv/lib/python/site-packages/vadistill", "src/vadistill/inner/vadistill", "src/new"]
)
def test_a_package_inside_another_repository_has_no_revision(tmp_path, place):
    checkout(tmp_path)
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "__init__.py").write_text("")
    assert git_revision(tmp_path / place) is None
    assert git_revision(tmp_path / "nowhere") is None


def test_a_checkout_that_runs_another_ones_package_says_so(tmp_path):
    package, _ = checkout(tmp_path / "a")
    line = other_checkout(tmp_path / "a" / "src")
    assert line.startswith(f"{tmp_path}/a: a checkout of vadistill, but {PACKAGE} runs") and "\n" not in line
    assert other_checkout(tmp_path / "a", package) is None
    assert other_checkout(tmp_path) is None


@pytest.mark.slow
def test_the_version_names_revision_and_folder(tmp_path):
    checkout(tmp_path / "a")
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "GIT_DIR": "/nowhere"}
    run = {"cwd": tmp_path / "a", "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-m", "vadistill", "--version"], **run)
    revision = git_revision() or "unknown"
    assert done.stdout == f"vadistill {__version__}, revision {revision}, {PACKAGE}\n", done.stderr
