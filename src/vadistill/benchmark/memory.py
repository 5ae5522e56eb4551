"""The memory of a process that scores frames."""

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from vadistill.errors import InputError
from vadistill.inference.backend import Backend
from vadistill.windows.shape import window_shape


def random_windows(backend: Backend, count: int) -> np.ndarray:
    """Return noise in the form of a backend's input, (count, C, H, W) uint8."""
    shape = (count, *window_shape(backend.size, backend.offsets, backend.flow))
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def peak_memory(load: Callable[[], Backend], batches: Sequence[int]) -> list[int]:
    """Return the most bytes that a new process needs to load a backend and to score batches of each size with it.

    On a GPU that is what torch took there, else the resident set of the process, its libraries included.

    Args:
        load: Returns the backend; it must be known by name to another process.
        batches: Frames of a batch, ascending: a peak is also that of all smaller ones.

    Raises:
        InputError: The process was ended, for example for want of memory.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_peaks, args=(sender, load, batches))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()  # its status is known only then
        raise InputError(
            f"memory of a backend: its process ended with status {process.exitcode} and nothing measured; expected "
            f"memory for batches of {', '.join(map(str, batches))} frames"
        ) from None
    finally:
        process.join()


def _send_peaks(sender: Connection, load: Callable[[], Backend], batches: Sequence[int]) -> None:
    backend, peaks = load(), []
    for batch in batches:
        frames = random_windows(backend, batch)
        for _ in range(3):
            backend(frames)
        peaks.append(_peak())
    sender.send(peaks)


def _peak() -> int:
    torch = sys.modules.get("torch")  # a backend may do without
    if torch and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    # Unlike ru_maxrss, this one begins anew with the program.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
