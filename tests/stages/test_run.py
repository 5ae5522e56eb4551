"""How a stage ends."""

import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vadistill.errors import InputError
from vadistill.stages._run import add_paths, parser, run


@pytest.fixture
def ended(monkeypatch, capsys):
    """Run a stage that does something; return the lines that it prints."""
    before = signal.getsignal(signal.SIGTERM)

    def end(work):
        made = parser("a stage")
        add_paths(made, "output")
        monkeypatch.setattr(sys, "argv", ["stage", "--settings", "{}", "--output", "results/x/maps.h5"])
        with pytest.raises(SystemExit) as caught:
            run(lambda _: work(), made)
        assert caught.value.code == 1
        return capsys.readouterr().err.splitlines()

    yield end
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "work",
    [
        lambda: np.empty(1 << 60, np.uint8),
        lambda: torch.empty(1 << 60, dtype=torch.uint8),
        lambda: cv2.copyMakeBorder(np.zeros((1, 1), np.uint8), 0, 1 << 29, 0, 1 << 29, cv2.BORDER_CONSTANT),
    ],
    ids=["numpy", "torch", "opencv"],
)
def test_too_little_memory_is_said_in_one_line(ended, work):
    (line,) = ended(work)
    assert line.startswith("error: results/x/maps.h5: not made, there is too little memory (")


def unnamed():
    raise OSError(12, "Cannot fork")


def named():
    Path("nowhere.h5").read_bytes()


def bad_input():
    raise InputError("a.csv, row 3: told")


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (unnamed, "error: results/x/maps.h5: not made ([Errno 12] Cannot fork)"),
        (named, "error: [Errno 2] No such file or directory: 'nowhere.h5'"),
        (bad_input, "error: a.csv, row 3: told"),
    ],
)
def test_an_error_names_its_file(ended, work, told):
    assert ended(work) == [told]


def test_an_error_of_the_program_keeps_its_traceback(ended):
    with pytest.raises(ZeroDivisionError):
        ended(lambda: 1 / 0)
