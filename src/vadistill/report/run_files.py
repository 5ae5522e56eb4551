"""What a run leaves beside its results: the time and memory of every job, and the training curves."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vadistill.errors import InputError


def read_timings(folder: Path) -> pd.DataFrame:
    """Return the jobs of each rule, in the order of their total time, from Snakemake's benchmark files.

    Args:
        folder: ``benchmarks`` of a data set: ``<rule>.tsv``, or below a folder of the rule's name.

    Returns:
        Columns ``rule``, ``jobs``, ``seconds`` (of all jobs together) and ``memory_mb`` (of the largest job); no rows
        where there is no such folder.

    Raises:
        InputError: A file is no benchmark.
    """
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        if not path.stat().st_size:  # a job that ends at this moment writes it
            continue
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        rows += [(rule, seconds, memory) for seconds, memory in _jobs(path)]
    jobs = pd.DataFrame(rows, columns=["rule", "seconds", "memory_mb"])
    grouped = jobs.groupby("rule")
    made = pd.DataFrame(
        {"jobs": grouped.size(), "seconds": grouped["seconds"].sum(), "memory_mb": grouped["memory_mb"].max()}
    )
    return made.sort_values("seconds", ascending=False).reset_index()


def read_seconds(place: Path) -> float | None:
    """Return the seconds of the jobs whose benchmarks lie at a place: a file without its ending, or a folder of them.

    Returns:
        None where there are none.

    Raises:
        InputError: A file is no benchmark.
    """
    file = place.with_name(f"{place.name}.tsv")
    paths = [file] if file.is_file() else sorted(place.glob("*.tsv"))
    return sum(seconds for path in paths for seconds, _ in _jobs(path)) if paths else None


def _jobs(path: Path) -> list[tuple[float, float]]:
    """Return seconds and megabytes of the jobs of a benchmark file of Snakemake."""
    try:
        table = pd.read_csv(path, sep="\t", na_values="-")
        return list(zip(table["s"], table["max_rss"], strict=True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"{path}: not a benchmark file of Snakemake ({line})") from error


def read_trainings(scores: Path, calibrations: Sequence[Path] = ()) -> dict[str, list[dict[str, Any]]]:
    """Return the records of the trainings that led to some scores, by model; those without records are left out.

    Args:
        scores: Of a frame-level detector; its records lie in the folder above.
        calibrations: Of its teachers; their records lie beside these.
    """
    folder = scores.parents[1]
    paths = {name: folder / f"{name}.metrics.jsonl" for name in ("pretrained", "distilled")}
    paths |= {folder.name: folder / "trained.metrics.jsonl"}
    paths |= {path.parent.name: path.with_name("model.metrics.jsonl") for path in calibrations}
    found = {name: read_metrics(path) for name, path in paths.items()}
    return {name: records for name, records in found.items() if records}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the records of a training, one an epoch; none where the file is missing or empty.

    Raises:
        InputError: A line is no JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [dict(json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not one JSON object a line ({error})") from error
