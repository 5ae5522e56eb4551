"""Planted faults: one wrong line at a time in a copy of the package; the related tests have to notice each.

    PYTHONPATH=src:tests python -m trials.mutants                # all of mutants.yaml
    PYTHONPATH=src:tests python -m trials.mutants 'squash' 12    # those whose name holds a word, or by their number

A fault that survives is a hole in the tests. One whose text is no longer found has to be planted anew.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import copytree

import yaml

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).with_name("mutants.yaml")
SECONDS = 600  # a fault may make a test wait for ever


def planted(source: Path, fault: dict[str, str]) -> str:
    """Plant a fault in a copy of ``src``; return the file's true text.

    Raises:
        SystemExit: What is to be replaced does not stand there just once.
    """
    path = source / "vadistill" / fault["file"]
    text = path.read_text()
    if text.count(fault["old"]) != 1:
        raise SystemExit(f"{fault['name']}: {text.count(fault['old'])} places in {path.name}; expected one")
    path.write_text(text.replace(fault["old"], fault["new"]))
    return text


def noticed(source: Path, tests: str) -> str:
    """Return the first test that fails, or what else ends the tests; empty where all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += [str(ROOT / "tests" / name) for name in tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS} s"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "" if done.returncode == 0 else (failed or [done.stdout + done.stderr])[0]


def main(words: list[str]) -> None:
    """Plant the faults one after another."""
    faults = list(enumerate(yaml.safe_load(FAULTS.read_text()), start=1))
    chosen = [(n, one) for n, one in faults if not words or any(w == str(n) or w in one["name"] for w in words)]
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        copytree(ROOT / "src", source)
        for number, fault in chosen:
            text = planted(source, fault)
            told = noticed(source, fault["tests"])
            (source / "vadistill" / fault["file"]).write_text(text)
            survived += not told
            print(f"{number:3} {fault['name']}: {told.partition(' - ')[0] or 'SURVIVED'}", flush=True)
    print(f"{len(chosen)} planted, {survived} survived")
    sys.exit(bool(survived))


if __name__ == "__main__":
    main(sys.argv[1:])
