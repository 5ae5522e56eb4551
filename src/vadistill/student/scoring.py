"""What a student says about clips: frame scores and maps, and their AUC while it is being trained."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vadistill.datasets.labels import labels_of_boxes
from vadistill.errors import InputError
from vadistill.evaluation.protocols import frame_auc
from vadistill.settings import StudentConfig, section
from vadistill.student.loader import FrameWindows, loader, offsets
from vadistill.student.network import Student, frame_scores, scale_frames
from vadistill.training.checkpoint import fitting, load_model
from vadistill.training.device import in_layout, loader_workers

BATCH = 16  # frames


def load_student(path: Path, device: torch.device) -> tuple[Student, dict]:
    """Return the student in evaluation mode and the settings it was trained with."""
    model = load_model(path, "student")
    with fitting(path):
        settings = json.loads(model["settings"])
        student = Student(section("student", settings["student"]), section("maps", settings["maps"]).resolutions)
        student.load_state_dict(model["weights"])
    return in_layout(student.to(device), torch.channels_last).eval(), settings


def windows_of(paths: Sequence[Path], network: StudentConfig, **training: Any) -> FrameWindows:
    """Return the windows that a student sees of some clips; more arguments of ``FrameWindows`` when it is trained."""
    return FrameWindows(paths, (network.height, network.width), offsets(network.frames, network.frame_step), **training)


@torch.inference_mode()
def score_clip(student: Student, windows: FrameWindows, device) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Return the frame scores (T,) and maps {g: (T, g, g)} of one clip.

    Raises:
        InputError: They are not finite.
    """
    scores, grids = [], []
    for frames, *_ in loader(windows, range(len(windows)), BATCH, loader_workers()):
        made = student(scale_frames(frames.to(device, non_blocking=True)))
        scores.append(frame_scores(made).float().cpu())
        grids.append({g: grid[:, 0].float().cpu() for g, grid in made.items()})
    joined = {g: torch.cat([part[g] for part in grids]).numpy() for g in grids[0]}
    score = torch.cat(scores).numpy()
    if not all(np.isfinite(values).all() for values in (score, *joined.values())):
        names = ", ".join(store.clip for store in windows.stores[:3])
        raise InputError(f"clip {names}: the student gives scores or maps that are not finite")
    return score, joined


def validation_windows(
    frames: Sequence[Path], boxes: Sequence[Path], network: StudentConfig
) -> tuple[FrameWindows, dict[str, np.ndarray]]:
    """Return the windows and labels (T,) of the split validation, by which a student is selected.

    Raises:
        InputError: A clip has frames or boxes only.
    """
    windows, labels = windows_of(frames, network), labels_of_boxes(boxes)
    if unpaired := sorted({store.clip for store in windows.stores} ^ labels.keys()):
        raise InputError(f"validation clip {unpaired[0]}: frames or boxes are missing; expected both for every clip")
    return windows, labels


def validation_auc(student: Student, windows: FrameWindows, labels: Mapping[str, np.ndarray], device) -> float:
    """Return the mean of micro and macro AUC of the unsmoothed frame scores; the student is left in its mode.

    Raises:
        InputError: No clip has both normal and abnormal frames.
    """
    training = student.training
    scores, _ = score_clip(student.eval(), windows, device)
    student.train(training)
    parts = np.split(scores, np.cumsum(windows.lengths)[:-1])
    by_clip = {store.clip: part for store, part in zip(windows.stores, parts, strict=True)}
    made = frame_auc(by_clip, labels, sigma=0.0)
    if made["micro_auc"] is None or made["macro_auc"] is None:
        raise InputError("split validation: every clip is all normal or all abnormal; lower validation.share")
    return (made["micro_auc"] + made["macro_auc"]) / 2
