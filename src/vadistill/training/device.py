"""What of this machine may be used: processors and the GPU."""

import os
from typing import TypeVar

import torch

from vadistill.errors import InputError
from vadistill.processors import cores
from vadistill.training.driver import gpu_driver
from vadistill.training.parallel import join, processes

Network = TypeVar("Network", bound=torch.nn.Module)


def loader_workers() -> int:
    """Return how many processes read frames: all processors but those that train, at most 8."""
    return max(1, min(cores() // processes() - 1, 8))


def pick_device(fixed_shapes: bool = False) -> torch.device:
    """Return the GPU where there is one (CUDA_VISIBLE_DEVICES is respected), else the CPU, with its threads set.

    float32 is float32 on it: by torch's defaults, convolutions would be TF32 there. Where several processes train
    together (``parallel``), each has a GPU of its own.

    Args:
        fixed_shapes: Nearly all batches are of one shape, so that it pays to time the algorithms of each convolution
            once, on a GPU, unless torch was asked for deterministic ones.

    Raises:
        InputError: There is a GPU, and CUDA does not come up: everything would go on on the CPU, for days. Or there
            are fewer GPUs than processes.
    """
    torch.set_num_threads(max(1, cores() // processes()))
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if torch.cuda.is_available():
        here = int(os.environ.get("LOCAL_WORLD_SIZE", processes()))
        if here > (there := torch.cuda.device_count()):
            raise InputError(f"{here} processes are to train on a GPU each, found {there}; expected gpus: {there}")
        device = torch.device("cuda", join("nccl"))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = fixed_shapes and not torch.are_deterministic_algorithms_enabled()
        return device
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    if torch.version.cuda and not hidden and (driver := gpu_driver()):
        raise InputError(
            f"there is a GPU, and CUDA does not come up (torch {torch.__version__} for CUDA {torch.version.cuda}, "
            f"driver {driver}); expected a driver for this CUDA, or CUDA_VISIBLE_DEVICES= to go on on the processors"
        )
    join("gloo")
    return torch.device("cpu")


def moved(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return values of the processor on a device; to a GPU they are copied while the processor goes on."""
    # Only from memory that the system cannot move away is a copy made beside other work.
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def in_layout(network: Network, layout: torch.memory_format) -> Network:
    """Return the network with its weights in a memory layout, as ``torch.channels_last``: convolutions are faster."""
    return network.to(memory_format=layout)  # type: ignore[call-overload]  # torch's own types leave it out


def autocast(device: torch.device, on_processors: bool = False, precision: str = "auto") -> torch.autocast:
    """Return the context of a forward pass: bfloat16 on a GPU that computes in it, float32 elsewhere.

    Args:
        device: Where it runs.
        on_processors: bfloat16 also on processors that compute in it.
        precision: ``float32`` turns bfloat16 off.
    """
    # torch has no public name for this question; where the private one is gone, processors compute in float32.
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)  # older ones emulate it, slower than float32
    else:
        fast = on_processors and native()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast and precision == "auto")
