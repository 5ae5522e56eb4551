"""Train all that learns by batches on made clips for a few steps: alone, or in several processes by torchrun."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from stored_clips import store_of

from vadistill.io import detections, maps
from vadistill.io.hdf5 import writing
from vadistill.sdmae import network
from vadistill.stages import distill_student, pretrain_student, train_detector, train_teacher

NETWORK = {"height": 32, "width": 48, "base_width": 2, "downsamplings": 2, "depth": 1, "heads": 1, "head_width": 4}
COMMON = {"epochs": 2, "batch": 4, "frame_run": 2, "precision": "float32", "weight_decay": 0.0}
DISTILLATION = {"teachers": ["one", "two"], "object_weight": 4.0, "pretrained": False, **COMMON}
SDMAE = {
    **{"height": 32, "width": 48, "patch": 8, "encoder_width": 16, "encoder_depth": 1, "decoder_width": 8},
    **{"decoder_depth": 2, "heads": 2, "second_epochs": 1, "synthetic_share": 0.0, **COMMON},
}
TEACHER = {"crop": 32, "batch": 8, "max_objects": 60}
PHASES = {"autoencoder_epochs": 2, "adversarial_epochs": 1, "classifier_epochs": 2}
TASKS = {"width": "narrow", "depth": "shallow", "imagenet": False, "epochs": 2, "jitter": 0.1}
TEACHERS = {
    "reversal": ("background_agnostic", {**TEACHER, **PHASES, "motion_anomalies": ["longer_gap", "affine", "rotated"]}),
    "ascent": ("background_agnostic", {**TEACHER, **PHASES, "adversarial": "ascent", "appearance": "colour"}),
    "tasks": ("multi_task", {**TEACHER, **TASKS}),
}


def make_data(folder: Path) -> None:
    """Store two clips of 9 and 7 frames and the maps of two teachers, and three clips of 12 frames with objects."""
    rng = np.random.default_rng(0)
    lengths = {"a": 9, "b": 7}
    for clip, length in lengths.items():
        store_of(folder, clip, rng.integers(0, 256, (length, 32, 48, 3), dtype=np.uint8))
    for teacher in ("one", "two"):
        with writing(folder / f"{teacher}.h5") as file:
            file.attrs["teacher"] = teacher
            for clip, length in lengths.items():
                grids = {g: np.maximum(rng.random((length, g, g)) - 0.4, 0) for g in (1, 4)}
                maps.write_clip(file, clip, grids)
    with writing(folder / "objects.h5") as file:
        file.attrs["classes"] = ["person", "car"]
        for number, clip in enumerate("cde"):
            store_of(folder, clip, rng.integers(0, 256, (12, 32, 48, 3), dtype=np.uint8))
            frame = np.repeat(np.arange(12, dtype=np.int32), 3 + number)
            low = rng.uniform(0, (32, 14), (len(frame), 2))
            columns = (frame, np.hstack([low, low + np.array([14, 17])]).astype(np.float32))
            columns += (rng.uniform(0.5, 1, len(frame)), rng.random((len(frame), 2)).astype(np.float16))
            detections.write_clip(file, detections.Detections(clip, 12, (32, 48), *columns))


def train(folder: Path, output: Path) -> None:
    """Train everything on what ``make_data`` stored."""
    frames, held_out = [folder / "a.h5", folder / "b.h5"], {"b": 0.6}
    common = {"maps": {"resolutions": [1, 4]}, "held_out_clips": held_out}
    settings = {"student": NETWORK, "pretraining": COMMON}
    pretrain_student.main(SimpleNamespace(settings=settings, frames=frames, output=output / "pretrained.pt"))
    settings = {"student": NETWORK, "distillation": DISTILLATION, **common}
    given = {"frames": frames, "maps": [folder / "one.h5", folder / "two.h5"], "output": output / "distilled.pt"}
    empty = {"validation": [], "boxes": [], "validation_maps": [], "pretrained": None}
    distill_student.main(SimpleNamespace(settings=settings, **given, **empty))
    network.DROPOUT = 0.0  # each process drops other things
    settings = {"sdmae": SDMAE, **common}
    train_detector.main(SimpleNamespace(settings=settings, detector="sdmae", frames=frames, output=output / "model.pt"))
    # In float32 a step of Adam turns the rounding of small gradients into other weights, which `tasks` soon shows.
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    torch.cpu._is_avx512_bf16_supported = lambda: False  # teachers have no setting for it
    frames, boxes = [folder / f"{clip}.h5" for clip in "cde"], [folder / "objects.h5"]
    for name, (teacher, options) in TEACHERS.items():
        settings = {teacher: options, "objects": {"confidence": 0.3}, "held_out": {"share": 0.3}}
        empty = {"moving": [], "flow": [], "image_pool": None, "network": None}
        given = {"frames": frames, "detections": boxes, "output": output / f"{name}.pt", **empty}
        train_teacher.main(SimpleNamespace(settings=settings, teacher=teacher, **given))


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]))
