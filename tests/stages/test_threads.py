"""A stage has as many threads as it is given: no library's own pool, one thread a processor, stands beside them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from stored_clips import numbered_clip
from students import write_student

from vadistill.io.hdf5 import write_attributes, writing
from vadistill.io.maps import write_clip
from vadistill.settings import canonical

ROOT = Path(__file__).parents[2]
NETWORK = {"height": 32, "width": 48, "base_width": 2, "downsamplings": 2, "depth": 1, "heads": 1, "head_width": 4}
DISTILLATION = {"teachers": ["one"], "pretrained": False, "epochs": 2, "batch": 4}


def most_threads(words: list[str], folder: Path) -> tuple[int, int]:
    """Run a stage as the workflow does where it gives one thread; return its own most threads, and those of its forks.

    Processes that it forks off read frames, or soon become another program.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", *words]
    most: dict[int, int] = {}
    with (folder / "log").open("w") as log, subprocess.Popen(command, cwd=folder, env=environment, stderr=log) as stage:
        while stage.poll() is None:
            for process in (stage.pid, *_children(stage.pid)):
                if (count := _threads(process, words[0])) is not None:
                    most[process] = max(most.get(process, 0), count)
            time.sleep(0.005)
    assert stage.returncode == 0, (folder / "log").read_text()
    return most.pop(stage.pid), max(most.values(), default=0)


def _children(process: int) -> list[int]:
    try:
        lists = [(task / "children").read_text() for task in Path(f"/proc/{process}/task").iterdir()]
    except OSError:  # it has ended
        return []
    return [int(number) for numbers in lists for number in numbers.split()]


def _threads(process: int, stage: str) -> int | None:
    """Return how many threads a process of a stage has; None where it has ended, or is no process of the stage."""
    try:
        if stage.encode() not in Path(f"/proc/{process}/cmdline").read_bytes():
            return None
        return len(list(Path(f"/proc/{process}/task").iterdir()))
    except OSError:
        return None


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return numbered_clip(tmp_path_factory.mktemp("clip")).path


def test_the_count_sees_a_pool(tmp_path):
    (tmp_path / "pool.py").write_text(
        "import time\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(3) as pool:\n    list(pool.map(time.sleep, [0.5] * 3))\n"
    )
    assert most_threads(["pool"], tmp_path) == (4, 0)


def test_measuring_motion_takes_one_thread(clip, tmp_path):
    words = ["vadistill.stages.compute_motion", "--settings", canonical({"motion": {}, "version": 1})]
    own, _ = most_threads([*words, "--frames", str(clip), "--output", str(tmp_path / "motion.h5")], tmp_path)
    assert own == 1


def test_detection_takes_one_thread_while_another_reads(clip, tmp_path):
    settings = {"detection": {"weights": "demo.pt", "image_size": 64}, "version": 1}
    words = ["vadistill.stages.detect_objects", "--settings", json.dumps(settings), "--frames", str(clip)]
    words += ["--weights", str(ROOT / "resources/weights/demo.pt"), "--output", str(tmp_path / "boxes.h5")]
    own, forked = most_threads(words, tmp_path)
    assert own == 2 and forked <= 1  # for a moment, until it has become another program


# A process that is read for has a second thread, which sends numbers of frames; one that reads has two more, which send
# what it has read. They hardly compute, and a pool would come on top of them.
def test_a_student_is_scored_by_one_thread_while_one_process_reads(clip, tmp_path):
    write_student(tmp_path / "student.pt")
    words = ["vadistill.stages.score_frames", "--settings", '{"version":1}', "--model", str(tmp_path / "student.pt")]
    own, reading = most_threads([*words, "--frames", str(clip), "--output", str(tmp_path / "scores.h5")], tmp_path)
    assert own <= 2 and 2 <= reading <= 3


def test_a_student_is_trained_by_one_thread_while_one_process_reads(clip, tmp_path):
    with writing(tmp_path / "maps.h5") as file:
        write_attributes(file, teacher="one")
        write_clip(file, "numbered", {g: np.random.default_rng(0).random((40, g, g)) for g in (1, 4)})
    settings = {"student": NETWORK, "distillation": DISTILLATION, "maps": {"resolutions": [1, 4]}, "held_out_clips": {}}
    words = ["vadistill.stages.distill_student", "--settings", json.dumps(settings), "--frames", str(clip)]
    words += ["--maps", str(tmp_path / "maps.h5"), "--output", str(tmp_path / "student.pt")]
    own, reading = most_threads(words, tmp_path)
    assert own <= 2 and 2 <= reading <= 3
