"""The student's AUC on the split validation, while it is being trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vadistill.datasets.labels import kind_of, labels_of_boxes
from vadistill.errors import InputError
from vadistill.evaluation.protocols import frame_auc
from vadistill.io.maps import MapStore
from vadistill.settings import StudentConfig
from vadistill.student.graph import ScoringNetwork
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
        InputError: A clip has frames or boxes only, or a teacher has no maps of it.
    """
    windows, labels = windows_of(frames, network, maps=maps, resolutions=resolutions), labels_of_boxes(boxes)
    if unpaired := sorted({store.clip for store in windows.stores} ^ labels.keys()):
        raise InputError(f"validation clip {unpaired[0]}: frames or boxes are missing; expected both for every clip")
    return windows, labels


def abnormal_frames(windows: FrameWindows, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the numbers of the abnormal frames (N,) in the windows of the split validation, by kind of anomaly."""
    found: dict[str, list[np.ndarray]] = {}
    for store, length, end in zip(windows.stores, windows.lengths, np.cumsum(windows.lengths), strict=True):
        found.setdefault(kind_of(store.clip), []).append(end - length + np.flatnonzero(labels[store.clip]))
    return {kind: np.concatenate(numbers) for kind, numbers in found.items()}


def validation_auc(student: Student, windows: FrameWindows, labels: Mapping[str, np.ndarray], device) -> float:
    """Return the mean of micro and macro AUC of the unsmoothed frame scores; the student is left in its mode.

    Raises:
        InputError: No clip has both normal and abnormal frames.
    """
    training = student.training
    scores, _ = score_windows(ScoringNetwork(student).eval(), windows, device)
    student.train(training)
    parts = np.split(scores, np.cumsum(windows.lengths)[:-1])
    by_clip = {store.clip: part for store, part in zip(windows.stores, parts, strict=True)}
    made = frame_auc(by_clip, labels, sigma=0.0)
    if made["micro_auc"] is None or made["macro_auc"] is None:
        raise InputError("split validation: every clip is all normal or all abnormal; lower validation.share")
    return (made["micro_auc"] + made["macro_auc"]) / 2
