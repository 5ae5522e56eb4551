"""Whether this machine has a GPU, and which driver, without torch: the workflow does not import it."""

import re
from pathlib import Path

NVIDIA = Path("/proc/driver/nvidia")  # its driver's own folder
# Device files of the drivers of NVIDIA, of Windows' subsystem for Linux and of AMD.
DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def has_gpu() -> bool:
    """Return whether the driver of a GPU is there."""
    return any(Path(device).exists() for device in DEVICES)


def gpu_driver() -> str | None:
    """Return the version of NVIDIA's driver where it serves a GPU; None where there is none."""
    try:
        if not any((NVIDIA / "gpus").iterdir()):
            return None
        found = re.search(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", (NVIDIA / "version").read_text())
    except OSError:
        return None
    return found[1] if found else "of unknown version"
