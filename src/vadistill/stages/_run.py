"""What every stage shares: its arguments, its log and how it ends."""

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from vadistill.errors import InputError


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


def run(main: Callable[[argparse.Namespace], None], arguments: argparse.ArgumentParser) -> None:
    """Run a stage; a bad input ends in one line and exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        main(arguments.parse_args())
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
