"""Several runs in one checkout: on two data sets they work side by side, on the same target the second is refused."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import CONFIG, Project
from trees import write_avi

from vadistill.io.frames import FrameStore

pytestmark = pytest.mark.workflow
TARGETS = {name: f"results/{name}/frames/train/one.h5" for name in ("cameras", "my_cameras")}


@pytest.fixture
def project(finished):
    for name in TARGETS:
        for split in ("train", "test"):
            path = finished.folder / f"resources/{name}/{split}/one.avi"
            write_avi(path, list(np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)))
    yield Project(finished.folder)
    for name in TARGETS:
        for folder in ("resources", "results"):
            shutil.rmtree(finished.folder / folder / name, ignore_errors=True)


def test_runs_side_by_side(project):
    def refused():
        done = project.snakemake(TARGETS["cameras"], check=False)
        assert done.returncode and "Traceback" not in done.stderr
        return done.stderr

    command = [sys.executable, "-m", "snakemake", "--cores", "1", TARGETS["cameras"], "--configfile", str(CONFIG)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, cwd=project.folder, env=environment, start_new_session=True)
    try:
        while not (project.folder / "results/cameras/logs/extract_frames/train/one.log").exists():
            assert first.poll() is None
            time.sleep(0.01)
        os.killpg(first.pid, signal.SIGSTOP)  # its job as well
        assert "cannot be locked" in refused()
        project.snakemake("--unlock", TARGETS["cameras"])
        assert "cameras: another run is about to extract_frames" in refused(), "unlocked in error, or by make demo"
        project.snakemake(TARGETS["my_cameras"])
        assert "cameras: another run is about to extract_frames" in refused(), "a run that ends takes all locks along"
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    assert first.wait(120) == 0
    assert len(FrameStore(project.folder / TARGETS["cameras"])) == 40
    assert project.planned(*TARGETS.values()) == set()
