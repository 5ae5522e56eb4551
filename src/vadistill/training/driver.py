"""Whether this machine has a GPU, for the workflow, which does not import torch."""

from pathlib import Path

# Device files of the drivers of NVIDIA, of Windows' subsystem for Linux and of AMD.
DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def has_gpu() -> bool:
    """Return whether the driver of a GPU is there."""
    return any(Path(device).exists() for device in DEVICES)
