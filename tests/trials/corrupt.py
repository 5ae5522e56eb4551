"""Damaged files: every reader with thousands of them, each of which has to end well.

    PYTHONPATH=src:tests python -m trials.corrupt --cases 200          # of every reader
    PYTHONPATH=src:tests python -m trials.corrupt --reader video.avi --first 17 --cases 1

A case is good where it ends in one clear line that names the file, leaves what is read as it was, or, for files without
a checksum, gives something else that could be true. It is bad where anything else is raised, what is read is silently
wrong, the process dies, or it takes too long. Cases run in child processes; their number is their seed.
"""

import argparse
import io
import json
import logging
import multiprocessing
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from trials.readers import READERS, Reader

from vadistill.errors import InputError

SECONDS = 20.0  # for one case
MEMORY = 24 << 30  # bytes of address space; torch alone reserves several GB
GOOD = ("error", "unchanged", "repaired or plausible")
EXPECTED = re.compile("expected|to have it made again|not a |not one |names it")


def run(name: str, first: int, cases: int, damages: Sequence[str] = ()) -> list[tuple[int, str, str, str]]:
    """Try a reader, by turns with each damage, and return (number, damage, outcome, detail) of every case."""
    chosen = [damage for damage in READERS[name].damages if not damages or damage.__name__ in damages]
    results: list[tuple[int, str, str, str]] = []
    context, case = multiprocessing.get_context("fork"), first
    while case < first + cases:
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(name, chosen, case, first + cases, sender))
        child.start()
        sender.close()
        case, ended = _collect(receiver, case, results)
        if not ended:
            child.kill()
        child.join()
        if case < first + cases:  # the child is stuck, or died, in this case
            outcome = "hang" if not ended else "crash"
            results.append((case, chosen[case % len(chosen)].__name__, outcome, f"exit code {child.exitcode}"))
            case += 1
    return results


def _collect(receiver: Connection, case: int, results: list) -> tuple[int, bool]:
    """Take what a child sends; return the first case without a result, and whether the child has ended by itself."""
    while receiver.poll(SECONDS):
        try:
            results.append(receiver.recv())
        except EOFError:
            return case, True
        case += 1
    return case, False


def _child(name: str, damages: list[Callable], first: int, last: int, sender: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries of C talk about damaged files
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        whole.mkdir()
        damaged = READERS[name].make(whole).relative_to(whole)
        expected = READERS[name].read(_copy(whole))
        for case in range(first, last):
            sender.send((case, *_try(READERS[name], damages[case % len(damages)], case, whole, damaged, expected)))
    sender.close()
    os._exit(0)


def _copy(whole: Path) -> Path:
    made = whole.with_name("copy")
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(whole, made)
    return made


def _try(
    reader: Reader, damage: Callable, case: int, whole: Path, damaged: Path, expected: object
) -> tuple[str, str, str]:
    """Damage a copy of the files, read it, and return damage, outcome and detail."""
    folder = _copy(whole)
    path = folder / damaged
    path.write_bytes(damage(path.read_bytes(), np.random.default_rng(case)))
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        made = reader.read(folder)
    except InputError as error:
        clear = "\n" not in str(error) and damaged.name in str(error) and EXPECTED.search(str(error))
        return damage.__name__, "error" if clear else "unclear", str(error)
    except Exception as error:
        return damage.__name__, "traceback", repr(error)
    finally:
        logging.getLogger().removeHandler(handler)
    if made == expected:
        return damage.__name__, "unchanged", ""
    good = not reader.exact and reader.sound(made, expected, log.getvalue())
    return damage.__name__, "repaired or plausible" if good else "silently wrong", str(made)[:300]


def main() -> int:
    """Run the cases that were asked for and print a table; the exit status tells whether all of them ended well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100, help="of every reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--reader", nargs="+", default=list(READERS), choices=list(READERS), metavar="READER")
    parser.add_argument("--damage", nargs="+", default=[], metavar="DAMAGE", help="only these, such as flipped")
    parser.add_argument("--shown", type=int, default=5, help="bad cases shown of each reader")
    given, bad, total = parser.parse_args(), 0, Counter()
    for name in given.reader:
        started = time.monotonic()
        results = run(name, given.first, given.cases, given.damage)
        counts = Counter(outcome for _, _, outcome, _ in results)
        total += counts
        print(f"{name:22} {json.dumps(counts)} {time.monotonic() - started:.1f} s", flush=True)
        wrong = [result for result in results if result[2] not in GOOD]
        bad += len(wrong)
        for case, damage, outcome, detail in wrong[: given.shown]:
            print(f"    --reader {name} --first {case} --cases 1: {damage}: {outcome}: {detail[:400]}", flush=True)
    print(f"{sum(total.values())} cases: {json.dumps(total)}; {bad} bad")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
