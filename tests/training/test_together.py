"""Processes that one stage is started in: who speaks, and who ends whom."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vadistill.errors import InputError
from vadistill.training import together

# Each process says who it is; what it does then is in the first argument, by its number.
STAGE = """
import os, signal, sys, time
number = int(os.environ["RANK"])
assert os.environ["WORLD_SIZE"] == str(len(sys.argv) - 1) and os.environ["LOCAL_RANK"] == os.environ["RANK"]
does = sys.argv[1 + number]
if does == "fail":
    print(f"error: of {number}", file=sys.stderr)
    sys.exit(1)
if does == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if does == "wait":
    print("waits", file=sys.stderr, flush=True)
    time.sleep(100)
"""


def run(*does):
    """Start so many processes by one that waits for them."""
    program = "import sys; from vadistill.training.together import run_together; "
    program += f"sys.exit(run_together([sys.executable, '-c', {STAGE!r}, *sys.argv[1:]], {len(does)}))"
    command = [sys.executable, "-c", program, *does]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (("pass", "pass", "pass"), ""),
        (("fail", "wait"), "error: of 0\n"),
        (("wait", "fail"), "waits\nerror: of 1\n"),
        (("fail", "fail", "fail"), "error: of 0\n"),
        (("pass", "die"), "error: process 2 of 2 was ended by SIGKILL\n"),
        (("die", "wait"), "error: process 1 of 2 was ended by SIGKILL\n"),
    ],
)
def test_one_line_says_what_is_wrong_and_the_others_are_ended(does, said):
    started = time.monotonic()
    process = run(*does)
    assert process.communicate(timeout=60)[1] == said
    assert process.returncode == int(bool(said)) and time.monotonic() - started < 50


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_none_outlives_the_one_that_started_them(number):
    process = run("wait", "wait")
    assert process.stderr.readline() == "waits\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    process.send_signal(number)
    assert process.wait(timeout=60) != 0
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_training_is_started_in_as_many_processes_as_there_are_gpus_to_be(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert together.wanted({"batch": 8}) == 1
    monkeypatch.setenv("VADISTILL_GPUS", "4")
    monkeypatch.setattr(together, "has_gpu", lambda: True)
    assert together.wanted({"batch": 8}) == 4
    assert together.wanted({"neighbours": 5}) == 1, "learns without batches"
    monkeypatch.setattr(together, "has_gpu", lambda: False)
    with pytest.raises(InputError, match="gpus is 4, and this machine has none; expected gpus: 1, or CUDA_VISIBLE_DEV"):
        together.wanted({"batch": 8})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert together.wanted({"batch": 8}) == 4, "on processors"
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert together.wanted({"batch": 8}) == 1, "one of them"
