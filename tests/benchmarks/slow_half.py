"""The slow half of the pipeline: what each stage does a second, and what its parts would allow.

On processors the parts share the cores, so that their times add up; beside a GPU they overlap, and the slowest counts.
"""

import json
import logging
import shutil
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.output import save

from vadistill.benchmark.timing import Spread, by_turns
from vadistill.detection.objects import index_objects, read_objects
from vadistill.detection.yolo import Detector
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.io import maps, object_scores
from vadistill.io.frames import FrameStore, frame_stores
from vadistill.io.hdf5 import attribute, writing
from vadistill.io.maps import MapStore
from vadistill.maps.calibration import Calibrator, map_values
from vadistill.maps.rasterize import map_pyramid
from vadistill.processors import cores
from vadistill.settings import DetectionConfig, section
from vadistill.stages import build_maps
from vadistill.stages.detect_objects import detected
from vadistill.stages.score_objects import BATCH
from vadistill.student import training as student_training
from vadistill.student.distillation import Distiller
from vadistill.student.network import scale_frames
from vadistill.student.scoring import windows_of
from vadistill.teachers.loader import TrainingObjects, batches_of_clips, hold_out
from vadistill.teachers.registry import build
from vadistill.teachers.training import train_one_epoch
from vadistill.training.checkpoint import load_model
from vadistill.training.device import loader_workers, pick_device
from vadistill.windows.loader import loader

log = logging.getLogger(__name__)
CLIPS, CLIP_FRAMES, BOXES = 40, 700, 8  # of the generated shard that maps are built of
FRAMES, OBJECTS = 48, 512  # of each clip and for training: enough for a rate
Task = Callable[[], Any]


def record(
    what: str,
    unit: str,
    count: int,
    tasks: dict[str, Task],
    parts: tuple[str, ...],
    budget: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict:
    """Time tasks by turns and return one record.

    Args:
        what: Name of the record.
        unit: What is counted.
        count: How many of them each task does.
        tasks: The first one is the stage's own way, the others are parts of it or alternatives.
        parts: The tasks that, together, the stage cannot do without.
        budget: Seconds for each task.
        clock: Gives these seconds.
    """
    rates = {name: Spread.of(count / seconds) for name, seconds in by_turns(tasks, budget, clock).items()}
    (_, path), *_ = rates.items()
    needed = [1 / rates[name].median for name in parts]
    allowed = 1 / (max(needed) if torch.cuda.is_available() else sum(needed))
    log.warning("%s: %.1f %s/s", what, path.median, unit)
    shown = {name: round(rate.median, 1) for name, rate in list(rates.items())[1:]}
    return {"what": what, "unit": unit, "per_second": path.median, "low": path.low, "high": path.high,
            "parts_allow": allowed, "share": path.median / allowed, "others": json.dumps(shown)}  # fmt: skip


def detection(results: Path, weights: Path, device: torch.device, budget: float) -> Iterator[dict]:
    """Yield the detector's way against its bare network on the same tensors, for torch and OpenVINO weights."""
    settings = json.loads(attribute(next((results / "detections/test").glob("*.h5")), "settings"))
    settings = section("detection", settings["detection"])
    store = FrameStore(sorted((results / "frames/test").glob("*.h5"))[0])
    with tempfile.TemporaryDirectory() as folder:
        for name, path in {"torch": weights, "openvino": openvino_weights(weights, settings, Path(folder))}.items():
            yield detection_record(f"detect_objects, {name}", Detector(path, settings, device), store, budget)


def openvino_weights(weights: Path, settings: DetectionConfig, folder: Path) -> Path:
    """Return the detector as an OpenVINO folder."""
    from ultralytics import YOLO

    copied = shutil.copy(weights, folder)
    return Path(YOLO(copied).export(format="openvino", dynamic=True, imgsz=settings.image_size, verbose=False))


def detection_record(what: str, detector: Detector, store: FrameStore, budget: float) -> dict:
    """Return the record of one detector in processor seconds: the stage reads in a thread beside the network."""
    batch = detector.settings.batch
    frames = list(islice(store, FRAMES))
    size = store.height, store.width
    letterbox = detector.letterbox(*size, batch)
    seen = [letterbox(frames[start : start + batch]).clone() for start in range(0, len(frames), batch)]
    tasks = {
        "path": lambda: detected(islice(store, FRAMES), size, detector),
        "network": lambda: [detector.raw(images) for images in seen],
        "boxes": lambda: [detector.boxes(detector.raw(images), letterbox, *size) for images in seen],
        "reading": lambda: list(islice(store, FRAMES)),
    }
    return record(what, "frames", len(frames), tasks, ("network",), budget, time.process_time)


def scoring(results: Path, name: str, device: torch.device, budget: float) -> tuple[dict, float]:
    """Return the record of scoring objects, and how often a frame is read."""
    model = load_model(results / "teachers" / name / "model.pt", name)
    teacher = build(name, section(name, json.loads(model["settings"])), len(model["classes"]), len(model["scenes"]))
    teacher.load_state_dict(model["weights"])
    teacher.to(device).eval()
    scored = next((results / "object_scores" / name / "test").glob("*.h5"))
    objects = section("objects", json.loads(attribute(scored, "settings"))["objects"])
    files = [results / "detections/test" / scored.name]
    clips = [clip.take(clip.frame < FRAMES) for clip in islice(read_objects(files, objects), cores())]
    stores = frame_stores([results / f"frames/test/{clip.clip}.h5" for clip in clips])

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        read = batches_of_clips(stores, clips, teacher.scoring_crops(), model["scenes"], BATCH, cores())
        return (batch for _, batch in read if batch is not None)

    def score(batch: dict[str, torch.Tensor]) -> None:
        teacher.score({key: value.to(device) for key, value in batch.items()}).cpu()

    reads = reads_per_frame(lambda: list(batches()))
    held = list(batches())
    tasks = {
        "path": lambda: [score(batch) for batch in batches()],
        "network": lambda: [score(batch) for batch in held],
        "reading": lambda: list(batches()),
    }
    made = record(f"score_objects, {name}", "objects", sum(map(len, clips)), tasks, ("network", "reading"), budget)
    return made, reads


def reads_per_frame(task: Task) -> float:
    """Return how often a task reads each of the frames that it needs."""
    plain, read = FrameStore.read, []
    FrameStore.read = lambda store, t: (read.append((store.clip, t)), plain(store, t))[1]
    try:
        task()
    finally:
        FrameStore.read = plain
    return len(read) / len(set(read))


def training(results: Path, name: str, device: torch.device, budget: float) -> Iterator[dict]:
    """Yield a record for each phase of a teacher's training: the epochs, with the next sample read meanwhile."""
    model = load_model(results / "teachers" / name / "model.pt", name)
    settings = replace(section(name, json.loads(model["settings"])), max_objects=OBJECTS)
    scored = next((results / "object_scores" / name / "test").glob("*.h5"))
    objects = section("objects", json.loads(attribute(scored, "settings"))["objects"])
    teacher = build(name, settings, len(model["classes"]), len(model["scenes"])).to(device)
    clips = index_objects(sorted((results / "detections/train").glob("*.h5")), objects)
    stores = frame_stores(sorted((results / "frames/train").glob("*.h5")))
    parts, _ = hold_out(clips, 0.15)
    drawn = TrainingObjects(
        stores, parts, objects, model["scenes"], teacher.training_crops(), OBJECTS, (0,), threads=cores()
    )
    with closing(drawn) as samples:
        sample = samples.sample(0)
        count = len(sample["box"])
        teacher.prepare(sample)
        for phase in teacher.phases():
            generator = torch.Generator().manual_seed(0)

            def learn(phase=phase, generator=generator) -> None:
                train_one_epoch(teacher, phase, sample, settings.batch, generator, device)

            def path(learn=learn) -> None:
                if teacher.redraw:
                    samples.read_ahead(1)
                learn()
                if teacher.redraw:
                    samples.sample(1)

            phase.start()
            tasks = {"path": path, "network": learn, "reading": lambda: samples.sample(1)}
            needed = ("network", "reading") if teacher.redraw else ("network",)
            yield record(f"train_teacher, {name}, {phase.name}", "objects", count, tasks, needed, budget)


def map_building(results: Path, budget: float) -> dict:
    """Return the record of building maps from a shard of generated boxes, with the parts that it consists of."""
    scored = next((results / "object_scores/background_agnostic/test").glob("*.h5"))
    calibration = results / "teachers/background_agnostic/calibration.json"
    calibrator = Calibrator.from_json(json.loads(calibration.read_text())["score"])
    resolutions = (1, 4, 16)
    with tempfile.TemporaryDirectory() as folder:
        shard, made = Path(folder) / "shard.h5", Path(folder) / "maps.h5"
        write_shard(shard, scored)
        clips = list(object_scores.read_shards([shard]))
        columns = object_scores.columns_of(shard, calibrator.terms)
        values = [map_values(calibrator(clip.terms[:, columns], clip.scene, clip.row)) for clip in clips]

        def rasterise() -> list[dict[int, np.ndarray]]:
            return [
                map_pyramid(ScoredObjects(clip.frames, clip.size, clip.frame, clip.box, value), resolutions)
                for clip, value in zip(clips, values, strict=True)
            ]

        grids = rasterise()

        def write() -> None:
            with writing(made) as file:
                for clip, grid in zip(clips, grids, strict=True):
                    maps.write_clip(file, clip.clip, grid)

        settings = {"version": 1, "maps": {"resolutions": resolutions}}
        stage = Namespace(settings=settings, scores=[shard], calibration=calibration, output=made)
        tasks = {
            "path": lambda: build_maps.main(stage),
            "reading": lambda: list(object_scores.read_shards([shard])),
            "calibrating": lambda: [calibrator(clip.terms[:, columns], clip.scene, clip.row) for clip in clips],
            "rasterising": rasterise,
            "writing": write,
        }
        return record("build_maps, one core", "boxes", sum(map(len, values)), tasks, tuple(tasks)[1:], budget)


def write_shard(path: Path, like: Path) -> None:
    """Write object scores with boxes anywhere in frames of ShanghaiTech's size, and terms drawn from another file."""
    rng, (height, width), count = np.random.default_rng(0), (480, 856), CLIP_FRAMES * BOXES
    known = list(object_scores.read_shards([like]))
    terms = np.concatenate([clip.terms for clip in known])
    with writing(path) as file:
        for name in ("teacher", "terms", "counted", "probabilities", "model_settings", "settings", "detector"):
            file.attrs[name] = attribute(like, name)
        for number in range(CLIPS):
            size = rng.uniform(15, 80, (count, 1)) * np.array([1, 2])
            corner = rng.uniform(0, 1, (count, 2)) * (np.array([width, height]) - size)
            frame = np.repeat(np.arange(CLIP_FRAMES), BOXES)
            fields = (f"clip{number}", CLIP_FRAMES, (height, width), known[0].scene, frame)
            box, drawn = np.concatenate([corner, corner + size], 1), terms[rng.integers(0, len(terms), count)]
            object_scores.write_clip(file, object_scores.ObjectScores(*fields, box, drawn))


class Waiting:
    """Batches of a loader, with the seconds for which they are waited for; the first one starts the workers."""

    def __init__(self, batches) -> None:
        self.batches, self.waited = batches, []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator:
        batches = iter(self.batches)
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.waited.append(time.perf_counter() - started)
            if batch is None:
                return
            yield batch


def student_loader(results: Path, device: torch.device, budget: float) -> tuple[dict, float]:
    """Return the record of an epoch of distillation, and the share of its time in which the network was busy."""
    used = json.loads(load_model(results / "student/student.pt", "student")["settings"])
    network, settings = section("student", used["student"]), section("distillation", used["distillation"])
    settings, resolutions = replace(settings, frame_stride=8), section("maps", used["maps"]).resolutions
    stores = {name: MapStore(sorted((results / "maps" / name / "train").glob("*.h5"))) for name in settings.teachers}
    windows = windows_of(sorted((results / "frames/train").glob("*.h5")), network, maps=stores, resolutions=resolutions)
    distiller = Distiller(network, settings, resolutions, device)
    generator = torch.Generator()
    order = windows.epoch_order(0, settings.frame_stride, generator)
    held = list(loader(windows, order, settings.batch, loader_workers()))
    shares = []

    def network_alone() -> None:
        for frames, targets, *_ in held:
            moved = {name: {g: grid.to(device) for g, grid in made.items()} for name, made in targets.items()}
            distiller.step(scale_frames(frames.to(device)), moved, generator, "benchmark")

    def path() -> None:
        kept: list[Waiting] = []
        student_training.loader = lambda *arguments: kept.append(Waiting(loader(*arguments))) or kept[0]
        started = time.perf_counter()
        student_training.train_epoch(distiller, windows, 0, generator)
        first, *waited = kept[0].waited
        shares.append(1 - sum(waited) / (time.perf_counter() - started - first))
        student_training.loader = loader

    tasks = {
        "path": path,
        "network": network_alone,
        "loader": lambda: list(loader(windows, order, settings.batch, loader_workers())),
    }
    made = record("distill_student", "samples", len(order), tasks, ("network", "loader"), budget)
    return made, float(np.median(shares))


def main(output: Path, results: Path, weights: Path, budget: float) -> None:
    """Measure all of it on the finished results of the demo."""
    logging.disable(logging.INFO)  # of the stages
    device = pick_device()
    torch.manual_seed(0)
    rows = list(detection(results, weights, device, budget))
    for name in sorted(path.name for path in (results / "teachers").iterdir()):
        made, reads = scoring(results, name, device, budget)
        rows += [{**made, "reads_per_frame": reads}, *training(results, name, device, budget)]
    rows.append(map_building(results, budget))
    made, busy = student_loader(results, device, budget)
    rows.append({**made, "network_busy": busy})
    save(output, "slow_half", {"stages": rows})
