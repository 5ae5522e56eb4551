"""The judge of students: each kind of synthetic anomaly judges only students that never saw it.

A student that is judged by the kinds it learned from may know how they are made rather than what is abnormal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vadistill.errors import InputError
from vadistill.evaluation.bootstrap import Draws, Intervals, draw, intervals, intervals_of_difference
from vadistill.evaluation.metrics import FrameLabels, FrameScores
from vadistill.evaluation.protocols import DEFAULT, find, frame_auc, prepare

MEAN = "mean"  # of all kinds


@dataclass(frozen=True)
class Judged:
    """One student, judged by one kind that it did not learn from.

    Attributes:
        micro: Micro AUC, a fraction.
        macro: Macro AUC, a fraction.
        draws: Both of clips drawn with replacement.
    """

    micro: float
    macro: float
    draws: Draws


def judged(scores: FrameScores, labels: FrameLabels, sigma: float) -> Judged:
    """Return the verdict on one student.

    Args:
        scores: Raw frame scores (T,) of each held-out clip with an anomaly of the kind, by the clip it was made of.
        labels: Frame labels (T,) of the same.
        sigma: Of the smoothing, in frames.

    Raises:
        InputError: No clip has both normal and abnormal frames.
    """
    made = frame_auc(scores, labels, sigma)
    if made["micro_auc"] is None or made["macro_auc"] is None:
        raise InputError("split validation: every clip is all normal or all abnormal; lower validation.share")
    own = {clip: part["auc"] for clip, part in made["per_clip"].items()}
    drawn = draw(prepare(scores, sigma, find(DEFAULT)), labels, own)
    return Judged(made["micro_auc"], made["macro_auc"], drawn)


def verdict(runs: Mapping[str, Mapping[str, Sequence[Judged]]], configured: str) -> pd.DataFrame:
    """Return the table of all students.

    Args:
        runs: By variant and kind, the students of all seeds, in the same order.
        configured: The variant that the others are compared with.

    Returns:
        One row a variant and kind, and the ``mean`` of the kinds: ``variant``, ``configured``, ``kind``. Of
        ``micro_auc`` and ``macro_auc`` (fractions) the mean over seeds, its deviation over them (``_std``, n - 1) and
        95 % interval over clips (``_low``, ``_high``); what it is more than that of what is configured (``_gain``),
        with an interval of paired draws; ``clips`` and ``runs``. Fewer than five held-out clips have no intervals.
    """
    rows: list[dict[str, Any]] = []
    base = _with_mean(runs[configured])
    for variant, by_kind in runs.items():
        for kind, students in _with_mean(by_kind).items():
            own, other = _mean(students), _mean(base[kind])
            row = {"variant": variant, "configured": variant == configured, "kind": kind}
            alone, gained = intervals(own.draws), intervals_of_difference(own.draws, other.draws)
            for name in ("micro", "macro"):
                values = [getattr(student, name) for student in students]
                row[f"{name}_auc"] = getattr(own, name)
                row[f"{name}_auc_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
                row |= _ends(f"{name}_auc", alone, name)
                row[f"{name}_auc_gain"] = getattr(own, name) - getattr(other, name)
                row |= _ends(f"{name}_auc_gain", gained, name)
            rows.append({**row, "clips": own.draws.clips, "runs": len(students)})
    return pd.DataFrame(rows)


def _with_mean(by_kind: Mapping[str, Sequence[Judged]]) -> dict[str, list[Judged]]:
    """Return the students by kind, and under ``mean`` of each seed the mean over kinds."""
    of_seeds = zip(*by_kind.values(), strict=True)
    return {kind: list(students) for kind, students in by_kind.items()} | {MEAN: [_mean(part) for part in of_seeds]}


def _mean(students: Sequence[Judged]) -> Judged:
    drawn = [student.draws for student in students]
    return Judged(
        float(np.mean([student.micro for student in students])),
        float(np.mean([student.macro for student in students])),
        Draws(
            np.mean([one.micro for one in drawn], axis=0),
            np.mean([one.macro for one in drawn], axis=0),
            min(one.clips for one in drawn),
            min(one.macro_clips for one in drawn),
        ),
    )


def _ends(column: str, found: Intervals, name: str) -> dict[str, float | None]:
    low, high = getattr(found, name) or (None, None)
    return {f"{column}_low": low, f"{column}_high": high}
