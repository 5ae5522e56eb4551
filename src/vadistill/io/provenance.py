"""Where a result comes from: package versions, git revision, seeds, data."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
PACKAGES = ("torch", "torchvision", "ultralytics", "numpy", "h5py", "opencv-python", "av", "scikit-learn", "snakemake")


def package_versions() -> dict[str, str | None]:
    """Return the versions of the packages that results depend on, None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def git_revision(package: Path = PACKAGE) -> str | None:
    """Return the commit of the checkout that the package is part of, with ``-dirty`` where files differ from it.

    None where the package is no part of a repository: an installed one inside somebody's repository is none of it.
    """
    try:
        if Path(_git(package, "rev-parse", "--show-toplevel")) != package.resolve().parents[1]:
            return None
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *words: str) -> str:
    # Such variables name another repository than the one that the folder lies in.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


def other_checkout(folder: Path, package: Path = PACKAGE) -> str | None:
    """Return a warning where ``folder`` lies in a checkout of this project whose package is not the one that runs."""
    for root in (folder, *folder.parents):
        own = root / "src" / "vadistill"
        if (root / "pyproject.toml").is_file() and own.is_dir():
            if own.resolve() == package.resolve():
                return None
            return f"{root}: a checkout of vadistill, but {package} runs; set PYTHONPATH={root / 'src'} to run this one"
    return None


def seeds(settings: dict[str, Any]) -> dict[str, int]:
    """Return the seeds of all sections that have one."""
    return {name: values["seed"] for name, values in settings.items() if "seed" in values}


def data_fingerprint(clips: Mapping[str, str | None]) -> str | None:
    """Return one short hash of the fingerprints of some clips, by name; None where one of them is unknown."""
    if None in clips.values():
        return None
    return hashlib.sha256(json.dumps(sorted(clips.items())).encode()).hexdigest()[:16]


def provenance(settings: dict[str, Any], detector: Mapping[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies a run beside its settings.

    Args:
        settings: Of all stages, by section.
        detector: What is known of the object detector; empty where none was used.
        data: Fingerprints of the data.
    """
    known = detector and {"weights": settings["detection"]["weights"], "sha256": detector["weights_sha256"]}
    return {
        "seeds": seeds(settings),
        "packages": package_versions(),
        "git_revision": git_revision(),
        "detector": known,
        "data": data,
    }
