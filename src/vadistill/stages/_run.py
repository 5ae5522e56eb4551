"""What every stage shares: its arguments, its log and how it ends."""

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from vadistill.errors import InputError, printable
from vadistill.io.files import remove_unfinished
from vadistill.io.provenance import other_checkout
from vadistill.training.together import own_command, run_together, wanted

WORKER_PREFIX = f"{InputError.__module__}.{InputError.__qualname__}: "
# In the messages of torch, CUDA, OpenCV, loaders and the system, which have no exception in common.
NO_MEMORY = (
    *("allocate memory", "out of memory", "insufficient memory", "bad_alloc", "bad allocation", "unable to allocate"),
    *("shared memory", "start new thread", "by signal: killed", "by signal: bus error", "could not create a primitive"),
)
WAIT_FOR_BLAME = 5  # seconds in which the one of several processes that failed first is found, and the others ended


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that knows ``--settings``: one JSON object, as the workflow writes it."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--settings", type=json.loads, required=True, help="JSON object of the settings used here")
    return made


def add_paths(made: argparse.ArgumentParser, *names: str, many: tuple[str, ...] = ()) -> None:
    """Add required path arguments; the ones in ``many`` take one or more paths."""
    for name in names:
        made.add_argument(f"--{name}", type=Path, required=True)
    for name in many:
        made.add_argument(f"--{name}", type=Path, required=True, nargs="+")


def add_optional_paths(made: argparse.ArgumentParser, *names: str) -> None:
    """Add path arguments that take any number of paths, also none."""
    for name in names:
        made.add_argument(f"--{name}", type=Path, nargs="*", default=[])


def _end(number: int, _: FrameType | None) -> None:
    """End by the signal itself: an exception raised here could be lost, for example in a loader's destructor."""
    remove_unfinished()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def run(
    main: Callable[[argparse.Namespace], None],
    arguments: argparse.ArgumentParser,
    learns_by: Callable[[argparse.Namespace], str] | None = None,
) -> None:
    """Run a stage; a bad input, a full disk and too little memory end in one line and exit status 1.

    A SIGTERM leaves no half-written file.

    Args:
        main: The stage.
        arguments: Its arguments.
        learns_by: Of a training: gives the section of its settings whose batches several processes may share.
    """
    signal.signal(signal.SIGTERM, _end)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    given = arguments.parse_args()
    if line := other_checkout(Path.cwd()):
        logging.getLogger(__name__).warning("%s", line)
    try:
        if learns_by and (count := wanted(given.settings[learns_by(given)])) > 1:
            logging.getLogger(__name__).info("in %d processes", count)
            sys.exit(run_together(own_command(), count))
        main(given)
    except Exception as error:
        line = _line(error, vars(given).get("output", "its output"))
        if line is None:
            if "WORLD_SIZE" in os.environ:  # most likely another one has gone, and says why
                time.sleep(WAIT_FOR_BLAME)
            raise
        print(f"error: {printable(line)}", file=sys.stderr)
        sys.exit(1)


def _line(error: Exception, output: Path | str) -> str | None:
    """Return what a user is told, or None for an error of the program."""
    # What a loader's worker raises arrives with the worker's traceback before its last line.
    line = (str(error).strip().splitlines() or [type(error).__name__])[-1].removeprefix(WORKER_PREFIX)
    said = str(error).lower()
    scarce = any(sign in said for sign in NO_MEMORY) and "too many open files" not in said
    if isinstance(error, MemoryError) or scarce:
        return f"{output}: not made, there is too little memory ({line}); give it more, or lower its batch"
    if isinstance(error, OSError) and error.filename is None:
        return f"{output}: not made ({line})"
    return line if isinstance(error, InputError | OSError) else None
