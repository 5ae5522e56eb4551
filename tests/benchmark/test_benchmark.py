import json
import math
import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from benchmarks import slow_half
from benchmarks.estimate import ASSUMPTIONS, MACHINES, ON_H100, SMALL_BATCH, Machine, Work, estimate, work
from benchmarks.scale import growth, jobs
from benchmarks.tree import shared_out, write_tree
from reference_backend import Reference
from stored_clips import numbered_clip
from students import detector_of
from torch.utils._python_dispatch import TorchDispatchMode
from trees import write_avi
from wasteful_backend import Wasteful

from vadistill.benchmark import machine_peak, speed
from vadistill.benchmark.benchmark import FilmRun, Racer, benchmark, nothing_compiled
from vadistill.benchmark.costs import cost_of, write_untrained
from vadistill.benchmark.machine_peak import Peak, describe_machine, measure_peak
from vadistill.benchmark.memory import peak_memory
from vadistill.benchmark.timing import LEAST, MOST, Spread, by_turns
from vadistill.datasets.registry import read_clips
from vadistill.errors import InputError
from vadistill.frame_level.registry import read_detector
from vadistill.io.frames import FrameStore
from vadistill.io.media.video import frames_of
from vadistill.settings import DemoConfig, StudentConfig
from vadistill.student.network import Student

SMALL = StudentConfig(height=32, width=48, base_width=2, downsamplings=2, depth=1, heads=1, head_width=4)
SIDES = (1, 4)


@pytest.fixture
def model(tmp_path):
    write_untrained(tmp_path / "small.pt", SMALL, SIDES)
    return tmp_path / "small.pt"


@pytest.fixture
def film(tmp_path):
    write_avi(tmp_path / "film.avi", [np.full((40, 60, 3), 10 * t, np.uint8) for t in range(21)])
    return tmp_path / "film.avi"


class Clock:
    """A clock that only tasks move."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def task(self, name, *durations):
        """A task that takes these seconds, one after the other, then the last one for ever."""
        left = list(durations)

        def run():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run

    def __call__(self):
        return self.now


def test_tasks_take_turns_and_are_timed_after_a_warm_up():
    clock = Clock()
    tasks = {"a": clock.task("a", 50, 1, 2, 3, 4, 5), "b": clock.task("b", 70, 10)}
    seconds = by_turns(tasks, 0.0, clock)
    assert clock.calls == ["a", "b"] * (1 + LEAST)
    assert seconds["a"].tolist() == [1, 2, 3, 4, 5] and seconds["b"].tolist() == [10] * LEAST


def test_the_budget_bounds_the_rounds():
    clock = Clock()
    seconds = by_turns({"a": clock.task("a", 1), "b": clock.task("b", 3)}, 30.0, clock)
    # 60 seconds for both: 15 rounds of 4, behind a warm-up of 2 rounds, the first that reach 6 seconds.
    assert len(seconds["a"]) == len(seconds["b"]) == 15 and len(clock.calls) == 2 * (15 + 2)
    assert len(by_turns({"a": clock.task("a", 1e-3)}, 10.0, clock)["a"]) == MOST


def test_nothing_is_compiled_while_it_is_timed():
    doubled = torch.compile(lambda values: 2 * values, backend="eager", dynamic=False)
    seen, sizes = [], iter((3, 3, 3, 4, 3, 3, 3, 3))
    timed = partial(by_turns, clock=Clock(), during=nothing_compiled)
    assert len(timed({"a": lambda: doubled(torch.ones(3))}, 0.0)["a"]) == LEAST
    with pytest.raises(InputError, match="a compiled backend meets a new size of batch while it is timed"):
        timed({"a": lambda: seen.append(doubled(torch.ones(next(sizes))))}, 0.0)
    assert len(seen) == 3
    with pytest.raises(RuntimeError, match="of its own"), nothing_compiled():
        raise RuntimeError("an error of its own")
    assert len(doubled(torch.ones(5))) == 5, "afterwards it may"
    torch._dynamo.reset()


def test_a_backend_on_processors_has_no_share_of_a_gpu(model, film):
    racers = {name: Racer(partial(Reference, model), cost_of(detector_of(SMALL, SIDES))) for name in ("a-fp32",)}
    options = {"batches": (1,), "budget": 0.0, "memory": lambda load, batches: [1] * len(batches)}
    for device, known in (("cpu", True), ("cuda", False)):
        rows = benchmark(racers, film, Peak({"fp32": 1e9}, 1e9, device), "a-fp32", "a-fp32", **options)
        assert all((row["share_of_product"] is not None) == known for row in rows)
        assert all((row["share_of_copy"] is not None) == known for row in rows)


def test_median_and_quartiles():
    assert Spread.of(np.array([4.0, 1.0, 2.0, 3.0, 100.0])) == Spread(3.0, 2.0, 4.0)


def test_cost_of_the_official_layout():
    cost = cost_of(detector_of(StudentConfig()))
    assert cost.parameters == 4_997_747
    assert round(cost.products / 1e9, 2) == 7.05


class Moved(TorchDispatchMode):
    """Counts what convolutions and linear layers read and write, below torch's modules."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        place = {torch.ops.aten.convolution.default: 0, torch.ops.aten.addmm.default: 1}.get(func)
        if place is not None:
            self.values += args[place].numel() + made.numel()
        return made


def test_traffic_against_the_operations_themselves():
    settings = StudentConfig(height=33, width=50, base_width=2, depth=2, heads=2, head_width=4)
    student = Student(settings, (1, 4, 16)).eval()
    with torch.no_grad(), Moved() as moved:
        student(torch.randn(1, 9, 33, 50))
    padding = 9 * (39 * 56 - 33 * 50)  # the stem mirrors the borders before its convolution
    assert cost_of(detector_of(settings)).values == moved.values - padding


def test_an_untrained_student_loads_like_a_trained_one(tmp_path):
    state = torch.random.get_rng_state()
    write_untrained(tmp_path / "a.pt", SMALL, SIDES)
    write_untrained(tmp_path / "b.pt", SMALL, SIDES, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    (detector, one), (_, other) = (read_detector(tmp_path / f"{name}.pt") for name in "ab")
    assert detector.layout == SMALL and detector.resolutions == SIDES
    first = "backbone.encoder.stem.conv.weight"
    assert one.keys() == other.keys() and not torch.equal(one[first], other[first])


def test_every_part_scores_what_it_says(model, film):
    loaded, asked = [], []

    def load():
        loaded.append(Reference(model))
        return loaded[-1]

    def timed(tasks, budget):
        for task in tasks.values():
            task()
            asked.append(loaded[0].seen[:])
            loaded[0].seen.clear()
        return {name: np.array([1.0, 2.0, 4.0]) / 10 for name in tasks}

    racers = {"reference-fp32": Racer(load, cost_of(detector_of(SMALL, SIDES)))}
    peak = Peak({"fp32": 1e9}, 1e9)
    rows = benchmark(
        racers,
        film,
        peak,
        "reference-fp32",
        "reference-fp32",
        (1, 8, 64),
        film_frames=20,
        memory=lambda _, batches: [0] * len(batches),
        timed=timed,
    )
    # Of a film a second's work is scored, here of 5 and 40 frames, or two batches; it has 21 frames.
    assert asked == [[1], [1], [1] * 5, [8], [8], [8, 8], [64], [64], [21]]
    assert [(row["part"], row["batch"]) for row in rows] == [
        (part, batch) for batch in (1, 8, 64) for part in ("network", "frames", "film")
    ]
    frames = {row["part"]: row["frames_per_second"] / 5 for row in rows if row["batch"] == 8}
    assert frames == {"network": 8, "frames": 8, "film": 16}
    assert {row["limited_by"] for row in rows if row["part"] == "film"} <= {"decoding", "resizing", "inference"}


def test_ratios_are_of_runs_of_the_same_round(model, film):
    # The second half of the run has company: twice as slow, all of them alike.
    seconds = {"official-fp32": [8, 8, 8, 16, 16], "eager-fp32": [4, 4, 4, 8, 8], "fast-bf16": [1, 1, 1, 2, 4]}
    cost = cost_of(detector_of(SMALL, SIDES))
    racers = {name: Racer(partial(Reference, model), cost) for name in seconds}

    def timed(tasks, budget):
        return {name: (task(), np.array(seconds[name], float))[1] for name, task in tasks.items()}

    rows = benchmark(
        racers,
        film,
        Peak({"fp32": 100.0 * cost.products, "bf16": 400.0 * cost.products}, 50.0 * cost.values),
        "official-fp32",
        "eager-fp32",
        (10,),
        memory=lambda *_: [5 << 20],
        timed=timed,
    )
    assert len(rows) == 3 * 3 and len({tuple(row) for row in rows}) == 1
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    official, eager, fast = rows[:3]
    assert [row["times_official"] for row in rows[:3]] == [1, 2, 8]
    assert (fast["times_official_low"], fast["times_official_high"]) == (8, 8)
    assert (fast["times_own_eager"], eager["times_own_eager"], official["times_own_eager"]) == (4, 1, 0.5)
    assert (fast["frames_per_second"], fast["frames_per_second_low"], fast["frames_per_second_high"]) == (10, 5, 10)
    assert fast["runs"] == 5 and fast["peak_memory_mib"] == 5
    assert math.isclose(eager["share_of_product"], 10 / 4 / 100) and math.isclose(fast["share_of_product"], 10 / 400)
    assert math.isclose(eager["share_of_copy"], 4 * 10 / 4 / 50) and math.isclose(fast["share_of_copy"], 2 * 10 / 50)


def test_a_film_is_left_when_enough_is_scored(model, film):
    backend = Reference(model)
    FilmRun(backend, film, batch=4, batches=2)()
    assert backend.seen == [4, 4]


def test_peak_memory_is_that_of_a_process_of_its_own():
    mine = np.ones(500_000_000, np.uint8)  # not counted
    one, three = (peak / 1e6 for peak in peak_memory(partial(Wasteful, 100_000_000, 50_000_000), (1, 3)))
    assert 150 < one < 250 and 90 < three - one < 110 and len(mine)


def test_a_process_that_is_ended_is_no_hang():
    with pytest.raises(InputError, match=r"ended with status 9 and nothing measured; .* batches of 1, 2 frames"):
        peak_memory(partial(os._exit, 9), (1, 2))


def test_peaks_on_a_known_clock(monkeypatch):
    monkeypatch.setattr(machine_peak, "SIDE", {"cpu": 32})
    monkeypatch.setattr(machine_peak, "COPIED", {"cpu": 1 << 10})
    ran = []

    def timed(tasks, budget):
        ran.extend(task() for task in tasks.values())
        return {"bf16": np.array([3.0, 1.0]), "fp32": np.array([2.0, 4.0]), "copy": np.array([0.5, 0.25])}

    monkeypatch.setattr(machine_peak, "by_turns", timed)
    peak = measure_peak(torch.device("cpu"), {"fp32", "bf16"})
    assert peak == Peak({"bf16": 32**3, "fp32": 32**3 / 2}, 2 * 1024 / 0.25)
    assert {made.dtype for made in ran} == {torch.bfloat16, torch.float32, torch.uint8}


def test_the_machine_is_described():
    made = describe_machine(torch.device("cpu"), 2)
    assert json.loads(json.dumps(made)) == made
    assert made["gpu"] is None and made["threads"] == 2 and torch.__version__.startswith(made["versions"]["torch"])


def test_a_tree_of_any_size(tmp_path):
    assert write_tree(tmp_path, train=(14, 30), test=(2, 5)) == 35
    clips = read_clips("shanghaitech", tmp_path)
    assert [clip.split for clip in clips].count("train") == 14 and len(clips) == 16
    assert [clip.name for clip in clips][:3] == ["01_001", "01_002", "02_001"]
    test = [clip for clip in clips if clip.split == "test"]
    assert [len(list(clip.source.iterdir())) for clip in test] == [3, 2]
    assert [np.load(clip.labels.frames).shape for clip in test] == [(3,), (2,)]
    assert shared_out(11, 4) == [3, 3, 3, 2]


def test_jobs_and_memory_of_a_dry_run():
    said = """Job stats:
job       count
------  -------
one           2

[Sat Nov 21 18:54:30 2026]
rule one:
    input: a
    resources: tmpdir=/tmp, mem_mb=1000, mem=1 GB, mem_mib=954
[Sat Nov 21 18:54:30 2026]
rule two:
    output: c
    resources: tmpdir=/tmp
[Sat Nov 21 18:54:31 2026]
rule one:
    input: b
    resources: tmpdir=/tmp, mem_mb=3000, mem=3 GB, mem_mib=2861
Job stats:
"""
    assert jobs(said) == [
        {"rule": "one", "jobs": 2, "mem_mb": 3000},
        {"rule": "two", "jobs": 1, "mem_mb": 0},
        {"rule": "all", "jobs": 3, "mem_mb": 3000},
    ]


def test_growth_measures_every_stage_and_leaves_nothing(tmp_path):
    rows = growth(tmp_path, (20, 40), clip_frames=20)
    assert [(row["frames"], row["clips"]) for row in rows[::4]] == [(20, 1), (40, 2)]
    assert [row["stage"] for row in rows[:4]] == ["store frames", "store object scores", "build_maps", "score_frames"]
    assert all(row["bytes_per_frame"] > 100 and row["microseconds_per_frame"] > 0 for row in rows)
    assert {path.name for path in tmp_path.iterdir()} == {"student.pt", "calibration.json"}


def test_a_record_weighs_the_stage_against_its_parts(monkeypatch):
    seconds = {"path": [1.0, 1.25, 2.0], "network": [0.5] * 3, "reading": [0.25] * 3, "other": [9.0] * 3}
    monkeypatch.setattr(slow_half, "by_turns", lambda tasks, *_: {name: np.array(seconds[name]) for name in tasks})
    tasks = dict.fromkeys(seconds, lambda: None)
    made = slow_half.record("stage", "things", 10, tasks, ("network", "reading"), 1.0)
    assert made["per_second"] == 8
    # Of a second's work on the same cores a half and a quarter are needed; beside a GPU the half is.
    assert made["parts_allow"] == pytest.approx(10 / (0.5 if torch.cuda.is_available() else 0.75))
    assert made["share"] == made["per_second"] / made["parts_allow"]
    assert json.loads(made["others"]) == {"network": 20, "reading": 40, "other": 1.1}


def test_reads_are_counted_a_frame(tmp_path):
    store = numbered_clip(tmp_path, frames=4)
    read = FrameStore.read
    assert slow_half.reads_per_frame(lambda: [store.read(t) for t in (0, 1, 1, 3, 3, 3)]) == 2
    assert FrameStore.read is read


def test_waits_for_batches_are_noted():
    waiting = slow_half.Waiting([1, 2, 3])
    assert list(waiting) == [1, 2, 3] and len(waiting.waited) == 4 and min(waiting.waited) >= 0


def test_hours_of_a_stage():
    two, one, four = Machine("two", 2), Machine("one", 10, gpus=1), Machine("four", 24, gpus=4)
    stage = Work("a", 7200, core=1.0, network=2.0, h100=100.0, processes=8)
    assert stage.hours(two) == (7200 / 2 / 3600 + 7200 / 4 / 3600, "processors")
    assert stage.hours(one) == (7200 / 8 / 3600, "processors")  # not all ten cores, and the network meanwhile
    assert stage.hours(four) == (7200 / 20 / 3600, "processors")  # all but those of the four that train
    slow = replace(stage, h100=1.0)
    assert slow.hours(one) == (2, "network") and slow.hours(four) == (2 / 4, "network")
    assert replace(slow, shared=True).hours(four) == (pytest.approx(2 / 4 / SMALL_BATCH), "network")
    assert replace(slow, shared=True).hours(one) == (2, "network"), "the whole batch"
    alone = replace(slow, processes=1, overlap=False)
    assert alone.hours(one) == (pytest.approx(2 + 2), "processors")
    assert Work("a", 7200, core=1.0).hours(four) == (7200 / 24 / 3600, "processors")
    assert Work("a", 7200, core=None, network=1.0).hours(two) == (1, "network")


def test_the_estimate_of_all_stages():
    names = ("starts", "extract_frames", "around_detector", "student_samples", "build_maps", "draw_multi_task")
    rates = [f"core_{name}" for name in names]
    rates += ["detect_objects", "pretrain_student", "distill_student", "score_frames", "train_multi_task_tasks"]
    rates += [
        f"{part}_{teacher}" for part in ("core_cut", "score") for teacher in ("background_agnostic", "multi_task")
    ]
    rates += [f"train_background_agnostic_{phase}" for phase in ("autoencoders", "adversarial", "classifiers")]
    rows = work({**dict.fromkeys(rates, 1000.0), "score_frames": ON_H100["float32"] / 5})
    stages = {row.stage: row for row in rows}
    amounts = {row.stage: row.amount for row in rows}
    # Of 330 clips of 13 scenes 52 are held out, four a scene; of each other one there are four kinds of 100 frames.
    assert amounts["make_synthetic_clip"] == 278 * 400 and amounts["extract_frames"] == 315_306
    assert amounts["pretrain_student"] == 35 * 274_515 and amounts["train_teacher, multi_task, tasks"] == 30 * 20_000
    assert stages["detect_objects"].h100 == pytest.approx(5000), "as many times faster as the student's scoring"
    assert stages["train_teacher, multi_task, tasks"].h100 == 590, "measured"
    assert stages["pretrain_student"].h100 == pytest.approx(3196 / 3)
    table = estimate(rows)
    assert len(table) == len(rows) + 1 and all(set(row["assumed"].split()) <= set(ASSUMPTIONS) for row in table[:-1])
    for machine in MACHINES:
        hours = [row[f"hours, {machine.name}"] for row in table]
        assert hours[-1] == pytest.approx(sum(hours[:-1]))
    assert {name for row in table[:-1] for name in row["assumed"].split()} == set(ASSUMPTIONS)


def test_speed_of_a_student_and_the_baselines(model, film, monkeypatch):
    monkeypatch.setattr(speed, "write_untrained", lambda path: write_untrained(path, SMALL, SIDES))
    monkeypatch.setattr(speed, "benchmark", partial(benchmark, memory=lambda _, batches: [0] * len(batches)))
    monkeypatch.setattr(speed, "measure_peak", lambda device, precisions: Peak(dict.fromkeys(precisions, 1e9), 1e9))
    names = ("eager-fp32", "torch-fp32", "openvino-fp32")
    made = speed.measure_speed(model, film, names, (2,), 0.0)
    json.dumps(made, allow_nan=False)
    assert set(made) == {"machine", "peak", "students", "left_out", "table"}
    raced = ["official-eager-fp32", "eager-fp32", "torch-fp32", "openvino-fp32"]
    assert [row["backend"] for row in made["table"]] == raced * 3 and not made["left_out"]
    with pytest.raises(InputError, match="backend 'eager': unknown; expected some of eager-fp32, "):
        speed.measure_speed(model, film, ("eager",))


def test_a_backend_that_cannot_be_had_is_left_out(film, monkeypatch):
    def load(name, model, **options):
        if name == "torch-fp32":
            raise InputError("no such thing here")
        return Reference(model)

    monkeypatch.setattr(speed, "write_untrained", lambda path: write_untrained(path, SMALL, SIDES))
    monkeypatch.setattr(speed, "load_backend", load)
    monkeypatch.setattr(speed, "measure_peak", lambda device, precisions: Peak(dict.fromkeys(precisions, 1e9), 1e9))
    monkeypatch.setattr(speed, "benchmark", lambda racers, *_, **options: list(racers))
    made = speed.measure_speed(None, film, ("eager-fp32", "torch-fp32", "torch-bf16"))
    assert made["table"] == ["official-eager-fp32", "torch-bf16"]
    assert made["left_out"] == {"torch-fp32": "no such thing here"}


def test_the_film_repeats_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "DRAWN", DemoConfig(height=64, width=96, frames=8))
    speed.write_film(tmp_path / "film.mp4", 20)
    frames = list(frames_of(tmp_path / "film.mp4"))
    assert len(frames) == 20 and frames[0].shape == (64, 96, 3)
    near, far = (np.abs(frames[0].astype(int) - frames[t]).mean() for t in (8, 4))
    assert near < far
