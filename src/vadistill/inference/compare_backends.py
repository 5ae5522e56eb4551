"""Whether all backends say the same of a student: how far scores and maps differ, and what the AUC loses by it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vadistill.evaluation.auc_json import Auc
from vadistill.evaluation.protocols import in_short
from vadistill.inference.backend import Backend
from vadistill.windows.loader import FrameWindows, loader

BATCH = 16  # frames


def compare_backends(
    backends: Mapping[str, Backend],
    baseline: str,
    frames: Sequence[Path],
    labels: Mapping[str, np.ndarray] | None,
    sigma: float,
) -> list[dict[str, Any]]:
    """Return one row a backend: the highest differences from the baseline, its AUC, and what it gains against it.

    Args:
        backends: Of one student, by name.
        baseline: Name of the one that the others are compared with.
        frames: Frame stores of clips; each window is read once for all backends.
        labels: Frame labels (T,) of each clip; None leaves the AUC out, and so do scores that are not finite.
        sigma: Of the smoothing, in frames.
    """
    highest = {name: {"score_difference": 0.0, "map_difference": 0.0} for name in backends}
    scores: dict[str, dict[str, np.ndarray]] = {name: {} for name in backends}
    first = backends[baseline]
    for path in frames:
        windows = FrameWindows([path], first.size, first.offsets, flow=first.flow)
        parts: dict[str, list[np.ndarray]] = {name: [] for name in backends}
        for batch, _ in loader(windows, range(len(windows)), BATCH, workers=0):  # no fork beside a runtime's threads
            made = {name: backend(batch.numpy()) for name, backend in backends.items()}
            expected = made[baseline]
            for name, found in made.items():
                parts[name].append(found.score)
                maps = [np.abs(grid - expected.maps[g]).max() for g, grid in found.maps.items()]
                _raise(highest[name], "score_difference", np.abs(found.score - expected.score).max())
                _raise(highest[name], "map_difference", max(maps))
        for name, of_clip in parts.items():
            scores[name][windows.stores[0].clip] = np.concatenate(of_clip)
    judged = {name: in_short(made, labels if _finite(made) else None, sigma) for name, made in scores.items()}
    return [
        {"backend": name, **highest[name], **made.content(), **_gain(made, judged[baseline])}
        for name, made in judged.items()
    ]


def _finite(scores: Mapping[str, np.ndarray]) -> bool:
    return all(np.isfinite(part).all() for part in scores.values())


def _raise(highest: dict[str, float], key: str, value: float) -> None:
    highest[key] = float(np.maximum(highest[key], value))  # what is not a number stays one


def _gain(own: Auc, base: Auc) -> dict[str, float | None]:
    return {
        "micro_auc_gain": _difference(own.micro_auc, base.micro_auc),
        "macro_auc_gain": _difference(own.macro_auc, base.macro_auc),
    }


def _difference(own: float | None, base: float | None) -> float | None:
    return None if own is None or base is None else own - base
