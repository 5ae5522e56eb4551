"""The workflow, killed again and again: ``python tests/trials/kills.py FOLDER`` (five minutes).

One run without a kill, then three that are killed at random moments of their jobs, so that every rule is hit; by hand
only the same command is given again, with ``--unlock`` before it. Checked: each completes, the results are those of the
undisturbed run, no finished job and no finished epoch is repeated, a SIGTERM ends everything within seconds, nothing
half-written is left. The table goes to FOLDER/kills.csv, a summary to FOLDER/kills.json.
"""

import argparse
import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch

ROOT = Path(__file__).parents[2]
FILES = ("Snakefile", "workflow", "envs", "config.yaml", "src", "resources/weights/demo.pt")
CONFIG = Path(__file__).with_name("small.yaml")
TEACHERS = ("background_agnostic", "multi_task", "flow_neighbours")
# The parts of the workflow that are killed: what is taken away from a finished run, and what is asked for.
PARTS = {
    "frames": (
        ["."],
        ["trivial/test/0.h5", "moving/synthetic/0.h5", "frames/validation/train_01.fast.h5", "student/pretrained.pt"],
    ),
    "teachers": (
        ["teachers", "object_scores", "maps", "teachers_test.csv", "teacher_pictures"],
        ["teachers_test.csv", "teacher_pictures", *(f"maps/{teacher}/train/0.h5" for teacher in TEACHERS)],
    ),
    "student": (
        [
            "student/distilled.pt",
            "student/student.pt",
            "student/scores",
            "auc.json",
            "student_test.csv",
            "localisation.json",
            "report.html",
        ],
        ["auc.json", "student_test.csv", "localisation.json", "report.html", "pictures", "overlays/test_01.mp4"],
    ),
}
# What is killed: everything at once, the worker of a stage, or snakemake alone, whose workers live on as orphans.
WAYS = ("group", "worker", "snakemake")
SIGNALS = {"group": ("KILL", "TERM"), "worker": ("KILL", "TERM"), "snakemake": ("KILL",)}
OFTEN = {"train_teacher": 5, "pretrain_student": 3, "distill_student": 4}  # how often a rule is hit, others once
EXIT_LIMIT = 10  # seconds


@dataclass
class Kill:
    """One kill: what was hit where, and what came of it."""

    way: str
    sent: str
    aimed_at: str = ""  # rule
    after: float = 0.0  # share of an undisturbed job's time
    ended_s: float = 0.0  # until all processes that were to end had ended
    hit: list[str] = field(default_factory=list)  # rules of the jobs that were interrupted
    resumed: list[str] = field(default_factory=list)  # what trainings said in the next run
    faults: list[str] = field(default_factory=list)


@dataclass
class Told:
    """What a run of snakemake and its stages said.

    Attributes:
        started: Rules of the jobs that were started, by their outputs.
        finished: Outputs of the jobs that are finished.
        epochs: Finished epochs: outputs, phase, number.
        resumed: Where trainings went on.
    """

    started: dict[str, str] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    epochs: list[tuple[str, str, str]] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)

    @property
    def interrupted(self) -> dict[str, str]:
        """Rules of the jobs that were started and are not finished."""
        return {outputs: rule for outputs, rule in self.started.items() if outputs not in self.finished}


def told(log: Path) -> Told:
    """Read the log of a run."""
    made, numbers, rule, outputs = Told(), {}, "", ""
    for line in log.read_text(errors="replace").splitlines():
        if found := re.match(r"(?:local)?rule (\w+):", line):
            rule = found[1]
        elif found := re.match(r"    output: (.*)", line):
            outputs = found[1]
            made.started[outputs] = rule
        elif found := re.match(r"    jobid: (\d+)", line):
            numbers[found[1]] = outputs
        elif found := re.match(r"Finished jobid: (\d+)", line):
            made.finished.add(numbers[found[1]])
        elif found := re.search(r"[\d:]{8} (.*) (\d+)/\d+ .* s an epoch", line):
            made.epochs.append((outputs, found[1], found[2]))
        elif found := re.search(r"[\d:]{8} (.*: resumed after epoch \d+ of \d+)", line):
            made.resumed.append(found[1])
    return made


class Run:
    """One call of snakemake in a session of its own."""

    def __init__(self, folder: Path, log: Path, targets: list[str], *arguments: str) -> None:
        self.log = log
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-incomplete", "--scheduler", "greedy"]
        command += [*(f"results/small/{target}" for target in targets), *arguments, "--configfile", str(CONFIG)]
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def members(self) -> dict[int, str]:
        """Return the living processes of the session and their command lines."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                # After the name in brackets: state, parent, group, session.
                state, _, _, session = (path / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
            except (OSError, ValueError):
                continue
        return found

    def stages(self) -> set[int]:
        """Return the processes of stages, loaders included."""
        return {
            pid for pid, command in self.members().items() if re.match(r"\S*python\S* -m vadistill\.stages", command)
        }


def parent(pid: int) -> int:
    """Return the parent of a process, 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def project(folder: Path) -> Path:
    """Copy the project's files into a folder."""
    for part in FILES:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / part
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy2(source, target)
    return folder


def timings(folder: Path) -> dict[str, float]:
    """Return the mean seconds of a job of every rule in a finished run."""
    seconds: dict[str, list[float]] = {}
    for path in (folder / "results/small/benchmarks").rglob("*.tsv"):
        rule = path.relative_to(folder / "results/small/benchmarks").parts[0].removesuffix(".tsv")
        seconds.setdefault(rule, []).append(float(path.read_text().splitlines()[1].split("\t")[0]))
    return {rule: sum(values) / len(values) for rule, values in seconds.items()}


def wait_for_job(run: Run, hits: Counter) -> str:
    """Wait for a job of a rule that is still to be hit and return the rule; nothing when the run has ended."""
    while run.process.poll() is None:
        rules = {rule for rule in told(run.log).interrupted.values() if hits[rule] < OFTEN.get(rule, 1)}
        if rules and run.stages():
            return min(rules)
        time.sleep(0.05)
    return ""


def strike(run: Run, kill: Kill) -> None:
    """Send the signal, and wait for all that must end and for snakemake."""
    number, sent = signal.Signals[f"SIG{kill.sent}"], time.monotonic()
    must_end = {"group": set(run.members()) - {run.process.pid}, "worker": run.stages(), "snakemake": set()}[kill.way]
    if kill.way == "group":
        os.killpg(run.process.pid, number)
    elif kill.way == "worker":
        for pid in must_end:
            if parent(pid) not in must_end:  # its loaders follow by themselves
                os.kill(pid, number)
    else:
        os.kill(run.process.pid, number)
    while must_end & run.members().keys() and time.monotonic() < sent + 60:
        time.sleep(0.01)
    kill.ended_s = round(time.monotonic() - sent, 2)
    if kill.ended_s > EXIT_LIMIT:
        kill.faults.append(f"took {kill.ended_s} s to end")
    run.process.wait(timeout=300)


def torture(folder: Path, logs: Path, targets: list[str], plan: list[Kill], seconds: dict[str, float], rng) -> None:
    """Run the workflow to its end, killing it on its way, and note in the plan what happened."""
    done, epochs, orphaned, hits, runs = set(), set(), set(), Counter(), []
    for number, kill in enumerate(plan):
        runs.append(Run(folder, logs / f"{number:02}.log", targets))
        kill.aimed_at = wait_for_job(runs[-1], hits)
        kill.after = round(rng.uniform(0, 0.7), 2)
        time.sleep(kill.after * seconds.get(kill.aimed_at, 0.5))
        if runs[-1].process.poll() is not None:
            if runs[-1].process.returncode:
                sys.exit(f"{runs[-1].log}: failed without a kill")
            del plan[number:]  # every rule has been hit
            break
        strike(runs[-1], kill)
        said = told(runs[-1].log)
        kill.hit = sorted(said.interrupted.values())
        hits.update(kill.hit)
        check(runs[-1], done, epochs - {epoch for epoch in epochs if epoch[0] in orphaned}, kill)
        if number:
            plan[number - 1].resumed = said.resumed
        done, epochs = done | said.finished, epochs | set(said.epochs)
        if kill.way == "snakemake":
            orphaned |= said.interrupted.keys()  # their last epochs may be done twice
        elif kill.sent == "TERM" and (left := half_written(folder)):
            kill.faults.append(f"half-written after SIGTERM: {', '.join(left)}")
        if kill.way != "worker":
            Run(folder, logs / f"{number:02}.unlock.log", targets, "--unlock").process.wait(timeout=300)
    runs.append(Run(folder, logs / "last.log", targets))
    if runs[-1].process.wait(timeout=1200):
        plan[-1].faults.append("the last run failed")
    check(runs[-1], done, epochs - {epoch for epoch in epochs if epoch[0] in orphaned}, plan[-1])
    plan[-1].resumed = told(runs[-1].log).resumed
    while any(run.members() for run in runs):
        time.sleep(0.1)  # orphans


def check(run: Run, done: set[str], epochs: set[tuple[str, str, str]], kill: Kill) -> None:
    """Note finished jobs and epochs that were done again, and tracebacks of stages."""
    said, text = told(run.log), run.log.read_text(errors="replace")
    kill.faults += [f"{said.started[outputs]} ran again: {outputs}" for outputs in said.started.keys() & done]
    kill.faults += [f"epoch again: {epoch}" for epoch in epochs.intersection(said.epochs)]
    if "Traceback (most recent call last)" in text:
        kill.faults.append("traceback")


def half_written(folder: Path) -> list[str]:
    """Return temporary files in the results whose writers have ended."""
    found = {path: re.search(r"\.(\d+)\.part", path.name) for path in (folder / "results").rglob(".*.part*")}
    return [str(path.relative_to(folder)) for path, number in found.items() if not Path(f"/proc/{number[1]}").exists()]


def differences(whole: Path, killed: Path, targets: list[str]) -> list[str]:
    """Return the results of a killed run that are missing or not the same: numbers, weights, maps, frames, pictures."""
    made = {path.relative_to(killed) for path in killed.rglob("*") if path.is_file()} | {Path(name) for name in targets}
    # Logs, times and what shows them, and the state of a training whose model nobody has read.
    made = {n for n in made if n.parts[0] not in ("logs", "benchmarks", "report.html") and n.suffix != ".state"}
    return [str(name) for name in sorted(made) if not same(whole / name, killed / name)]


def same(one: Path, two: Path) -> bool:
    """Compare two results of one name."""
    if one.is_dir() and two.is_dir():
        names, others = ({path.name for path in folder.iterdir()} - {".snakemake_timestamp"} for folder in (one, two))
        return names == others
    if not (one.is_file() and two.is_file()):
        return False
    if one.suffix == ".h5":
        return stored(one) == stored(two)
    if one.suffix == ".pt":
        a, b = (torch.load(path, weights_only=True) for path in (one, two))
        return a.keys() == b.keys() and all(
            torch.equal(a["weights"][name], b["weights"][name]) for name in a["weights"]
        )
    if one.name.endswith(".metrics.jsonl"):
        timed = ("per_second", "waited_seconds")
        a, b = ([{key: value for key, value in json.loads(line).items() if not key.endswith(timed)}
                 for line in path.read_text().splitlines()] for path in (one, two))  # fmt: skip
        return a == b
    if one.name in (".snakemake_timestamp", *(f"training_{name}.png" for name in ("pretrained", "distilled"))):
        return True  # a rate is drawn, too
    if one.name == "auc.json":
        a, b = (json.loads(path.read_text()) for path in (one, two))
        for content in (a, b):
            del content["provenance"]["git_revision"]  # a copy of the project is no checkout
        return a == b
    return one.read_bytes() == two.read_bytes()


def stored(path: Path) -> dict[str, tuple]:
    """Return everything in an HDF5 file."""
    found = {}

    def note(name: str, node: h5py.HLObject) -> None:
        attributes = {key: np.asarray(value).tolist() for key, value in node.attrs.items()}
        found[name] = (attributes, node[()].tobytes() if isinstance(node, h5py.Dataset) else None)

    with h5py.File(path) as file:
        note("/", file)
        file.visititems(note)
    return found


def planned(kills: int, rng: random.Random) -> list[Kill]:
    """Return so many kills, by turns of ways and signals."""
    kinds = [(way, sent) for way in WAYS for sent in SIGNALS[way]]
    plan = [Kill(*kinds[number % len(kinds)]) for number in range(kills)]
    rng.shuffle(plan)
    return plan


def report(folder: Path, made: list[Kill], wrong: list[str], left: list[str]) -> None:
    """Write and print what happened."""
    rows = [{key: "; ".join(value) if isinstance(value, list) else value for key, value in asdict(kill).items()}
            for kill in made]  # fmt: skip
    with (folder / "kills.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    summary = {
        "kills": len(made),
        "by_rule": Counter(rule for kill in made for rule in kill.hit),
        "between_jobs": sum(not kill.hit for kill in made),
        "by_way": Counter(f"{kill.way} SIG{kill.sent}" for kill in made),
        "slowest_end_s": max(kill.ended_s for kill in made),
        "different_results": wrong,
        "half_written": left,
        "faults": [row["faults"] for row in rows if row["faults"]],
    }
    (folder / "kills.json").write_text(json.dumps(summary, indent=2) + "\n")
    for row in rows:
        print("{way:9} {sent:4} {hit:18} {ended_s:6} s  {resumed} {faults}".format(**row))
    print(json.dumps(summary, indent=2))


def main() -> int:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a new folder for the runs, their logs and the tables")
    parser.add_argument("--kills", type=int, default=14, help="at most, in each part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=PARTS, help="one part of the workflow")
    parser.add_argument("--whole", type=Path, help="a finished undisturbed run of an earlier call: FOLDER/whole")
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    whole, made, wrong, left = given.whole or given.folder / "whole", [], [], []
    if given.whole is None:
        targets = [target for _, targets in PARTS.values() for target in targets]
        if Run(project(whole), given.folder / "whole.log", targets).process.wait():
            sys.exit(f"{given.folder / 'whole.log'}: the undisturbed run failed")
    for part in [given.only] if given.only else PARTS:
        rng, logs, killed = random.Random(f"{given.seed} {part}"), given.folder / f"{part}_logs", given.folder / part
        logs.mkdir()
        removed, targets = PARTS[part]
        project(Path(shutil.copytree(whole, killed, symlinks=True)))
        for name in removed:
            path = killed / "results/small" / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        plan = planned(given.kills, rng)
        torture(killed, logs, targets, plan, timings(whole), rng)
        made += plan
        wrong += differences(whole / "results/small", killed / "results/small", targets)
        left += half_written(killed)
    report(given.folder, made, wrong, left)
    return bool(wrong or left or any(kill.faults for kill in made))


if __name__ == "__main__":
    sys.exit(main())
