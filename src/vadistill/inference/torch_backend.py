"""Backends of torch, on the GPU where there is one; compiled ones were run on processors only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vadistill.errors import InputError
from vadistill.frame_level.registry import load_network
from vadistill.inference.backend import BatchScores
from vadistill.inference.description import Description

Run = Callable[[Tensor], tuple[Tensor, ...]]

MOST_ON_A_GPU = 64  # frames of one captured graph
# Compiled forms of the network's code, which all backends of a process share: sizes of pieces times such backends.
# With torch's own limit of 8, a ninth would run eagerly, under the name of a compiled one.
MOST_GRAPHS = 128
CAPTURES = 2  # runs of a size on a GPU behind its compilation: one to warm up, one that records its graph


class TorchBackend:
    """A scoring network in torch; ``vadistill.inference.backend.Backend`` has the other attributes.

    Attributes:
        run: The network alone: uint8 windows (N, C, H, W) on ``device`` to scores and maps there.
        device: Where it runs.
    """

    def __init__(
        self, name: str, run: Run, description: Description, device: torch.device, threads: int, piece: int | None
    ) -> None:
        self.name, self.run, self.device = name, run, device
        self.size, self.offsets, self.resolutions = description.size, description.offsets, description.resolutions
        self.flow, self.conditions, self.detector = description.flow, description.conditions, description.detector
        self._description, self._threads, self._piece = description, threads, piece

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> BatchScores:
        """Score windows of frames; see ``Backend``."""
        batch = torch.from_numpy(self._description.checked(frames))
        pieces = batch.split(self._piece or max(len(batch), 1)) if len(batch) else ()
        with _threads(self._threads):
            return self._description.scores([self._score(piece) for piece in pieces])

    def _score(self, frames: Tensor) -> list[np.ndarray]:
        return [made.cpu().numpy() for made in self.run(frames.to(self.device))]


def eager(name: str, model: Path, threads: int, dtype: torch.dtype) -> TorchBackend:
    """Return the baseline: the student as it is trained and scored, the whole batch at once."""
    device = _device()
    detector, network = load_network(model, device)
    return TorchBackend(name, network, Description.of(detector), device, threads, piece=None)


def folded(name: str, model: Path, threads: int, dtype: torch.dtype, graph: bool = False) -> TorchBackend:
    """Return the student with folded batch norms, its weights and features in ``dtype``.

    Raises:
        InputError: float16 is asked for without a GPU: processors emulate it, slower than float32.
    """
    device = _device()
    if dtype == torch.float16 and device.type == "cpu":
        raise InputError(f"backend '{name}': there is no GPU; expected one for float16")
    detector, network = load_network(model, device, streamlined=dtype, graph=graph)
    description = Description.of(detector)
    piece = description.piece if device.type == "cpu" else MOST_ON_A_GPU
    return TorchBackend(name, network, description, device, threads, piece)


def compiled(name: str, model: Path, threads: int, dtype: torch.dtype) -> TorchBackend:
    """Return what ``folded`` returns, through ``torch.compile``; on a GPU as CUDA graphs.

    The first piece of frames is compiled here, which takes a minute; one of another power of two when it first comes.
    What cannot be compiled whole is an error, and never run eagerly.

    Raises:
        InputError: torch finds no compiler, or the network is no graph.
    """
    backend = folded(name, model, threads, dtype, graph=True)
    # Freezing lets it repack the weights once; CUDA graphs take the launches of small kernels away.
    mode = {"options": {"freezing": True}} if backend.device.type == "cpu" else {"mode": "reduce-overhead"}
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_GRAPHS)
    run = torch.compile(backend.run, dynamic=False, fullgraph=True, **mode)
    backend.run = _in_powers_of_two(run, 0 if backend.device.type == "cpu" else CAPTURES)
    try:
        backend(np.zeros((backend._piece or 1, *backend._description.window), np.uint8))
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"backend '{name}': not compiled ({reason}); expected a C++ compiler or Triton") from error
    return backend


def _in_powers_of_two(run: Run, captures: int = 0) -> Run:
    """Pad batches to powers of two, so that few shapes are compiled; a new one is run so many times more at first."""
    known: set[int] = set()

    def padded(frames: Tensor) -> tuple[Tensor, ...]:
        size = 1 << (len(frames) - 1).bit_length()
        whole = functional.pad(frames, (0, 0, 0, 0, 0, 0, 0, size - len(frames)))
        for _ in range(0 if size in known else captures):
            run(whole)
        known.add(size)
        return tuple(part[: len(frames)] for part in run(whole))

    return padded


def _device() -> torch.device:
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Have torch use so many threads; its number is the process's, so it is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
