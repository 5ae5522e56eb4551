"""One training step of the student, its total loss, and one discriminator per teacher (arXiv 2211.15597, eq 3 to 7)."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from vadistill.settings import DistillationConfig, StudentConfig
from vadistill.student.discriminator import Discriminator
from vadistill.student.losses import adversarial_loss, discriminator_loss, distillation_loss, map_statistics
from vadistill.student.network import AnomalyMaps, Student
from vadistill.training.device import autocast, in_layout
from vadistill.training.meters import FiniteLosses
from vadistill.training.parallel import averaging, whole_batch_norms
from vadistill.training.run import Stateful
from vadistill.training.schedule import set_rate, stepped, warmed_cosine


class Distiller:
    """The student, its discriminators and their optimisers.

    With ``adversarial_weight`` 0 there are no discriminators; with ``average`` 0 there is no average of the weights.

    Attributes:
        finite: Checks the losses; asked once more behind the last step of an epoch (``check``).
    """

    def __init__(
        self,
        network: StudentConfig,
        settings: DistillationConfig,
        resolutions: tuple[int, ...],
        device: torch.device,
    ) -> None:
        self.settings, self.device, self.finite = settings, device, FiniteLosses(device)
        self.student = whole_batch_norms(in_layout(Student(network, resolutions).to(device), torch.channels_last))
        named = settings.teachers if settings.adversarial_weight else ()
        self.discriminators = {name: Discriminator(resolutions).to(device) for name in named}
        self.optimiser = self._adam(self.student)
        self.discriminator_optimisers = {name: self._adam(network) for name, network in self.discriminators.items()}
        self._average = copy.deepcopy(self.student) if settings.average else None

    def _adam(self, network: torch.nn.Module) -> torch.optim.Adam:
        settings = self.settings
        made = torch.optim.Adam(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        averaging(made)
        return made

    @torch.no_grad()
    def _update_average(self, average: Student) -> None:
        steps = float(next(iter(self.optimiser.state.values()))["step"])
        # Early on the average is short, so that the first weights are soon forgotten.
        decay = min(self.settings.average, (1 + steps) / (10 + steps))
        both = [list(network.state_dict().values()) for network in (average, self.student)]
        averages, values = ([value for value in part if value.is_floating_point()] for part in both)
        torch._foreach_lerp_(averages, values, 1 - decay)
        for mean, current in zip(*both, strict=True):
            if not mean.is_floating_point():
                mean.copy_(current)

    @property
    def result(self) -> Student:
        """The student as it is kept: the moving average of its weights where one is asked for."""
        return self._average or self.student

    def load_backbone(self, autoencoder: Mapping[str, Tensor]) -> None:
        """Start from the ``state_dict`` of a pre-trained auto-encoder; errors as in ``Student.load_backbone``."""
        self.student.load_backbone(autoencoder)
        if self._average:
            self._average.load_state_dict(self.student.state_dict())

    def parts(self) -> dict[str, Stateful]:
        """Return everything that a resumed training needs."""
        parts: dict[str, Stateful] = {"student": self.student, "optimiser": self.optimiser}
        if self._average:
            parts["average"] = self._average
        for name, network in self.discriminators.items():
            parts[f"discriminator_{name}"] = network
            parts[f"discriminator_optimiser_{name}"] = self.discriminator_optimisers[name]
        return parts

    def set_progress(self, epoch: int, done: float) -> None:
        """Set the student's learning rate, given the epoch from 0 and the share of it that is done."""
        settings = self.settings
        if settings.schedule == "step":
            factor = stepped(epoch, settings.decay_every, settings.decay)
        else:
            factor = warmed_cosine((epoch + done) / settings.epochs)
        set_rate(self.optimiser, settings.learning_rate * factor)

    def step(
        self,
        frames: Tensor,
        targets: dict[str, AnomalyMaps],
        generator: torch.Generator,
        context: str,
    ) -> dict[str, Tensor]:
        """Take one step of the student, then one of each discriminator.

        Args:
            frames: (N, C, H, W) scaled windows.
            targets: Each teacher's maps {g: (N, 1, g, g)}.
            generator: For the noise on the discriminators' real maps.
            context: Epoch and batch, for the error when a loss is not finite.

        Returns:
            Detached scalars to be logged.

        Raises:
            InputError: A loss is not finite, this one or, on a GPU, one of a step before.
        """
        settings = self.settings
        self.student.train()
        with autocast(self.device, on_processors=True, precision=settings.precision):
            maps = self.student(frames)
        distilled, log = distillation_loss(maps, targets, settings.object_weight)
        adversarial_term = torch.zeros((), device=self.device)
        for network in self.discriminators.values():
            adversarial_term = adversarial_term + adversarial_loss(network, maps)
        loss = distilled + settings.adversarial_weight * adversarial_term
        self.optimiser.zero_grad(set_to_none=True)
        self.finite(loss, context).backward()
        self.optimiser.step()
        if self._average:
            self._update_average(self._average)
        log |= {"train_loss": loss.detach(), "distillation_loss": distilled.detach(), **map_statistics(maps, targets)}
        for name, network in self.discriminators.items():
            loss, judged = discriminator_loss(network, targets[name], maps, generator)
            self.discriminator_optimisers[name].zero_grad(set_to_none=True)
            self.finite(loss, f"discriminator of {name}, {context}").backward()
            self.discriminator_optimisers[name].step()
            log |= {f"discriminator_{key}_{name}": value for key, value in judged.items()}
        if self.discriminators:
            log["adversarial_loss"] = adversarial_term.detach()
        return log
