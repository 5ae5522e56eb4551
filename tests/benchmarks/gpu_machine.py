"""The first part of ``gpu_day``: what this machine's GPU and torch are, and whether they compute together.

    PYTHONPATH=src:tests python -m benchmarks.gpu_machine machine.json

Without a GPU that torch reaches, it ends in one line; ``--device cpu`` asks for none.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from vadistill.benchmark.machine_peak import describe_machine
from vadistill.errors import InputError
from vadistill.io.files import write_json
from vadistill.processors import cores
from vadistill.training.device import pick_device
from vadistill.training.driver import gpu_driver

CLOSE = 0.02  # of a product of 8 bits of mantissa, relative to its largest value


def found(wanted: str) -> dict[str, Any]:
    """Return what there is, once a product and a convolution in float32 and bfloat16 agree with the processor's.

    Raises:
        InputError: There is no GPU though one is wanted, or it computes something else.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"no CUDA: torch {torch.__version__} for CUDA {torch.version.cuda}, driver {gpu_driver()}; expected a GPU "
            "that torch reaches, or --device cpu to try the script without one"
        )
    device = pick_device()
    if device.type != wanted:
        raise InputError(f"torch takes {device}, though {wanted} was asked for; hide GPUs with CUDA_VISIBLE_DEVICES=")
    errors = {str(kind).removeprefix("torch."): _error(device, kind) for kind in (torch.float32, torch.bfloat16)}
    if bad := [kind for kind, error in errors.items() if not error < CLOSE]:
        raise InputError(
            f"{bad[0]} on {device} is wrong by {errors[bad[0]]:.2g} of the largest value; expected {CLOSE}"
        )
    gpu = torch.cuda.get_device_properties(device) if wanted == "cuda" else None
    return {
        "machine": describe_machine(device, cores()),
        "available": torch.cuda.is_available(),
        "built_for_cuda": torch.version.cuda,
        "device": str(device),
        "capability": [gpu.major, gpu.minor] if gpu else None,
        "free_memory_gib": round(torch.cuda.mem_get_info(device)[0] / 2**30, 1) if gpu else None,
        "bfloat16_in_hardware": torch.cuda.is_bf16_supported(including_emulation=False) if gpu else None,
        "errors": errors,
    }


def _error(device: torch.device, kind: torch.dtype) -> float:
    """Return how far a convolution and a product on a device are from the processor's, as a share of the largest."""
    torch.manual_seed(0)
    frames, weights = torch.randn(2, 16, 32, 32), torch.randn(16, 16, 3, 3)

    def made(where: torch.device, kind: torch.dtype) -> torch.Tensor:
        features = torch.nn.functional.conv2d(frames.to(where, kind), weights.to(where, kind)).flatten(2)
        return (features @ features.mT).float().cpu()

    expected = made(torch.device("cpu"), torch.float32)
    return float((made(device, kind) - expected).abs().max() / expected.abs().max())


def main() -> None:
    """Write what was found, or say in one line what is wrong."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    args = arguments.parse_args()
    try:
        write_json(args.output, found(args.device))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
