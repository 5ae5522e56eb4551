"""Tables of AUC: many frame scores of the same clips against the same labels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vadistill.errors import InputError
from vadistill.protocols import judge

COLUMNS = ("group", "name", "level")
NUMBERS = ("micro_auc", "macro_auc")


@dataclass(frozen=True)
class Entry:
    """One line of a table.

    Attributes:
        group: ``teacher``, ``term``, ``together``, ``trivial`` or ``student``.
        name: What made the scores.
        level: ``object`` (highest object score), ``filtered`` (behind the mean filter), ``map``, ``frame``; of a
            student also one map alone (``4x4``) or other fusions of them (``ranks``, ``logistic``).
        scores: (T,) of each clip.
    """

    group: str
    name: str
    level: str
    scores: Mapping[str, np.ndarray]


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
        Columns ``kind``, ``group``, ``name``, ``level``, ``micro_auc``, ``macro_auc`` (fractions), ``clips`` and
        ``skipped_clips`` (how many have one class only).
    """
    groups = {"all": list(labels)}
    for clip, kind in kinds.items():
        groups.setdefault(kind, []).append(clip)
    rows: list[dict[str, Any]] = []
    for entry in entries:
        for kind, clips in groups.items():
            made = judge({clip: entry.scores[clip] for clip in clips}, {clip: labels[clip] for clip in clips}, sigma)
            rows.append(
                {
                    "kind": kind,
                    **{key: getattr(entry, key) for key in COLUMNS},
                    **{key: made[key] for key in NUMBERS},
                    "clips": len(clips),
                    "skipped_clips": len(made["skipped_clips"]),
                }
            )
    return pd.DataFrame(rows)


def read_tables(paths: Iterable[Path]) -> dict[str, pd.DataFrame]:
    """Return the tables of ``compare`` that lie in folders of the variants' names, those of one variant joined.

    Raises:
        InputError: A file is no such table.
    """
    found: dict[str, list[pd.DataFrame]] = {}
    for path in paths:
        try:
            table = pd.read_csv(path)
        except ValueError as error:
            line = " ".join(str(error).split())
            raise InputError(f"{path}: not a readable table ({line})") from error
        if missing := {"split", "kind", *COLUMNS, *NUMBERS} - set(table):
            raise InputError(f"{path}: no column '{min(missing)}'; expected a table of evaluate_teachers or _student")
        found.setdefault(path.parent.name, []).append(table)
    return {name: pd.concat(parts) for name, parts in found.items()}


def spread(tables: Mapping[str, pd.DataFrame], groups: Mapping[str, str]) -> pd.DataFrame:
    """Return mean and standard deviation of every line over runs that differ in their seeds only.

    Args:
        tables: Tables of ``compare`` with a column ``split``, by variant.
        groups: Name of the group that each variant belongs to.

    Returns:
        One row a group and line: ``variant`` (the group), ``runs``, and of each number its mean and, from two runs on,
        its deviation (``_std``, n - 1).
    """
    joined = pd.concat([table.assign(variant=groups[name]) for name, table in tables.items()], ignore_index=True)
    keys = ["variant", "split", "kind", *COLUMNS]
    grouped = joined.groupby(keys, sort=False)
    made = grouped[list(NUMBERS)].mean().join(grouped[list(NUMBERS)].std().add_suffix("_std"))
    return made.assign(runs=grouped.size()).reset_index()
