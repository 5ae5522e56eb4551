"""ShanghaiTech end to end, estimated from measured rates: hours on two cores, one H200 and a cluster.

What is measured are the rates of ``benchmarks.rates`` on this machine. What is assumed stands in ``ASSUMPTIONS``, and
each row says which of it was used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.rates import OBJECTS, TEACHERS
from benchmarks.tree import TEST_CLIPS, TEST_FRAMES, TRAIN_CLIPS, TRAIN_FRAMES, train_names

from vadistill.datasets.splits import held_out_part
from vadistill.settings import (
    BackgroundAgnosticConfig,
    DistillationConfig,
    HeldOutConfig,
    MultiTaskConfig,
    PretrainingConfig,
    SyntheticConfig,
)

H200_BF16 = 990e12  # dense bfloat16 operations a second, published
GPU_SHARE = 0.2  # of the ratio of the peaks that is left for networks as small as these
LOADERS = 8  # processes that read frames for one student, vadistill.training.device.loader_workers
SHARDS, JOBS = 16, 1814  # of results/shanghaitech/auc.json; see benchmarks.scale
ASSUMPTIONS = {
    "objects": f"{OBJECTS} objects in a frame",
    "epochs": "every phase runs to its last epoch",
    "gpu": f"an H200 is as many times faster than the machine measured as its published peak in bfloat16, "
    f"{H200_BF16 / 1e12:.0f} TFLOP/s, exceeds the matrix product measured here, times {GPU_SHARE}; no GPU was measured",
    "cores": "rates of one core hold on other machines, and grow with the number of cores",
    "overlap": "beside a GPU, reading and network overlap whole, except in detect_objects; else their times add up",
    "synthetic": "a frame of a synthetic clip costs what extracting one costs",
    "batch": "a step on 48 frames costs a frame as much as one on 4",
}


@dataclass(frozen=True)
class Machine:
    """One node, or several equal ones.

    Attributes:
        name: For the table.
        cores: Of a node.
        gpu: How many times faster its GPU is than the networks that were measured; 0 for a node without one.
        nodes: How many there are.
    """

    name: str
    cores: int
    gpu: float = 0
    nodes: int = 1


@dataclass(frozen=True)
class Work:
    """What a stage does.

    Attributes:
        stage: Name of the rule.
        amount: Frames, samples or objects.
        core: Rate of one core, if it does something.
        network: Rate of the network on the measured machine, if there is one.
        jobs: How many can run side by side on different nodes.
        processes: How many cores of a node it uses at most.
        overlap: Whether cores and a GPU work at the same time.
        assumed: Keys of ``ASSUMPTIONS``.
    """

    stage: str
    amount: float
    core: float | None
    network: float | None
    jobs: int
    processes: int = 1_000
    overlap: bool = True
    assumed: tuple[str, ...] = ()

    def hours(self, machine: Machine) -> tuple[float, str]:
        """Return how long it takes on a machine, and which part limits it."""
        share = self.amount / min(machine.nodes, self.jobs)
        parts = {}
        if self.core:
            parts["processors"] = share / (self.core * min(machine.cores, self.processes))
        if self.network:
            parts["network"] = share / (self.network * (machine.gpu or 1))
        whole = max(parts.values()) if machine.gpu and self.overlap else sum(parts.values())
        return whole / 3600, max(parts, key=parts.__getitem__)


def machines(product: float) -> tuple[Machine, ...]:
    """Return the machines, given the multiply-accumulates a second of the bfloat16 product measured here."""
    gpu = GPU_SHARE * H200_BF16 / (2 * product)
    return Machine("two cores", 2), Machine("one H200, 16 cores", 16, gpu), Machine("8 H200 nodes", 16, gpu, 8)


def work(rates: dict[str, float]) -> list[Work]:
    """Return what ShanghaiTech needs with the settings of config.yaml."""
    synthetic, share = SyntheticConfig(), HeldOutConfig().share
    fitted_clips = TRAIN_CLIPS - len(held_out_part({name: name[:2] for name in train_names()}, share))
    made = min(synthetic.clips, fitted_clips) * len(synthetic.kinds) * synthetic.frames
    frames, clips = TRAIN_FRAMES + made + TEST_FRAMES, TRAIN_CLIPS + TEST_CLIPS
    samples = DistillationConfig().epochs * (TRAIN_FRAMES * fitted_clips / TRAIN_CLIPS + made)
    student, around = rates["core_student_samples"], rates["core_around_detector"]
    rows = [
        Work("starts of jobs", JOBS, rates["core_starts"], None, JOBS),
        Work("extract_frames", TRAIN_FRAMES + TEST_FRAMES, rates["core_extract_frames"], None, clips),
        Work("detect_objects", frames, around, rates["detect_objects"], SHARDS, 1, False, ("gpu",)),
        Work("make_synthetic_clip", made, rates["core_extract_frames"], None, made, assumed=("synthetic",)),
    ]
    for name in TEACHERS:
        rows += _training(name, rates)
        cut, score = rates[f"core_cut_{name}"], rates[f"score_{name}"]
        rows.append(Work(f"score_objects, {name}", frames * OBJECTS, cut, score, SHARDS, assumed=("objects", "gpu")))
    maps = frames * OBJECTS * len(TEACHERS)
    rows += [
        Work("build_maps", maps, rates["core_build_maps"], None, SHARDS, assumed=("objects",)),
        _epochs("pretrain_student", PretrainingConfig().epochs * TRAIN_FRAMES, student, rates["pretrain_student"]),
        _epochs("distill_student", samples, student, rates["distill_student"]),
        Work("score_frames", TEST_FRAMES, student, rates["score_frames"], 1, LOADERS, assumed=("gpu",)),
    ]
    return rows


def _epochs(stage: str, samples: float, core: float, network: float) -> Work:
    return Work(stage, samples, core, network, 1, LOADERS, assumed=("gpu", "batch"))


def _training(name: str, rates: dict[str, float]) -> list[Work]:
    """Return the phases of a teacher's training; only ``multi_task`` cuts its objects anew every epoch."""
    if name == "multi_task":
        settings, cut = MultiTaskConfig(), rates[f"core_draw_{name}"]
        phases = {"tasks": settings.epochs}
    else:
        settings, cut = BackgroundAgnosticConfig(), None
        phases = {
            "autoencoders": settings.autoencoder_epochs,
            "adversarial": settings.adversarial_epochs,
            "classifiers": settings.classifier_epochs,
        }
    return [
        Work(f"train_teacher, {name}, {phase}", epochs * settings.max_objects, cut, rates[f"train_{name}_{phase}"], 1,
             assumed=("epochs", "gpu"))
        for phase, epochs in phases.items()
    ]  # fmt: skip


def estimate(rows: Sequence[Work], on: Sequence[Machine]) -> list[dict[str, Any]]:
    """Return the hours of every stage on every machine, and of all: on several nodes, branches run side by side."""
    table = []
    for row in rows:
        made = {"stage": row.stage, "amount": round(row.amount)}
        for machine in on:
            hours, limit = row.hours(machine)
            made |= {f"hours, {machine.name}": hours, f"limit, {machine.name}": limit}
        table.append({**made, "assumed": " ".join(("cores", "overlap", *row.assumed))})
    total = {}
    for machine in on:
        hours = {line["stage"]: line[f"hours, {machine.name}"] for line in table}
        total[f"hours, {machine.name}"] = longest_path(hours) if machine.nodes > 1 else sum(hours.values())
    return [*table, {"stage": "all", **total}]


def longest_path(hours: dict[str, float]) -> float:
    """Return how long all takes where teachers learn side by side, and the student is pre-trained meanwhile."""

    def of(*names: str) -> float:
        return sum(value for stage, value in hours.items() if stage.startswith(names))

    teachers = max(sum(value for stage, value in hours.items() if f", {name}" in stage) for name in TEACHERS)
    maps = of("detect_objects", "make_synthetic_clip", "build_maps") + teachers
    return of("starts", "extract_frames", "distill_student", "score_frames") + max(maps, of("pretrain_student"))
