"""Starts one stage in several processes of this machine, which then train together (``parallel``), and watches them.

What ``torchrun --standalone`` does, by a line that is the same for any number of processes: another one would have the
workflow run a finished rule again. And one line says what went wrong, where torchrun adds a report to those of all.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from vadistill.errors import InputError
from vadistill.settings import GPUS
from vadistill.training.driver import has_gpu

# Seconds: for the first process to say itself what is wrong, and for all to end when asked to.
MOMENT, GRACE = 1.0, 10.0
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


def wanted(settings: Mapping[str, Any]) -> int:
    """Return how many processes a training is to be started in; 1 inside of one of several.

    Args:
        settings: The section of the training; without a batch there is nothing to share.

    Raises:
        InputError: More than one, and there is no GPU, though none was hidden to train on processors.
    """
    count = int(os.environ.get(GPUS, 1))
    if count == 1 or "batch" not in settings or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        return 1
    if not has_gpu() and os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() not in ("", "-1"):
        raise InputError(
            f"gpus is {count}, and this machine has none; expected gpus: 1, or CUDA_VISIBLE_DEVICES= to train in "
            f"{count} processes on its processors"
        )
    return count


def own_command() -> list[str]:
    """Return the command line of the stage that this process runs."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None  # it was started by python -m
    return [sys.executable, "-m", spec.name, *sys.argv[1:]]


def run_together(command: Sequence[str], count: int) -> int:
    """Run a command in so many processes; return 0, or 1 where one failed, upon which the others are ended.

    The first process speaks for all; another one is heard where it alone failed.
    """
    passed_on = []
    with ExitStack() as files:
        others = [files.enter_context(tempfile.TemporaryFile()) for _ in range(1, count)]
        port, running = _free_port(), []
        for number, heard in enumerate([None, *others]):
            environment = _environment(number, count, port)
            running.append(subprocess.Popen(command, env=environment, stderr=heard, preexec_fn=_end_with_parent))

        def pass_on(number: int, _: Any) -> None:
            passed_on.append(number)
            for process in running:
                process.send_signal(number)

        signal.signal(signal.SIGTERM, pass_on)
        try:
            failed = _first_failure(running)
        finally:
            _end(running)
        if failed is None or passed_on:
            return int(bool(passed_on))
        if failed:
            others[failed - 1].seek(0)
            sys.stderr.write(others[failed - 1].read().decode(errors="replace"))
        if (status := running[failed].returncode) < 0:
            name = signal.Signals(-status).name
            print(f"error: process {failed + 1} of {count} was ended by {name}", file=sys.stderr)
    return 1


def _environment(number: int, count: int, port: int) -> dict[str, str]:
    """Return the environment by which torch.distributed finds the others; all are on this machine."""
    own = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {"GLOO_SOCKET_IFNAME": "lo", **os.environ, **{name: str(value) for name, value in own.items()}, **meeting}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _end_with_parent() -> None:
    """Have the kernel end this process with its parent, which may be killed without a chance to end it itself."""
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _first_failure(running: Sequence[subprocess.Popen]) -> int | None:
    """Wait until one process fails or all have ended well; return which failed, the first one rather than others."""
    while not any(states := [process.poll() for process in running]):
        if None not in states:
            return None
        time.sleep(0.1)
    with suppress(subprocess.TimeoutExpired):
        running[0].wait(MOMENT)
    return next(number for number, process in enumerate(running) if process.returncode)


def _end(running: Sequence[subprocess.Popen]) -> None:
    for process in running:
        process.terminate()  # nothing to one that has ended
    for process in running:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
