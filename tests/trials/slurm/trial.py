"""The workflow on Slurm: what it asks for, and what becomes of jobs that are killed.

    tests/trials/slurm/cluster.sh .venv/bin/python tests/trials/slurm/trial.py [NAME ...]

Runs in a copy of the project, on the tiny data set, with the profile for Slurm; without names all trials. Checked are
Slurm's own records (``scontrol show job``) and the logs of the rules. A line a check; exit status 1 if one fails.
"""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests/workflow"), str(ROOT / "tests")]
from conftest import CONFIG, copy_project  # noqa: E402
from trees import pictures, write_avi  # noqa: E402

TRAINING = "results/tiny/student/pretrained.pt"
LOG = "results/tiny/logs/pretrain_student.log"
failed = []


def check(what: str, passed: bool, found: object = "") -> None:
    print(f"{'ok' if passed else 'FAILED':6} {what}{f': {found}' if found else ''}", flush=True)
    if not passed:
        failed.append(what)


def gpu_rules() -> set[str]:
    """The rules that ask for a GPU."""
    text = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    blocks = re.split(r"^ *rule (\w+):", text, flags=re.M)
    asks = re.compile("gpu=(1|gpu|lambda)")
    return {name for name, body in zip(blocks[1::2], blocks[2::2], strict=True) if asks.search(body)}


def records(since: int = 0) -> list[dict[str, str]]:
    """Slurm's records of the jobs after number ``since``, each with its rule."""
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job"], capture_output=True, text=True, check=True).stdout
    jobs = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in shown.splitlines() if line.startswith("JobId=")]
    for job in jobs:
        job["rule"] = re.sub(r"^(rule|group)_|_wildcards_.*", "", job.get("Comment", ""))
    return [job for job in jobs if int(job["JobId"]) > since]


def last_job() -> int:
    return max((int(job["JobId"]) for job in records()), default=0)


def most_at_once(jobs: list[dict[str, str]]) -> int:
    """How many of these jobs ran at the same time."""
    events = []
    for job in jobs:
        start, end = (datetime.fromisoformat(job[key]) for key in ("StartTime", "EndTime"))
        events += [(start, 1), (end, -1)]
    running = most = 0
    for _, change in sorted(events):
        running += change
        most = max(most, running)
    return most


class Run:
    """One call of snakemake with the profile."""

    def __init__(self, folder: Path, *arguments: str, text: str = "") -> None:
        self.folder, self.since = folder, last_job()
        changed = folder / "changed.yaml"
        changed.write_text(text or "{}")
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/slurm", *arguments]
        command += ["--slurm-init-seconds-before-status-checks", "3", "--configfile", str(CONFIG), str(changed)]
        self.output = folder / "output.txt"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT)

    def wait(self) -> int:
        return self.process.wait(timeout=3000)

    def jobs(self, rule: str | None = None) -> list[dict[str, str]]:
        return [job for job in records(self.since) if rule in (None, job["rule"])]


def trained(folder: Path) -> Run:
    """Start a training of 60 epochs, or go on with it."""
    return Run(folder, TRAINING, text="datasets:\n  tiny:\n    pretraining: {epochs: 60}\n")


def begun(folder: Path) -> tuple[Run, str]:
    """Begin a training anew and wait for its fifth epoch; return the number of its job as well."""
    shutil.rmtree(folder / "results/tiny/student", ignore_errors=True)
    (folder / LOG).unlink(missing_ok=True)
    run = trained(folder)
    while not ((folder / LOG).is_file() and "5/60" in (folder / LOG).read_text()):
        assert run.process.poll() is None, run.output.read_text()
        time.sleep(0.2)
    return run, run.jobs("pretrain_student")[0]["JobId"]


def whole(folder: Path) -> None:
    """Everything runs, asks for the right things, and fans out."""
    run = Run(folder, "results/tiny/auc.json", "results/tiny/teachers_validation.csv", "results/tiny/report.html")
    check("whole: exit status", run.wait() == 0, run.process.returncode)
    jobs, by_rule, gpu = run.jobs(), defaultdict(list), gpu_rules()
    for job in jobs:
        by_rule[job["rule"]].append(job)
    print(f"       {'rule':20} jobs  at once  processors  memory   limit     GPUs  nodes")
    for rule, made in sorted(by_rule.items()):
        asked = [{job.get(key, "") for job in made} for key in ("NumCPUs", "MinMemoryNode", "TimeLimit", "TresPerJob")]
        asked = [",".join(sorted(values)) for values in asked]
        asked[3] = asked[3].removeprefix("gres:gpu:") or "0"
        nodes = ",".join(sorted({job["NodeList"] for job in made}))
        columns = (rule, len(made), most_at_once(made), *asked, nodes)
        print("       {:20} {:4}  {:7}  {:10}  {:7}  {:8}  {:4}  {}".format(*columns))
        expected = ["8", "1"] if rule in gpu else ["1", "0"]
        check(f"whole: {rule} asks for {expected[0]} processors and {expected[1]} GPUs", asked[::3] == expected)
    check("whole: all jobs completed", {job["JobState"] for job in jobs} == {"COMPLETED"})
    check("whole: jobs ran on both nodes", {job["NodeList"] for job in jobs} == {"node1", "node2"})
    check("whole: build_maps fans out", most_at_once(by_rule["build_maps"]) > 2)
    on_gpu = [[job for job in jobs if job["rule"] in gpu and job["NodeList"] == node] for node in ("node1", "node2")]
    check("whole: one GPU job at once on a node", [most_at_once(part) for part in on_gpu] == [1, 1])
    check("whole: two GPU jobs at once on both", most_at_once([*on_gpu[0], *on_gpu[1]]) == 2)


def cancelled(folder: Path) -> None:
    """A training whose job is cancelled is tried again and goes on."""
    run, job = begun(folder)
    subprocess.run(["scancel", job], check=True)
    check("scancel: exit status", run.wait() == 0, run.process.returncode)
    states = [job["JobState"] for job in run.jobs("pretrain_student")]
    check("scancel: tried again", states == ["CANCELLED", "COMPLETED"], states)
    resumed_after(folder, "scancel", 5)


def limited(folder: Path) -> None:
    """A training that outlasts its time limit is tried again and goes on."""
    run, job = begun(folder)
    subprocess.run(["scontrol", "update", f"JobId={job}", "EndTime=now"], check=True)
    check("time limit: exit status", run.wait() == 0, run.process.returncode)
    states = [job["JobState"] for job in run.jobs("pretrain_student")]
    check("time limit: tried again", states == ["TIMEOUT", "COMPLETED"], states)
    resumed_after(folder, "time limit", 5)


def requeued(folder: Path) -> None:
    """A job that Slurm itself starts again, as after preemption or the loss of a node, goes on; nobody else notices."""
    run, job = begun(folder)
    subprocess.run(["scontrol", "requeue", job], check=True)
    check("requeue: exit status", run.wait() == 0, run.process.returncode)
    states = [(job["JobState"], job["Restarts"]) for job in run.jobs("pretrain_student")]
    check("requeue: started again by Slurm", states == [("COMPLETED", "1")], states)
    resumed_after(folder, "requeue", 5)


def resumed_after(folder: Path, what: str, least: int) -> None:
    found = re.search(r"resumed after epoch (\d+) of (\d+)", (folder / LOG).read_text())
    check(f"{what}: resumed", bool(found) and int(found[1]) >= least, found and found[0])
    check(f"{what}: no state is left", not (folder / TRAINING).with_suffix(".state").exists())


def interrupted(folder: Path) -> None:
    """Ctrl-C cancels the jobs; the same command goes on."""
    run, _ = begun(folder)
    run.process.send_signal(signal.SIGINT)
    check("Ctrl-C: exit status", run.wait() != 0, run.process.returncode)
    time.sleep(3)
    states = [job["JobState"] for job in run.jobs("pretrain_student")]
    check("Ctrl-C: job cancelled", states == ["CANCELLED"], states)
    run = trained(folder)
    check("Ctrl-C: the same command", run.wait() == 0, run.process.returncode)
    resumed_after(folder, "Ctrl-C", 5)


def abandoned(folder: Path) -> None:
    """A job outlives its snakemake; it is cancelled by the name of the run, and the same command goes on."""
    run, _ = begun(folder)
    run.process.kill()
    run.wait()
    states = [job["JobState"] for job in run.jobs("pretrain_student")]
    check("kill -9 of snakemake: the job runs on", states == ["RUNNING"], states)
    name = re.search(r"SLURM run ID: (\S+)", run.output.read_text())[1]
    subprocess.run(["scancel", "--name", name], check=True)
    Run(folder, "--unlock").wait()
    run = trained(folder)
    check("kill -9 of snakemake: the same command", run.wait() == 0, run.process.returncode)
    resumed_after(folder, "kill -9 of snakemake", 5)


def too_little(folder: Path) -> None:
    """A job that outgrows its memory is killed and tried again with more."""
    target = "results/tiny/frames/train/train_01.h5"
    (folder / target).unlink(missing_ok=True)
    run = Run(folder, target, "--set-resources", "extract_frames:mem_mb=90 * attempt ** 3")
    check("memory: exit status", run.wait() == 0, run.process.returncode)
    jobs = run.jobs("extract_frames")
    made = [(job["JobState"], job["MinMemoryNode"]) for job in jobs]
    logs = folder.glob(f".snakemake/slurm_logs/**/{jobs[0]['JobId']}.log")
    said = any("exceeded memory limit" in log.read_text() for log in logs)
    check("memory: killed, and said so", made[0][0] in ("FAILED", "OUT_OF_MEMORY") and said, made[0])
    check("memory: tried again with more", made[-1][0] == "COMPLETED", made[1:])


def broken(folder: Path) -> None:
    """What is wrong with an input reaches the terminal."""
    write_avi(folder / "resources/cameras/test/whole.avi", pictures())
    write_avi(folder / "resources/cameras/train/broken.avi", [])
    run = Run(folder, "results/cameras/frames/train/broken.h5", "--retries", "0")
    check("bad input: exit status", run.wait() == 1, run.process.returncode)
    lines = [line.strip() for line in run.output.read_text().splitlines() if re.match(r"\s*error: .*broken\.avi", line)]
    check("bad input: named on the terminal", bool(lines), lines[:1])
    logs = re.findall(r"(\S+/slurm_logs/\S+\.log)", run.output.read_text())
    check("bad input: Slurm's log is named and kept", bool(logs) and Path(logs[0]).is_file())


def grouped(folder: Path) -> None:
    """Small jobs of a rule share a Slurm job."""
    shutil.rmtree(folder / "results/tiny/frames", ignore_errors=True)
    targets = [f"results/tiny/frames/train/train_0{i}.h5" for i in (1, 2, 3)]
    run = Run(folder, *targets, "--groups", "extract_frames=extract", "--group-components", "extract=8")
    check("groups: exit status", run.wait() == 0, run.process.returncode)
    made = [(job["NumCPUs"], job["MinMemoryNode"], job["TimeLimit"]) for job in run.jobs() if "extract" in job["rule"]]
    check("groups: three clips in one job", len(made) == 1 and all((folder / path).exists() for path in targets), made)


TRIALS = {
    trial.__name__: trial
    for trial in (whole, cancelled, limited, requeued, interrupted, abandoned, too_little, broken, grouped)
}

if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored in the background of a shell, and then by snakemake
    with tempfile.TemporaryDirectory() as temporary:
        project = copy_project(Path(temporary) / "project")
        for name in sys.argv[1:] or TRIALS:
            started = time.monotonic()
            TRIALS[name](project.folder)
            print(f"       {name}: {time.monotonic() - started:.0f} s", flush=True)
    print(f"{len(failed)} checks failed" if failed else "all checks passed")
    sys.exit(bool(failed))
