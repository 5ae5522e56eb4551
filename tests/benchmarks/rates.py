"""Rates of the stages on this machine at full size: 480x856 frames, the settings of config.yaml as they are."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch

from vadistill.benchmark.timing import by_turns
from vadistill.datasets.demo.clips import render_clip
from vadistill.detection.yolo import Detector, quiet_ultralytics
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.io.detections import Detections
from vadistill.io.frames import FrameStore, write_frames
from vadistill.io.mp4 import write_mp4
from vadistill.maps.rasterize import map_pyramid
from vadistill.settings import DemoConfig, DetectionConfig, DistillationConfig, StudentConfig, section
from vadistill.student.distillation import Distiller
from vadistill.student.losses import reconstruction_loss
from vadistill.student.network import AutoEncoder, Student, scale_frames
from vadistill.student.pretraining import middle_frame
from vadistill.teachers.loader import objects_of_clip
from vadistill.teachers.registry import build
from vadistill.training.device import autocast
from vadistill.training.parallel import Draws
from vadistill.windows.loader import FrameWindows

HEIGHT, WIDTH, FRAMES, OBJECTS = 480, 856, 16, 8
CLASSES, SCENES, BATCH, RESOLUTIONS = 80, 13, 4, (1, 4, 16)
TEACHERS = ("background_agnostic", "multi_task")
Counted = dict[str, tuple[int, Callable[[], Any]]]
"""Tasks by name, each with the number of frames, samples or objects that it does."""


def processor_seconds() -> float:
    """Return the seconds of processors that this process and those that it started have taken."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(budget: float) -> dict[str, float]:
    """Return what one core does in a second of its own, by name, whatever else the machine does."""
    device = torch.device("cpu")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        film, path = Path(folder) / "film.mp4", Path(folder) / "clip.h5"
        settings = DemoConfig(height=HEIGHT, width=WIDTH, frames=FRAMES)
        write_mp4(film, (frame for frame, *_ in render_clip(settings, "train", "train_01")), 25)
        write_frames(path, "clip", "train", film)
        tasks = {"core_starts": (1, start), **reading(film, path), **around_detector(FrameStore(path))}
        tasks |= {**detection(device), **student(path, device)}
        for name in TEACHERS:
            tasks |= teacher(name, FrameStore(path), device)
        seconds = by_turns({name: task for name, (_, task) in tasks.items()}, budget, processor_seconds)
    return {name: count / float(np.median(seconds[name])) for name, (count, _) in tasks.items()}


def boxes() -> Detections:
    """Return objects anywhere, as many in every frame."""
    rng, count = np.random.default_rng(0), FRAMES * OBJECTS
    size = rng.uniform(15, 80, (count, 1)) * np.array([1, 2])
    corner = rng.uniform(0, 1, (count, 2)) * (np.array([WIDTH, HEIGHT]) - size)
    box = np.concatenate([corner, corner + size], 1).astype(np.float32)
    probabilities = np.full((count, CLASSES), 0.01, np.float16)
    frame = np.repeat(np.arange(FRAMES), OBJECTS)
    return Detections("clip", FRAMES, (HEIGHT, WIDTH), frame, box, np.ones(count, np.float32), probabilities)


def reading(film: Path, path: Path) -> Counted:
    """Return what one core does with frames and boxes."""
    network, objects = StudentConfig(), boxes()
    windows = FrameWindows([path], network.size, network.offsets)
    score = np.linspace(0, 1, len(objects))
    scored = ScoredObjects(FRAMES, (HEIGHT, WIDTH), objects.frame, objects.box, score)
    apart = [7 * t % FRAMES for t in range(FRAMES)]  # of which no two in a row share a frame
    return {
        "core_extract_frames": (FRAMES, lambda: write_frames(path.with_name("other.h5"), "clip", "train", film)),
        "core_student_samples": (FRAMES, lambda: [windows[t] for t in apart]),
        "core_build_maps": (len(objects), lambda: map_pyramid(scored, RESOLUTIONS)),
    }


def detection(device: torch.device) -> Counted:
    """Return the detector's network; its rate does not depend on its weights."""
    quiet_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    network = DetectionModel("yolov8n.yaml", nc=CLASSES, verbose=False).to(device).eval()
    images = torch.rand(BATCH, 3, 384, 640, device=device)
    return {"detect_objects": (BATCH, torch.inference_mode()(lambda: network(images)[0].cpu()))}


def around_detector(store: FrameStore) -> Counted:
    """Return what one core does before and after the detector's network: reading, resizing, suppression."""
    detector = object.__new__(Detector)  # without weights: its network is replaced by what it might say
    detector.settings, detector.device = DetectionConfig(), torch.device("cpu")
    detector.network = SimpleNamespace(format="pt")
    raw = torch.rand(BATCH, 4 + CLASSES, 84 * 60) * 300
    raw[:, 4:] = (torch.rand(BATCH, CLASSES, 84 * 60) > 0.9999) * 0.5  # 40 boxes a frame
    detector._raw = lambda images: raw

    def detect() -> None:
        frames = iter(store)
        while batch := list(islice(frames, BATCH)):
            detector(np.stack(batch))

    return {"core_around_detector": (FRAMES, detect)}


def start() -> None:
    """Start a job that does nothing."""
    command = [sys.executable, "-m", "vadistill.stages.make_synthetic_clip", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def student(path: Path, device: torch.device) -> Counted:
    """Return a step of each training of the student, and scoring."""
    settings = StudentConfig()
    windows = FrameWindows([path], settings.size, settings.offsets)
    frames = scale_frames(torch.stack([windows[t][0] for t in range(BATCH)]).to(device))
    autoencoder = AutoEncoder(settings).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(autoencoder.parameters())
    options = DistillationConfig()
    distiller = Distiller(settings, options, RESOLUTIONS, device)
    targets = {name: {g: torch.rand(BATCH, 1, g, g, device=device) for g in RESOLUTIONS} for name in options.teachers}
    scorer = Student(settings, RESOLUTIONS).to(device, memory_format=torch.channels_last).eval()
    generator = torch.Generator()

    def pretrain() -> None:
        with autocast(device, on_processors=True):
            made = autoencoder(frames)
        optimiser.zero_grad(set_to_none=True)
        reconstruction_loss(made, middle_frame(frames, made.shape[-2:])).backward()
        optimiser.step()
        next(autoencoder.parameters()).cpu()

    return {
        "pretrain_student": (BATCH, pretrain),
        "distill_student": (BATCH, lambda: distiller.step(frames, targets, generator, "")["train_loss"].cpu()),
        "score_frames": (BATCH, torch.inference_mode()(lambda: scorer(frames)[1].cpu())),
    }


def teacher(name: str, store: FrameStore, device: torch.device) -> Counted:
    """Return cutting of objects by one core, scoring of them and a step of every phase of the training."""
    made = build(name, section(name, {}), CLASSES, SCENES).to(device)
    objects, rng = boxes(), np.random.default_rng(0)

    def cut(request) -> list[dict[str, np.ndarray]]:
        return list(objects_of_clip(store, objects, request, 0, rng))

    parts = cut(made.training_crops())
    batch = {key: torch.from_numpy(np.concatenate([part[key] for part in parts])).to(device) for key in parts[0]}
    batch = {key: value[: made.settings.batch] for key, value in batch.items()}
    count, generator = len(batch["box"]), Draws(torch.Generator())
    made.prepare(batch)
    tasks: Counted = {
        f"core_draw_{name}": (len(objects), lambda: cut(made.training_crops())),
        f"core_cut_{name}": (len(objects), lambda: cut(made.scoring_crops())),
        f"score_{name}": (count, lambda: made.score(batch).cpu()),
    }
    for phase in made.phases():

        def step(phase=phase) -> None:
            with autocast(device, on_processors=True):
                loss = phase.loss(batch, generator)["loss"]
            phase.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            phase.optimiser.step()
            loss.cpu()

        phase.start()
        tasks[f"train_{name}_{phase.name}"] = (count, step)
    return tasks
