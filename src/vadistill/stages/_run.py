"""What every stage shares: its arguments, its log and how it ends."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from vadistill.errors import InputError
from vadistill.files import remove_unfinished

WORKER_PREFIX = f"{InputError.__module__}.{InputError.__qualname__}: "


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


def run(main: Callable[[argparse.Namespace], None], arguments: argparse.ArgumentParser) -> None:
    """Run a stage; a bad input ends in one line and exit status 1, a SIGTERM leaves no half-written file."""
    signal.signal(signal.SIGTERM, _end)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        main(arguments.parse_args())
    except (InputError, OSError) as error:
        # What a loader's worker raises arrives with the worker's traceback before its last line.
        line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        print(f"error: {line.removeprefix(WORKER_PREFIX)}", file=sys.stderr)
        sys.exit(1)
