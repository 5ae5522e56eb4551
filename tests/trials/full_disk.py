"""Every stage on a full, read-only or vanished folder, or short of memory: ``python tests/trials/full_disk.py FOLDER``.

Takes the jobs of a finished run, one of every rule, and runs each again from the stored inputs with its outputs on a
small tmpfs; needs root for the mounts. Checked: the stage ends with status 1 and one line that names the output, leaves
no file under a final name and none half-written, and with space completes to the same result.
"""

import argparse
import csv
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

# Everything that is slow to import: each trial is a fork of this process.
import av  # noqa: F401
import cv2  # noqa: F401
import matplotlib.figure  # noqa: F401
import pandas as pd  # noqa: F401
import sklearn.metrics  # noqa: F401
import torch  # noqa: F401
from kills import CONFIG, PARTS, Run, project, same

MEGABYTE = 1 << 20
LIMIT_S = 120
LIMITS_MB = (4, 24)  # memory that a stage may take beyond what its libraries hold
# Where control groups of memory are, and which file of a group has its limit.
GROUPS = ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max"))


@dataclass
class Job:
    """One job of the workflow: its rule, the stage's module, its arguments and its outputs."""

    rule: str
    module: str
    arguments: list[str]
    outputs: list[str]

    def moved(self, folder: Path) -> tuple[list[str], list[Path]]:
        """Return the arguments with the outputs in a folder, and these."""
        places = {output: folder / "out" / Path(output).name for output in self.outputs}
        return [str(places.get(part, part)) for part in self.arguments], list(places.values())


@dataclass
class Trial:
    """What came of one fault."""

    rule: str
    fault: str
    status: int = 0
    seconds: float = 0.0
    line: str = ""
    outcome: str = ""
    again: str = ""  # with space


def jobs(folder: Path) -> list[Job]:
    """Return the first job of every rule of a finished run."""
    targets = [f"results/small/{target}" for _, targets in PARTS.values() for target in targets]
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "-p",
        "-F",
        "--cores",
        "1",
        *targets,
        "--configfile",
        str(CONFIG),
    ]
    text = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    pattern = r"rule (\w+):\n(?:.*\n)*?    output: (.*)\n(?:.*\n)*?Shell command: (.*) 2>&1 \| tee"
    found = {}
    for rule, outputs, line in re.findall(pattern, text):
        _, _, module, *arguments = shlex.split(line)
        found.setdefault(rule, Job(rule, module, arguments, outputs.split(", ")))
    return list(found.values())


def run_stage(job: Job, arguments: list[str], log: Path, group: Path | None = None) -> int:
    """Run a stage in a fork of this process, in a control group of memory if one is given; return its status."""
    child = os.fork()
    if child:
        return wait(child)
    with log.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    status = 1
    try:
        sys.argv = [job.module, *arguments]
        if group:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        runpy.run_module(job.module, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status or 0)


def wait(child: int) -> int:
    """Return the status of a child; of one that takes longer than two minutes that of an alarm."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    return -signal.SIGALRM


@contextmanager
def mounted(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount an empty tmpfs of this size and take it away at the end."""
    folder.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


def mount(*arguments: str | Path) -> None:
    """Call mount."""
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def allowed(folder: Path) -> bool:
    """Return whether this process may mount."""
    try:
        with mounted(folder, 64):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def judge(trial: Trial, job: Job, outputs: list[Path], log: Path) -> None:
    """Say whether the stage ended as it should."""
    text, faults = log.read_text(errors="replace"), []
    killed = trial.status == -signal.SIGKILL and "memory" in trial.fault
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    trial.line = lines[0] if lines else (text.strip().splitlines() or [""])[-1]
    if trial.status == 0:
        trial.outcome = "completed"
        return
    if trial.status != 1 and not killed:
        faults.append(f"status {trial.status}")
    if len(lines) != 1 and not killed:
        faults.append(f"{len(lines)} error lines")
    if "Traceback" in text:
        faults.append("traceback")
    if not killed and not any(str(path) in trial.line or str(path.with_suffix("")) in trial.line for path in outputs):
        faults.append("output not named")
    folder = outputs[0].parent
    left = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    # One of two outputs may be whole when the other one fails.
    whole = {new.name for old, new in zip(job.outputs, outputs, strict=True) if same(Path(old), new)}
    left = [name for name in left if name not in whole and not name.endswith((".metrics.jsonl", ".state"))]
    if wrong := [name for name in left if not (killed and ".part" in name)]:
        faults.append(f"left: {', '.join(wrong)}")
    trial.outcome = "; ".join(faults) or ("killed by the kernel" if killed else "as it should")


def full(job: Job, spot: Path, base: Path, log: Path, share: float) -> Trial:
    """Give a stage a share of the space that its outputs need, then enough of it."""
    needed = sum(size_of(base / output) for output in job.outputs)
    trial, started = Trial(job.rule, f"{share:.0%} of the space"), time.monotonic()
    with mounted(spot, max(4, round(share * needed / 1024))) as folder:
        arguments, outputs = job.moved(folder)
        trial.status = run_stage(job, arguments, log)
        trial.seconds = time.monotonic() - started
        judge(trial, job, outputs, log)
        mount("-o", "remount,size=512m", folder)
        complete(trial, job, arguments, outputs, base, log)
    return trial


def complete(trial: Trial, job: Job, arguments: list[str], outputs: list[Path], base: Path, log: Path) -> None:
    """Run a stage again where it failed, now with all that it needs, and compare its outputs with the stored ones."""
    status = run_stage(job, arguments, log.with_suffix(".again"))
    alike = [same(base / old, new) for old, new in zip(job.outputs, outputs, strict=True)]
    left = [path.name for path in outputs[0].parent.glob(".*")]
    good = status == 0 and not left and (all(alike) or job.rule == "write_report")  # times of the jobs are in a report
    trial.again = "the same result" if good else f"status {status}, another result, left: {left}"


def read_only(job: Job, spot: Path, base: Path, log: Path) -> Trial:
    """Let a stage write where nothing can be written."""
    trial, started = Trial(job.rule, "read-only"), time.monotonic()
    with mounted(spot, 64) as folder:
        (folder / "out").mkdir()
        mount("-o", "remount,ro", folder)
        arguments, outputs = job.moved(folder)
        trial.status = run_stage(job, arguments, log)
        trial.seconds = time.monotonic() - started
        judge(trial, job, outputs, log)
    return trial


def vanished(job: Job, spot: Path, base: Path, log: Path) -> Trial:
    """Take the folder away as soon as a stage writes into it."""
    trial, started, ended = Trial(job.rule, "vanished"), time.monotonic(), threading.Event()
    with mounted(spot, 512 * 1024) as folder:
        arguments, outputs = job.moved(folder)
        out = folder / "out"

        def remove() -> None:
            while not ended.is_set():
                if out.is_dir() and any(out.iterdir()):
                    shutil.rmtree(out, ignore_errors=True)
                    return
                time.sleep(0.001)

        remover = threading.Thread(target=remove)
        remover.start()
        trial.status = run_stage(job, arguments, log)
        ended.set()
        remover.join()
        trial.seconds = time.monotonic() - started
        judge(trial, job, outputs, log)
    return trial


def little_memory(job: Job, spot: Path, base: Path, log: Path, limit: int) -> Trial:
    """Let the kernel end a stage, or a loader of it, that takes more memory than its control group may have."""
    trial, started = Trial(job.rule, f"{limit} MB of memory"), time.monotonic()
    with mounted(spot, 512 * 1024) as folder:
        arguments, outputs = job.moved(folder)
        with control_group(limit * MEGABYTE) as group:
            trial.status = run_stage(job, arguments, log, group)
        trial.seconds = time.monotonic() - started
        judge(trial, job, outputs, log)
        complete(trial, job, arguments, outputs, base, log)
    return trial


@contextmanager
def control_group(limit: int) -> Iterator[Path]:
    """Make a control group that may have so many bytes of memory."""
    group = next(root for root, _ in GROUPS if root.is_dir()) / f"trial{os.getpid()}"
    group.mkdir()
    try:
        (group / dict(GROUPS)[group.parent]).write_text(str(limit))
        yield group
    finally:
        while (group / "cgroup.procs").read_text():  # loaders may outlive their stage by seconds
            time.sleep(0.1)
        group.rmdir()


def size_of(path: Path) -> int:
    """Return the bytes of a file or of the files of a folder."""
    files = [part for part in path.rglob("*") if part.is_file()] if path.is_dir() else [path]
    return sum(part.stat().st_size for part in files)


def trials_of(job: Job, spot: Path, base: Path, log: Path, faults: list[str]) -> Iterator[Trial]:
    """Yield the trials of one job."""
    if "full" in faults:
        for share in (0.01, 0.6):
            yield full(job, spot, base, log, share)
    if "read-only" in faults:
        yield read_only(job, spot, base, log)
    if "vanished" in faults:
        yield vanished(job, spot, base, log)
    if "memory" in faults:
        for limit in LIMITS_MB:
            yield little_memory(job, spot, base, log, limit)


def main() -> int:
    """Run all trials and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a new folder for logs and tables")
    parser.add_argument("--whole", type=Path, help="a finished run, of this script or of kills.py: FOLDER/whole")
    parser.add_argument("--rules", nargs="*", help="these alone")
    parser.add_argument("--faults", nargs="*", default=["full", "read-only", "vanished", "memory"])
    given = parser.parse_args()
    folder = given.folder.absolute()
    folder.mkdir(parents=True)
    if not allowed(folder / "tmpfs"):
        print("skipped: this user may not mount a tmpfs")
        return 0
    base = (given.whole or folder / "whole").absolute()
    if given.whole is None:
        targets = [target for _, targets in PARTS.values() for target in targets]
        if Run(project(base), folder / "whole.log", targets).process.wait():
            sys.exit(f"{folder / 'whole.log'}: the undisturbed run failed")
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
    os.chdir(base)
    made = []
    with (folder / "full_disk.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(Trial("", ""))))
        writer.writeheader()
        for number, job in enumerate(job for job in jobs(base) if not given.rules or job.rule in given.rules):
            for trial in trials_of(job, folder / "tmpfs", base, folder / f"{number:02}_{job.rule}.log", given.faults):
                made.append(trial)
                writer.writerow(asdict(trial))
                file.flush()
                shown = (trial.outcome, trial.again, trial.line)
                print(f"{trial.rule:20} {trial.fault:18} {trial.seconds:5.1f} s", *shown, sep="  ")
                sys.stdout.flush()
    bad = [
        trial
        for trial in made
        if trial.outcome not in ("as it should", "killed by the kernel", "completed") or "another" in trial.again
    ]
    bad += [trial for trial in made if trial.outcome == "completed" and trial.fault == "read-only"]
    summary = {"trials": len(made), "outcomes": Counter(f"{trial.fault}: {trial.outcome}" for trial in made)}
    summary["bad"] = [asdict(trial) for trial in bad]
    (folder / "full_disk.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary["outcomes"], indent=2))
    with suppress(OSError):
        (folder / "tmpfs").rmdir()
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
