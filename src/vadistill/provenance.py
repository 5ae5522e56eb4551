"""Where a result comes from: package versions, git revision, seeds."""

import platform
import subprocess
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
