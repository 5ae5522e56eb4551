"""Two runs in one checkout: their results are read all the time, and the first one's target is asked for again.

    PYTHONPATH=src:tests/workflow python tests/trials/concurrency.py FOLDER

FOLDER must not exist. Beforehand the first data set is made alone, to compare with. Prints what was tried how often.
"""

import json
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import av
import cv2
import h5py
import numpy as np
import pandas as pd
import torch
import yaml
from conftest import CONFIG, copy_project

TARGETS = ("auc.json", "pictures", "report.html", "overlays/test_01.mp4", "localisation.json")
READERS = {
    ".json": lambda path: json.loads(path.read_text()),
    ".jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
    ".csv": pd.read_csv,
    ".npy": np.load,
    ".pt": lambda path: torch.load(path, weights_only=True),
    ".state": lambda path: torch.load(path, weights_only=True),
    ".png": lambda path: cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR).shape,
    ".html": lambda path: path.read_text().rindex("</html>"),
    ".avi": lambda path: _frames_of(path),
    ".mp4": lambda path: _frames_of(path),
    ".h5": lambda path: _arrays_of(path),
}


def _frames_of(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


def _arrays_of(path: Path) -> int:
    """Read every array of a store, with its checksums."""
    sizes = []
    with h5py.File(path) as file:
        file.visititems(lambda _, part: sizes.append(part[()].size) if isinstance(part, h5py.Dataset) else None)
    return sum(sizes)


def read_all(folder: Path, ended, told) -> None:
    """Read every result again and again; tell how often, and what was met half-written."""
    read, bad = Counter(), []
    while not ended.is_set():
        # Hidden names are those of files that are not finished.
        for path in [p for p in folder.rglob("*") if p.suffix in READERS and not p.name.startswith(".")]:
            try:
                READERS[path.suffix](path)
            except FileNotFoundError:
                read["gone meanwhile"] += 1
            except Exception as error:
                if path.exists():
                    bad.append(f"{path}: {error!r}")
            else:
                read[path.suffix] += 1
        time.sleep(0.02)
    told.put((dict(read), bad))


def start(project, dataset: str) -> subprocess.Popen:
    targets = [f"results/{dataset}/{target}" for target in TARGETS]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *targets]
    command += ["--configfile", str(CONFIG), str(project.folder / "changed.yaml")]
    log = (project.folder.parent / f"{project.folder.name}.{dataset}.log").open("a")
    return subprocess.Popen(command, cwd=project.folder, stdout=log, stderr=subprocess.STDOUT)


def made(folder: Path) -> Path:
    """Copy the project, with two small data sets that differ in their seed."""
    project = copy_project(folder)
    first = yaml.safe_load(CONFIG.read_text())["datasets"]["tiny"]
    first["distillation"] |= {"teachers": ["flow_neighbours"], "pretrained": False}
    datasets = {"tiny": first, "other": {**first, "demo": {**first["demo"], "seed": 4}}}
    project.changed(json.dumps({"datasets": datasets}))
    return project


def numbers(project) -> dict:
    result = json.loads((project.folder / "results/tiny/auc.json").read_text())
    return {name: result[name] for name in ("student", "teachers", "trivial")}


def main(folder: Path) -> None:
    """Run the trial."""
    alone, both = made(folder / "alone"), made(folder / "both")
    assert start(alone, "tiny").wait() == 0
    ended, told = multiprocessing.Event(), multiprocessing.Queue()
    reader = multiprocessing.Process(target=read_all, args=(both.folder / "results", ended, told))
    reader.start()
    began = time.monotonic()
    runs, refused = {name: start(both, name) for name in ("tiny", "other")}, Counter()
    time.sleep(8)  # until it has planned its jobs, a run holds nothing
    while runs["tiny"].poll() is None:
        again = both.snakemake("results/tiny/auc.json", config=[both.folder / "changed.yaml"], check=False)
        output = again.stdout + again.stderr
        known = ("cannot be locked", "seem to be incomplete", "another run is about to", "Nothing to be done")
        refused[next((text for text in known if text in output), output[-500:])] += 1
    codes = {name: run.wait() for name, run in runs.items()}
    ended.set()
    read, bad = told.get()
    reader.join()
    print(f"two runs side by side: exit codes {codes}, {time.monotonic() - began:.0f} s")
    print(f"numbers of the first one equal those of a run alone: {numbers(both) == numbers(alone)}")
    print(f"the same target asked for meanwhile: {dict(refused)}")
    print(f"results read meanwhile: {sum(read.values())} times, {read}; half-written: {len(bad)}")
    print("\n".join(bad[:10]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
