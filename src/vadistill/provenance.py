"""Where a result comes from: package versions, git revision, seeds, data."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "ultralytics", "numpy", "h5py", "opencv-python", "scikit-learn", "snakemake")


def package_versions() -> dict[str, str | None]:
    """Return the versions of the packages that results depend on, None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def git_revision() -> str | None:
    """Return the commit of this checkout, with ``-dirty`` where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def seeds(settings: dict[str, Any]) -> dict[str, int]:
    """Return the seeds of all sections that have one."""
    return {name: values["seed"] for name, values in settings.items() if "seed" in values}


def data_fingerprint(clips: Mapping[str, str | None]) -> str | None:
    """Return one short hash of the fingerprints of some clips, by name; None where one of them is unknown."""
    if None in clips.values():
        return None
    return hashlib.sha256(json.dumps(sorted(clips.items())).encode()).hexdigest()[:16]


def provenance(settings: dict[str, Any], detector: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies a run beside its settings.

    Args:
        settings: Of all stages, by section.
        detector: What is known of it.
        data: Fingerprints of the data.
    """
    return {
        "seeds": seeds(settings),
        "packages": package_versions(),
        "git_revision": git_revision(),
        "detector": {"weights": settings["detection"]["weights"], "sha256": detector["weights_sha256"]},
        "data": data,
    }
