"""Training that survives being killed: rolling state, metrics, early stopping. It knows no model."""

import copy
import json
import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from vadistill.errors import InputError
from vadistill.io.files import whole_file
from vadistill.training.checkpoint import load_checked, save, state_of
from vadistill.training.deadline import UNTIL, deadline, too_late
from vadistill.training.parallel import processes, rank

log = logging.getLogger(__name__)
SHOWN = ("train_loss", "held_out_loss", "validation_auc")  # in the log; all metrics are in the metrics file


class Stateful(Protocol):
    """A module, optimiser or anything else that can be saved and restored."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Take the state back."""


class EarlyStopping:
    """Keeps the best weights of a model by a held-out loss, and says when to stop."""

    def __init__(self, model: torch.nn.Module, patience: int) -> None:
        self.model, self.patience = model, patience
        self.best, self.since, self.weights = math.inf, 0, copy.deepcopy(model.state_dict())

    def update(self, loss: float) -> None:
        """Take note of an epoch's held-out loss."""
        if loss < self.best:
            self.best, self.since, self.weights = loss, 0, copy.deepcopy(self.model.state_dict())
        else:
            self.since += 1

    @property
    def stop(self) -> bool:
        """Whether the loss has not fallen for ``patience`` epochs."""
        return self.since >= self.patience

    def restore(self) -> None:
        """Put the best weights back."""
        self.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"best": self.best, "since": self.since, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back."""
        self.best, self.since, self.weights = state["best"], state["since"], state["weights"]


@dataclass(frozen=True)
class TrainingPhase:
    """One phase of a training: the same steps, epoch after epoch.

    Attributes:
        name: In the log and in the metrics.
        epochs: At most so many.
        parts: What a resumed training needs: networks, optimisers and the like.
        train_epoch: Takes the steps of an epoch, given its number from 0 and its generator; returns its metrics.
        early: Told of each epoch's held-out loss by ``train_epoch``; ends the phase sooner, with the best weights.
    """

    name: str
    epochs: int
    parts: dict[str, Stateful]
    train_epoch: Callable[[int, torch.Generator], dict[str, float]]
    early: EarlyStopping | None = None


class TrainingRun:
    """The rolling state of one training, beside the model that it will write.

    The state file is stamped: a state of other settings or other data is ignored. It is not an output of the rule, so
    that neither a crash nor a retry removes it. Whoever reads the model does (``drop_state``): by then the workflow has
    taken note of it and will not ask for it again. ``metrics.jsonl`` holds one record an epoch. Of processes that train
    together the first one writes the files, and all read the state.

    Args:
        output: The model file to be written at the end.
        stamp: What the training depends on, for example its settings and inputs.
        seed: Each epoch draws from a generator of its own, seeded by this, the phase and the epoch.

    Where ``VADISTILL_TRAIN_UNTIL`` is set, a phase ends before an epoch that would not be over by then; each phase has
    at least one epoch.

    Attributes:
        records: The metrics of every finished epoch.
        shortened: A line for each phase that ended for want of time, to be told with the results.
    """

    def __init__(self, output: Path, stamp: str, seed: int) -> None:
        self.output, self.stamp, self.seed = output, stamp, seed
        self.state_path = state_of(output)
        self.metrics_path = output.with_name(f"{output.stem}.metrics.jsonl")
        self._saved = self._load()
        # In the state and not read back from their file, which an orphan of a killed workflow may write, too.
        self.records: list[dict[str, Any]] = self._saved["records"] if self._saved else []
        self.shortened: list[str] = self._saved.get("shortened", []) if self._saved else []
        self._until = deadline(processes())
        self._write_records()
        self._phase = -1

    def epochs(
        self, phase: str, total: int, parts: dict[str, Stateful], early: EarlyStopping | None = None
    ) -> Iterator[tuple[int, torch.Generator]]:
        """Yield the epochs of a phase that are still to be done, each with its generator.

        An epoch counts as done when the caller asks for the next one. ``parts`` (and ``early``) are restored from the
        saved state first; with ``early`` the phase may end sooner, and ends with the best weights.

        Raises:
            InputError: A weight is not finite after an epoch: its last step was one too far.
        """
        parts = {**parts, "early_stopping": early} if early else parts
        self._phase += 1
        start, ended = 0, False
        if self._saved and self._saved["phase"] >= self._phase:
            if self._saved["phase"] > self._phase:
                return
            for name, part in parts.items():
                part.load_state_dict(self._saved["parts"][name])
            start, ended = self._saved["epoch"] + 1, self._saved["ended"]
            log.info("%s: resumed after epoch %d of %d", phase, start, total)
        if ended:
            return
        epoch, seconds = start - 1, 0.0
        for epoch in range(start, total):
            if early and early.stop:
                break
            if epoch and too_late(self._until, seconds):
                self._shorten(f"{phase} ended after epoch {epoch} of {total}: there was no time for more ({UNTIL})")
                break
            started = time.monotonic()
            yield epoch, self._generator(epoch)
            seconds = time.monotonic() - started
            _check_weights(parts, f"{phase}, epoch {epoch + 1}")
            self._save(epoch, parts, ended=False)
            log.info("%s %d/%d %s", phase, epoch + 1, total, self._line(seconds, total - epoch - 1))
        if early:
            early.restore()
        self._save(epoch, parts, ended=True)

    def fit(self, phases: Iterable[TrainingPhase]) -> None:
        """Train phase after phase: this is how everything is trained. A phase is made when the one before has ended.

        Raises:
            InputError: A loss or a weight is not finite.
        """
        for phase in phases:
            for epoch, generator in self.epochs(phase.name, phase.epochs, phase.parts, phase.early):
                self.record(phase.name, epoch, phase.train_epoch(epoch, generator))

    def record(self, phase: str, epoch: int, metrics: dict[str, float]) -> None:
        """Append an epoch's metrics; all of them must be finite.

        Raises:
            InputError: A loss is not finite.
        """
        bad = [key for key, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise InputError(f"{phase}, epoch {epoch + 1}: {', '.join(bad)} is not finite; lower the learning rate")
        self._last = metrics
        self.records.append({"phase": phase, "phase_index": self._phase, "epoch": epoch, **metrics})
        self._write_records()

    def finish(self, content: dict[str, Any]) -> None:
        """Write the model, and of what was shortened, if anything was."""
        if rank() == 0:
            save(content | ({"shortened": self.shortened} if self.shortened else {}), self.output)

    def _generator(self, epoch: int) -> torch.Generator:
        seed = int(np.random.SeedSequence([self.seed, self._phase, epoch]).generate_state(1)[0])
        own = (seed + rank()) % 2**32  # what a network drops is of each process's own, what is drawn of a batch of all
        torch.manual_seed(own)
        np.random.seed(own)
        random.seed(own)
        return torch.Generator().manual_seed(seed)

    def _shorten(self, line: str) -> None:
        log.warning("%s", line)
        self.shortened.append(line)

    def _line(self, seconds: float, left: int) -> str:
        shown = [key for key in self._last if key in SHOWN or key.endswith("_per_second")]
        values = ", ".join(f"{key.replace('_', ' ')} {self._last[key]:.4g}" for key in shown)
        return f"{values} | {seconds:.1f} s an epoch, {left * seconds / 60:.1f} min left"

    def _save(self, epoch: int, parts: dict[str, Stateful], ended: bool) -> None:
        states = {name: part.state_dict() for name, part in parts.items()}
        content = {"stamp": self.stamp, "phase": self._phase, "epoch": epoch, "ended": ended, "parts": states}
        content |= {"records": self.records, "shortened": self.shortened}
        if rank() == 0:
            save(content, self.state_path)

    def _load(self) -> dict[str, Any] | None:
        if not self.state_path.is_file():
            return None
        try:
            saved = load_checked(self.state_path)
            stamp = saved["stamp"]
        except Exception:  # a damaged state costs its epochs, nothing else
            log.warning("%s: unreadable, training starts anew", self.state_path)
            return None
        if stamp != self.stamp or "records" not in saved:
            log.info("%s: of other settings, data or version, training starts anew", self.state_path)
            return None
        return saved

    def _write_records(self) -> None:
        if rank():
            return
        with whole_file(self.metrics_path) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in self.records), encoding="utf-8")


def _check_weights(parts: dict[str, Stateful], where: str) -> None:
    for part in parts.values():
        for name, weight in part.named_parameters() if isinstance(part, torch.nn.Module) else ():
            if not weight.isfinite().all():
                raise InputError(f"{where}: the weights {name} are not finite; lower the learning rate")
