"""ShanghaiTech end to end, estimated from measured rates: hours on two cores, on one H100 and on four.

What is measured are the rates of ``benchmarks.rates`` on this machine, of one core, and ``ON_H100``. What is assumed
stands in ``ASSUMPTIONS``, and each row says which of it was used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.rates import OBJECTS, TEACHERS
from benchmarks.tree import TEST_FRAMES, TRAIN_CLIPS, TRAIN_FRAMES, train_names

from vadistill.datasets.splits import held_out_part
from vadistill.settings import (
    BackgroundAgnosticConfig,
    DistillationConfig,
    HeldOutConfig,
    MultiTaskConfig,
    PretrainingConfig,
    SyntheticConfig,
)

# A second on one H100: frames of the student's official layout, batch 32 in float32 (TF32) and bfloat16 and batch 8 in
# bfloat16 (docs/experiments/2026-11/speed.md), and objects that `multi_task` learned from.
ON_H100 = {"float32": 1856.0, "bfloat16": 3196.0, "bfloat16, batch 8": 1869.0, "train_multi_task_tasks": 590.0}
STEP = 3  # forward passes that a step of a training costs
SMALL_BATCH = ON_H100["bfloat16, batch 8"] / ON_H100["bfloat16"]  # what a GPU does of its best with a share of a batch
LOADERS = 8  # processes that read frames for one GPU, vadistill.training.device.loader_workers
JOBS = 1814  # of results/shanghaitech/auc.json; see benchmarks.scale
ASSUMPTIONS = {
    "objects": f"{OBJECTS} objects in a frame",
    "epochs": "every phase runs to its last epoch",
    "step": f"a step costs {STEP} forward passes, of which an H100 was measured",
    "ratio": "an H100 is as many times faster than one core here as it is in scoring by the student in float32",
    "shares": f"a GPU with a share of a batch does {SMALL_BATCH:.0%} of its best, as the student in batches of 8 does "
    "against 32; the sums over GPUs cost nothing",
    "cores": "rates of one core hold on other machines, and grow with the number of cores",
    "overlap": "beside a GPU, reading and network overlap whole, except in detect_objects; else their times add up",
    "gpus": "jobs of one GPU run side by side, as on Slurm; on one machine without it they take turns",
    "synthetic": "a frame of a synthetic clip costs what extracting one costs",
    "batch": "a step on 48 frames costs a frame as much as one on 4",
}


@dataclass(frozen=True)
class Machine:
    """A machine: its name for the table, its cores, and how many H100 it has."""

    name: str
    cores: int
    gpus: int = 0


MACHINES = Machine("two cores", 2), Machine("one H100, 16 cores", 16, 1), Machine("four H100, 32 cores", 32, 4)


@dataclass(frozen=True)
class Work:
    """What a stage does.

    Attributes:
        stage: Name of the rule.
        amount: Frames, samples or objects.
        core: Rate of one core in what is no network, if it does something of the kind.
        network: Rate of the network on one core, if there is one.
        h100: Rate of the network on one H100.
        processes: How many cores it uses at most beside one GPU.
        shared: Whether it is a training, whose batches several GPUs share.
        overlap: Whether cores and a GPU work at the same time.
        assumed: Keys of ``ASSUMPTIONS``.
    """

    stage: str
    amount: float
    core: float | None
    network: float | None = None
    h100: float = 0
    processes: int = 1_000
    shared: bool = False
    overlap: bool = True
    assumed: tuple[str, ...] = ()

    def hours(self, machine: Machine) -> tuple[float, str]:
        """Return how long it takes on a machine, and which part limits it."""
        parts, gpus = {}, machine.gpus if self.network else 0
        if self.core:
            # One core of each GPU is that of the process that trains or scores.
            cores = min(machine.cores - gpus, self.processes * gpus) if gpus else machine.cores
            parts["processors"] = self.amount / (self.core * cores)
        if self.network:
            best = SMALL_BATCH if self.shared and gpus > 1 else 1.0
            rate = self.h100 * best * gpus if gpus else self.network * machine.cores
            parts["network"] = self.amount / rate
        whole = max(parts.values()) if gpus and self.overlap else sum(parts.values())
        return whole / 3600, max(parts, key=parts.__getitem__)


def work(rates: dict[str, float]) -> list[Work]:
    """Return what ShanghaiTech needs with the settings of config.yaml, given the rates of one core here."""
    synthetic, share = SyntheticConfig(), HeldOutConfig().share
    fitted_clips = TRAIN_CLIPS - len(held_out_part({name: name[:2] for name in train_names()}, share))
    made = min(synthetic.clips, fitted_clips) * len(synthetic.kinds) * synthetic.frames
    frames = TRAIN_FRAMES + made + TEST_FRAMES
    samples = DistillationConfig().epochs * (TRAIN_FRAMES * fitted_clips / TRAIN_CLIPS + made)
    ratio = ON_H100["float32"] / rates["score_frames"]

    def by_ratio(stage: str, amount: float, core: float | None, rate: str, *assumed: str, **options: Any) -> Work:
        return Work(stage, amount, core, rates[rate], ratio * rates[rate], assumed=("ratio", *assumed), **options)

    def student(stage: str, amount: float, h100: float, *assumed: str, shared: bool = True) -> Work:
        core, network = rates["core_student_samples"], rates[stage]
        return Work(stage, amount, core, network, h100, LOADERS, shared, assumed=assumed)

    def training(name: str, phase: str, epochs: int, objects: int, core: float | None) -> Work:
        rate = f"train_{name}_{phase}"
        h100 = ON_H100.get(rate, ratio * rates[rate])
        assumed = ("epochs", "shares", *(() if rate in ON_H100 else ("ratio",)))
        stage = f"train_teacher, {name}, {phase}"
        return Work(stage, epochs * objects, core, rates[rate], h100, shared=True, assumed=assumed)

    agnostic, tasks = BackgroundAgnosticConfig(), MultiTaskConfig()
    phases = ("autoencoders", agnostic.autoencoder_epochs), ("adversarial", agnostic.adversarial_epochs)
    rows = [
        Work("starts of jobs", JOBS, rates["core_starts"]),
        Work("extract_frames", TRAIN_FRAMES + TEST_FRAMES, rates["core_extract_frames"]),
        by_ratio(
            "detect_objects",
            frames,
            rates["core_around_detector"],
            "detect_objects",
            "gpus",
            processes=1,
            overlap=False,
        ),
        Work("make_synthetic_clip", made, rates["core_extract_frames"], assumed=("synthetic",)),
        *(
            training("background_agnostic", phase, epochs, agnostic.max_objects, None)
            for phase, epochs in (*phases, ("classifiers", agnostic.classifier_epochs))
        ),
        # Only this one cuts its objects anew every epoch.
        training("multi_task", "tasks", tasks.epochs, tasks.max_objects, rates["core_draw_multi_task"]),
    ]
    for name in TEACHERS:
        stage, cut = f"score_objects, {name}", rates[f"core_cut_{name}"]
        rows.append(by_ratio(stage, frames * OBJECTS, cut, f"score_{name}", "objects", "gpus"))
    step = ON_H100["bfloat16"] / STEP
    return [
        *rows,
        Work("build_maps", frames * OBJECTS * len(TEACHERS), rates["core_build_maps"], assumed=("objects",)),
        student("pretrain_student", PretrainingConfig().epochs * TRAIN_FRAMES, step, "step", "shares", "batch"),
        student("distill_student", samples, step, "step", "shares", "batch"),
        student("score_frames", TEST_FRAMES, ON_H100["float32"], "gpus", shared=False),
    ]


def estimate(rows: Sequence[Work], on: Sequence[Machine] = MACHINES) -> list[dict[str, Any]]:
    """Return the hours of every stage on every machine, and of all."""
    table = []
    for row in rows:
        made: dict[str, Any] = {"stage": row.stage, "amount": round(row.amount)}
        for machine in on:
            hours, limit = row.hours(machine)
            made |= {f"hours, {machine.name}": hours, f"limit, {machine.name}": limit}
        table.append({**made, "assumed": " ".join(("cores", "overlap", *row.assumed))})
    total = {name: sum(line[name] for line in table) for name in (f"hours, {machine.name}" for machine in on)}
    return [*table, {"stage": "all", **total}]
