"""What this machine is, and what it reaches at best: a large matrix product and a large copy."""

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from vadistill.benchmark.timing import by_turns
from vadistill.io.provenance import git_revision, package_versions
from vadistill.training.driver import gpu_driver

SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices
COPIED = {"cpu": 1 << 28, "cuda": 1 << 31}  # bytes, far more than a processor's cache
KINDS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "int8": torch.int8}


@dataclass(frozen=True)
class Peak:
    """What was reached at best.

    Attributes:
        products: Multiply-accumulates a second of a large matrix product, by precision.
        copied: Bytes read and written a second by a large copy.
        device: ``cpu`` or ``cuda``: where.
    """

    products: dict[str, float]
    copied: float
    device: str = "cpu"


def measure_peak(device: torch.device, precisions: Iterable[str], budget: float = 1.0) -> Peak:
    """Measure the peaks of a device with torch's current number of threads; the best run counts.

    On a GPU, fp32 uses TF32 if convolutions do. Precisions that the device refuses are left out.

    Args:
        device: CPU or GPU.
        precisions: Keys of ``KINDS``.
        budget: Seconds for each of them and for the copy.
    """
    side = SIDE[device.type]
    tasks = {name: _product(side, KINDS[name], device) for name in sorted(precisions)}
    tasks = {name: task for name, task in tasks.items() if _runs(task)}
    source = torch.ones(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    tasks["copy"] = lambda: target.copy_(source)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    seconds = by_turns({name: synchronised(task, device) for name, task in tasks.items()}, budget)
    torch.backends.cuda.matmul.allow_tf32 = before
    best = {name: float(values.min()) for name, values in seconds.items()}
    copied = 2 * len(source) / best.pop("copy")
    return Peak({name: side**3 / value for name, value in best.items()}, copied, device.type)


def synchronised(task: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Return the task as one that returns when its work is done."""
    if device.type != "cuda":
        return task

    def finished() -> None:
        task()
        torch.cuda.synchronize(device)

    return finished


def _runs(task: Callable[[], object]) -> bool:
    """Return whether a device knows a product: some GPUs refuse 8 bits of some layouts."""
    try:
        task()
    except RuntimeError:
        return False
    return True


def _product(side: int, kind: torch.dtype, device: torch.device) -> Callable[[], torch.Tensor]:
    if kind == torch.int8:
        matrix = torch.ones(side, side, dtype=kind, device=device)
        # torch has no public name for it. On GPUs the columns of the second factor should lie together.
        second = matrix.T if device.type == "cuda" else matrix
        return lambda: torch._int_mm(matrix, second)
    matrix = torch.randn(side, side, device=device).to(kind)
    return lambda: matrix @ matrix


def describe_machine(device: torch.device, threads: int) -> dict[str, Any]:
    """Return what times depend on: processor, GPU, memory, threads, versions, revision and date."""
    gpu = device.type == "cuda"
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name(device) if gpu else None,
        "gpu_memory_gib": round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1) if gpu else None,
        "driver": gpu_driver(),
        "cuda": torch.version.cuda if gpu else None,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
        "tf32": bool(torch.backends.cudnn.allow_tf32) if gpu else None,
        "load": round(os.getloadavg()[0], 1),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": git_revision(),
        "versions": package_versions() | {name: _version(name) for name in ("onnxruntime", "openvino", "av")},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
