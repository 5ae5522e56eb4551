"""One step of adversarial distillation (arXiv 2211.15597, eq 3 to 7): the student and a discriminator a teacher."""

import torch
from torch import Tensor

from vadistill.averages import finite
from vadistill.losses import adversarial_loss, discriminator_loss, distillation_loss, map_statistics
from vadistill.machine import autocast
from vadistill.models.discriminator import Discriminator
from vadistill.models.student import Maps, Student
from vadistill.settings import Distillation
from vadistill.settings import Student as StudentSettings
from vadistill.training import Stateful


class Distiller:
    """The student, its discriminators and their optimisers.

    With ``adversarial_weight`` 0 there are no discriminators.
    """

    def __init__(
        self, network: StudentSettings, settings: Distillation, resolutions: tuple[int, ...], device: torch.device
    ) -> None:
        self.settings, self.device = settings, device
        self.student = Student(network, resolutions).to(device, memory_format=torch.channels_last)
        self.optimiser = self._adam(self.student)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimiser, settings.decay_every, settings.decay)
        named = settings.teachers if settings.adversarial_weight else ()
        self.discriminators = {name: Discriminator(resolutions).to(device) for name in named}
        self.discriminator_optimisers = {name: self._adam(network) for name, network in self.discriminators.items()}

    def _adam(self, network: torch.nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(
            network.parameters(), self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )

    def parts(self) -> dict[str, Stateful]:
        """Return everything that a resumed training needs."""
        parts = {"student": self.student, "optimiser": self.optimiser, "schedule": self.schedule}
        for name, network in self.discriminators.items():
            parts[f"discriminator_{name}"] = network
            parts[f"discriminator_optimiser_{name}"] = self.discriminator_optimisers[name]
        return parts

    def step(
        self, frames: Tensor, targets: dict[str, Maps], generator: torch.Generator, where: str
    ) -> dict[str, Tensor]:
        """Take one step of the student, then one of each discriminator.

        Args:
            frames: (N, 9, H, W) scaled frames.
            targets: Each teacher's maps {g: (N, 1, g, g)}.
            generator: For the noise on the discriminators' real maps.
            where: Epoch and batch, for the error when a loss is not finite.

        Returns:
            Detached scalars to be logged.

        Raises:
            InputError: A loss is not finite.
        """
        self.student.train()
        with autocast(self.device):
            maps = self.student(frames)
        distilled, log = distillation_loss(maps, targets)
        fooling = sum((adversarial_loss(net, maps) for net in self.discriminators.values()), torch.zeros(()))
        loss = distilled + self.settings.adversarial_weight * fooling
        self.optimiser.zero_grad(set_to_none=True)
        finite(loss, where).backward()
        self.optimiser.step()
        log |= {"train_loss": loss.detach(), "distillation_loss": distilled.detach(), **map_statistics(maps, targets)}
        for name, network in self.discriminators.items():
            loss, judged = discriminator_loss(network, targets[name], maps, generator)
            self.discriminator_optimisers[name].zero_grad(set_to_none=True)
            finite(loss, f"discriminator of {name}, {where}").backward()
            self.discriminator_optimisers[name].step()
            log |= {f"discriminator_{key}_{name}": value for key, value in judged.items()}
        if self.discriminators:
            log["adversarial_loss"] = fooling.detach()
        return log
