"""The student on the split validation, while it is being trained: its AUC, and how it draws its teachers' maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vadistill.datasets.labels import kind_of, labels_of_boxes
from vadistill.errors import InputError
from vadistill.evaluation.protocols import frame_auc
from vadistill.io.maps import MapStore
from vadistill.settings import StudentConfig
from vadistill.student.graph import ScoringNetwork
from vadistill.student.losses import agreement
from vadistill.student.network import Student
from vadistill.windows.loader import FrameWindows
from vadistill.windows.scoring import score_windows


def windows_of(paths: Sequence[Path], network: StudentConfig, **training: Any) -> FrameWindows:
    """Return the windows that a student sees of some clips; more arguments of ``FrameWindows`` when it is trained."""
    return FrameWindows(paths, network.size, network.offsets, flow=network.flow, **training)


def validation_windows(
    frames: Sequence[Path],
    boxes: Sequence[Path],
    network: StudentConfig,
    maps: dict[str, MapStore],
    resolutions: tuple[int, ...],
) -> tuple[FrameWindows, dict[str, np.ndarray]]:
    """Return the windows and labels (T,) of the split validation, by which a student is selected.

    Args:
        frames: Its frame stores.
        boxes: Where its anomalies are.
        network: The student's settings.
        maps: The teachers' maps of its clips, with which the student's are compared.
        resolutions: Which of them.

    Raises:
        InputError: A clip has frames or boxes only, or of another length, or a teacher has no maps of it.
    """
    windows, labels = windows_of(frames, network, maps=maps, resolutions=resolutions), labels_of_boxes(boxes)
    if unpaired := sorted({store.clip for store in windows.stores} ^ labels.keys()):
        raise InputError(f"validation clip {unpaired[0]}: frames or boxes are missing; expected both for every clip")
    for store in windows.stores:
        if len(labels[store.clip]) != len(store):
            raise InputError(
                f"validation clip {store.clip}: boxes of {len(labels[store.clip])} frames; expected {len(store)}"
            )
    return windows, labels


def validation_metrics(
    student: Student, windows: FrameWindows, labels: Mapping[str, np.ndarray], device
) -> dict[str, float]:
    """Return what is logged of a student on the split validation; the student is left in its mode.

    Args:
        student: The student.
        windows: The clips, with the teachers' maps.
        labels: (T,) of each of them.
        device: Where the student is.

    Returns:
        ``validation_auc``: mean of micro and macro AUC of the unsmoothed frame scores. ``validation_KIND_...``:
        ``losses.agreement`` of the finest maps of the abnormal frames of each kind of anomaly.

    Raises:
        InputError: No clip has both normal and abnormal frames.
    """
    training = student.training
    scores, maps = score_windows(ScoringNetwork(student).eval(), windows, device)
    student.train(training)
    found, finest = {"validation_auc": _auc(scores, windows, labels)}, max(maps)
    for kind, frames in _abnormal_frames(windows, labels).items():
        own = {finest: torch.from_numpy(maps[finest][frames, None])}
        found |= {f"validation_{kind}_{name}": value for name, value in agreement(own, windows.targets(frames)).items()}
    return found


def _auc(scores: np.ndarray, windows: FrameWindows, labels: Mapping[str, np.ndarray]) -> float:
    parts = np.split(scores, np.cumsum(windows.lengths)[:-1])
    by_clip = {store.clip: part for store, part in zip(windows.stores, parts, strict=True)}
    made = frame_auc(by_clip, labels, sigma=0.0)
    if made["micro_auc"] is None or made["macro_auc"] is None:
        raise InputError("split validation: every clip is all normal or all abnormal; lower validation.share")
    return (made["micro_auc"] + made["macro_auc"]) / 2


def _abnormal_frames(windows: FrameWindows, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the numbers (N,) of the abnormal frames in the windows, by kind of anomaly."""
    found: dict[str, list[np.ndarray]] = {}
    for store, length, end in zip(windows.stores, windows.lengths, np.cumsum(windows.lengths), strict=True):
        found.setdefault(kind_of(store.clip), []).append(end - length + np.flatnonzero(labels[store.clip]))
    return {kind: np.concatenate(numbers) for kind, numbers in found.items()}
