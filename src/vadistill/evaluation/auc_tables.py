"""Tables of AUC: many frame scores of the same clips against the same labels."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vadistill.errors import InputError
from vadistill.evaluation.protocols import columns, frame_auc

COLUMNS = ("group", "name", "level", "mean_filter")
NUMBERS = ("micro_auc", "macro_auc")
PROTOCOL = tuple(columns({}, 0.0))


@dataclass(frozen=True)
class Entry:
    """One line of a table.

    Attributes:
        group: ``teacher``, ``term``, ``together``, ``trivial`` or ``student``.
        name: What made the scores.
        level: ``object`` (highest object score), ``filtered`` (behind the mean filter), ``map``, ``frame``; of a
            student also one map alone (``4x4``) or other fusions of them (``ranks``, ``logistic``).
        scores: (T,) of each clip.
        mean_filter: What the scores were averaged over before the maximum, where they were.
    """

    group: str
    name: str
    level: str
    scores: Mapping[str, np.ndarray]
    mean_filter: str = "none"


def compare(
    entries: Iterable[Entry], labels: Mapping[str, np.ndarray], kinds: Mapping[str, str], sigma: float
) -> pd.DataFrame:
    """Return one row an entry and kind of clips.

    Args:
        entries: What is compared.
        labels: (T,) of each clip.
        kinds: Kind of anomaly of each clip, where it is known; ``all`` stands for all clips.
        sigma: Of the smoothing, in frames.

    Returns:
        Columns ``kind``, those of ``Entry`` (``COLUMNS``), ``micro_auc`` and ``macro_auc`` (fractions), and how they
        were made (``protocols.columns``).
    """
    groups = {"all": list(labels)}
    for clip, kind in kinds.items():
        groups.setdefault(kind, []).append(clip)
    rows: list[dict[str, Any]] = []
    for entry in entries:
        for kind, clips in groups.items():
            truth = {clip: labels[clip] for clip in clips}
            made = frame_auc({clip: entry.scores[clip] for clip in clips}, truth, sigma)
            rows.append(
                {
                    "kind": kind,
                    **{key: getattr(entry, key) for key in COLUMNS},
                    **{key: made[key] for key in NUMBERS},
                    **columns(truth, sigma),
                }
            )
    return pd.DataFrame(rows)


def read_tables(paths: Iterable[Path]) -> dict[str, pd.DataFrame]:
    """Return the tables of ``compare`` that lie in folders of the variants' names, those of one variant joined.

    Raises:
        InputError: A file is no such table, or one of an older version, without its protocol.
    """
    found: dict[str, list[pd.DataFrame]] = {}
    for path in paths:
        try:
            table = pd.read_csv(path)
        except ValueError as error:
            line = " ".join(str(error).split())
            raise InputError(f"{path}: not a readable table ({line})") from error
        if missing := {"split", "kind", *COLUMNS, *NUMBERS, *PROTOCOL} - set(table):
            raise InputError(
                f"{path}: no column '{min(missing)}'; expected a table of evaluate_teachers or _student (one of an "
                "older version does not say its protocol: delete it, and the same command makes it again)"
            )
        found.setdefault(path.parent.name, []).append(table)
    return {name: pd.concat(parts) for name, parts in found.items()}


def spread(tables: Mapping[str, pd.DataFrame], groups: Mapping[str, str]) -> pd.DataFrame:
    """Return mean and standard deviation of every line over runs that differ in their seeds only.

    Args:
        tables: Tables of ``compare`` with a column ``split``, by variant.
        groups: Name of the group that each variant belongs to.

    Returns:
        One row a group, line and protocol: ``variant`` (the group), of each number its mean and, from two runs on, its
        deviation (``_std``, n - 1), ``runs``, and how they were made.
    """
    joined = pd.concat([table.assign(variant=groups[name]) for name, table in tables.items()], ignore_index=True)
    keys = ["variant", "split", "kind", *COLUMNS, *PROTOCOL]
    grouped = joined.groupby(keys, sort=False, dropna=False)
    made = grouped[list(NUMBERS)].mean().join(grouped[list(NUMBERS)].std().add_suffix("_std"))
    made = made.assign(runs=grouped.size()).reset_index()
    return made[[name for name in made if name not in PROTOCOL] + list(PROTOCOL)]


def percent(value: float | None) -> str:
    """Return a fraction in percent, a dash for None or NaN."""
    return "  -  " if value is None or math.isnan(value) else f"{100 * value:5.1f}"
