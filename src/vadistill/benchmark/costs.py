"""What a student costs: multiply-accumulates and traffic of a frame."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vadistill.frame_level.base import NetworkDetector
from vadistill.settings import StudentConfig, canonical
from vadistill.student.network import Student
from vadistill.training.checkpoint import save


@dataclass(frozen=True)
class Cost:
    """Cost of one frame.

    Attributes:
        parameters: Of the student.
        products: Multiply-accumulates of convolutions, linear layers and attention.
        values: Numbers that convolutions and linear layers read and write, if nothing stays in a cache.
    """

    parameters: int
    products: int
    values: int


def cost_of(detector: NetworkDetector) -> Cost:
    """Count what the network of a detector costs; nothing is computed."""
    values = 0

    def count(_: nn.Module, given: tuple[torch.Tensor], made: torch.Tensor) -> None:
        nonlocal values
        values += given[0].numel() + made.numel()

    with torch.device("meta"):
        network = detector.build().eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(count)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, *detector.window_shape, dtype=torch.uint8))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, counter.get_total_flops() // 2, values)


def write_untrained(
    path: Path, settings: StudentConfig | None = None, resolutions: tuple[int, ...] = (1, 4, 16), seed: int = 0
) -> None:
    """Write a student with random weights as if it had been distilled; the official layout unless told otherwise."""
    settings = settings or StudentConfig()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = Student(settings, resolutions).state_dict()
    used = canonical({"student": asdict(settings), "maps": {"resolutions": resolutions}})
    save({"kind": "student", "settings": used, "weights": weights}, path)
