"""The plan of ``gpu_day``: parts, their shares of the time, and the commands of their steps."""

import argparse
import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vadistill.errors import InputError
from vadistill.processors import cores

ROOT = Path(__file__).parents[2]
PLAN = Path(__file__).with_name("gpu_day.yaml")
OFFLINE = {"YOLO_OFFLINE": "true", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Step:
    """One command of a part.

    Attributes:
        run: The command, ``python -m ...``, or none.
        make: A result of the workflow, or none.
        rules: That may make it.
        until: Share of the part's time by which its trainings end.
    """

    run: str = ""
    make: str = ""
    rules: tuple[str, ...] = ()
    until: float | None = None

    def words(self, values: dict[str, str]) -> list[str]:
        """Return the words of the command, run in the folder that holds what was carried."""
        if self.make:
            return self.workflow(values, cores(), "--nolock")  # one that was killed has left its lock
        words = shlex.split(self.run.format(**values))
        return [sys.executable, *words[1:]] if words[0] == "python" else words

    def workflow(self, values: dict[str, str], processors: int, *more: str) -> list[str]:
        """Return the words by which the workflow makes the result in a folder that has resources and results."""
        configs = [str(ROOT / "config.yaml"), *shlex.split(values["config"])]
        command = [
            sys.executable,
            "-m",
            "snakemake",
            self.make.format(**values),
            "--snakefile",
            str(ROOT / "Snakefile"),
        ]
        command += ["--cores", str(processors), "--workflow-profile", values["profile"], "--configfile", *configs]
        return [*command, *more, "--allowed-rules", *self.rules]


@dataclass(frozen=True)
class Part:
    """A part of the day.

    Attributes:
        name: Of its folder.
        share: Of the time, beside those of the parts behind it.
        steps: One after the other.
        required: Nothing else is done if it fails.
        keep: Patterns of results that are kept.
    """

    name: str
    share: float
    steps: tuple[Step, ...]
    required: bool = False
    keep: tuple[str, ...] = field(default=())


def environment() -> dict[str, str]:
    """Return the environment of a step: it finds the package and the tests, and asks no network."""
    return {**os.environ, **OFFLINE, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}


def add_plan(arguments: argparse.ArgumentParser) -> None:
    """Add the arguments that ``chosen`` reads."""
    arguments.add_argument("--plan", type=Path, default=PLAN)
    arguments.add_argument("--only", nargs="+", help="names of parts")
    arguments.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="values of the plan")


def chosen(args: argparse.Namespace) -> tuple[list[Part], dict[str, str]]:
    """Return the parts that are asked for and the values of the plan.

    Raises:
        InputError: There is no such part or value.
    """
    parts, values = read_plan(args.plan, dict(item.partition("=")[::2] for item in args.set))
    known = [part.name for part in parts]
    if unknown := sorted(set(args.only or ()) - set(known)):
        raise InputError(f"--only {unknown[0]}: {args.plan} has no such part; expected some of {', '.join(known)}")
    return [part for part in parts if not args.only or part.name in args.only], values


def read_plan(path: Path, given: dict[str, str]) -> tuple[list[Part], dict[str, str]]:
    """Return the parts of a plan and its values, of which some are ``given``.

    Raises:
        InputError: A given value is none of the plan's.
    """
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    values = content.get("values", {})
    if unknown := sorted(given.keys() - values.keys()):
        raise InputError(f"--set {unknown[0]}: {path} has no such value; expected some of {', '.join(values)}")
    values = {name: str(value).format(root=ROOT) for name, value in {**values, **given}.items()}
    parts = [
        Part(**{**part, "steps": tuple(_step(step) for step in part["steps"]), "keep": tuple(part.get("keep", ()))})
        for part in content["parts"]
    ]
    return parts, {"root": str(ROOT), **values}


def _step(content: dict[str, Any]) -> Step:
    return Step(**{**content, "rules": tuple(content.get("rules", ()))})
