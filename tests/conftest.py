import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

# Helpers of the tests themselves.
sys.path.insert(0, str(Path(__file__).parent))


def pytest_collection_modifyitems(items):
    """The file that runs the whole workflow comes first: other processes have tests enough meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_end_to_end.py")


@pytest.fixture(autouse=True)
def same_priority():
    """No test leaves its process as a real-time one: two of those on two processors stop the whole machine."""
    before, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    after = os.sched_getscheduler(0)
    os.sched_setscheduler(0, before, parameters)
    assert after == before, "a library has changed the priority of this process (films.usual_priority)"


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def vadistill(monkeypatch, capsys):
    """The command line in this process."""
    from vadistill.cli import main

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["vadistill", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code, *capsys.readouterr())

    return call
