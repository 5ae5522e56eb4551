"""Half an hour of a GPU: everything that is worth knowing of one, in order of worth.

    PYTHONPATH=src:tests python -m benchmarks.gpu_day kit.tar.xz OUTPUT --minutes 25

The kit holds clips, labels and what other machines made, at most 64 MiB; ``python -m benchmarks.gpu_kit`` packs one.
What is done stands in ``gpu_day.yaml``. Each part has a limit and is ended at it, with all its processes; one that
fails or is ended stops no other. OUTPUT holds a folder a part with the log of each step and ``part.json``, written when
the part ends, and ``summary.json``, written after every part. Nothing needs a network. Parts can be run alone, in
another call (``--only``): what the workflow has made stays in OUTPUT/work.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu_kit import unpack
from benchmarks.gpu_plan import Part, Step, add_plan, chosen, environment

from vadistill.errors import InputError
from vadistill.io.files import write_json
from vadistill.training.deadline import UNTIL

GRACE = 10.0  # seconds between SIGTERM and SIGKILL
TAIL = 12  # lines of a log that are told


def run_step(words: list[str], folder: Path, log: Path, known: dict[str, str], seconds: float) -> dict[str, Any]:
    """Run a command at most so many seconds, with all that it starts; return how it ended."""
    begun, status = time.monotonic(), None
    with log.open("wb") as stream:
        try:
            process = subprocess.Popen(
                words, cwd=folder, env=known, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            stream.write(str(error).encode())
            state = "failed"
        else:
            try:
                status = process.wait(max(0.0, seconds))
                state = "done" if status == 0 else "failed"
            except subprocess.TimeoutExpired:
                state = "timed out"
            finally:
                _end_group(process)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return {"words": words, "state": state, "status": status, "seconds": round(time.monotonic() - begun, 1),
            "log": log.name, "last_lines": lines[-TAIL:]}  # fmt: skip


def _end_group(process: subprocess.Popen) -> None:
    """End a process and all that it started and that is still there: kindly, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            process.poll()  # a zombie would keep its group alive
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
    process.wait()


def run_part(part: Part, values: dict[str, str], work: Path, output: Path, seconds: float) -> dict[str, Any]:
    """Run the steps of a part, those behind a failed one too, within so many seconds; write and return its record."""
    folder = output / part.name
    folder.mkdir(parents=True, exist_ok=True)
    begun, clock = time.monotonic(), time.time()
    record: dict[str, Any] = {"part": part.name, "limit": round(seconds, 1), "steps": []}
    for number, step in enumerate(part.steps, 1):
        left = seconds - (time.monotonic() - begun)
        words = step.words({**values, "part": str(folder)})
        if left > 0:
            known = _environment(values["device"], step, clock, seconds)
            record["steps"].append(run_step(words, work, folder / f"{number}.log", known, left))
        else:
            record["steps"].append({"words": words, "state": "no time"})
    states = [step["state"] for step in record["steps"]]
    record["state"] = next((state for state in ("timed out", "failed", "no time") if state in states), "done")
    record["seconds"] = round(time.monotonic() - begun, 1)
    record["kept"] = [kept for pattern in part.keep for kept in _keep(work, pattern.format(**values), folder)]
    record["results"] = {path.relative_to(folder).as_posix(): _content(path) for path in _records(folder)}
    write_json(folder / "part.json", record)
    return record


def _environment(device: str, step: Step, clock: float, seconds: float) -> dict[str, str]:
    known = environment()
    if device == "cpu":
        known["CUDA_VISIBLE_DEVICES"] = ""
    if step.until is not None:
        known[UNTIL] = str(clock + step.until * seconds)
    return known


def _keep(work: Path, pattern: str, folder: Path) -> list[str]:
    """Copy the results of a pattern under a part's folder; return their names there."""
    names = []
    for source in sorted(work.glob(pattern)):
        target = folder / source.relative_to(work)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        names.append(target.relative_to(folder).as_posix())
    return names


def _records(folder: Path) -> list[Path]:
    """Return the JSON files of a part, without what its tests left and without what it says of itself."""
    found = [path for ending in ("json", "jsonl") for path in sorted(folder.rglob(f"*.{ending}"))]
    return [path for path in found if "tests" not in path.parts and path != folder / "part.json"]


def _content(path: Path) -> Any:
    """Return a JSON file, or the last line of metrics; what cannot be read is told and stops nothing."""
    text = path.read_text(encoding="utf-8")
    try:
        # A number that is not finite cannot be written again but in words.
        return json.loads(text.splitlines()[-1] if path.suffix == ".jsonl" else text, parse_constant=str)
    except (ValueError, IndexError) as error:
        return f"not read: {error}"


def summarise(output: Path, records: list[dict[str, Any]], minutes: float) -> None:
    """Write what has happened so far, and print a line about the last part."""
    parts = {
        record["part"]: {key: record[key] for key in ("state", "seconds", "limit")}
        | {"steps": [f"{step['state']}: {' '.join(step['words'][1:4])}" for step in record["steps"]]}
        for record in records
    }
    used = round(sum(record["seconds"] for record in records), 1)
    write_json(output / "summary.json", {"minutes": minutes, "seconds": used, "parts": parts})
    last = records[-1]
    print(f"{last['part']:10} {last['state']:10} {last['seconds']:7.1f} of {last['limit']:7.1f} s", flush=True)
    for step in last["steps"]:
        if step["state"] not in ("done", "no time"):
            print("".join(f"    {line}\n" for line in step["last_lines"][-3:]), end="", flush=True)


def spend(parts: list[Part], values: dict[str, str], work: Path, output: Path, minutes: float) -> list[dict[str, Any]]:
    """Run parts one after the other; each may use its share of what is left, beside the shares of those behind it.

    Returns:
        The records of the parts that were run: all, unless a required one was not done.
    """
    end, records = time.monotonic() + 60 * minutes, []
    for number, part in enumerate(parts):
        shares = sum(other.share for other in parts[number:])
        limit = max(0.0, end - time.monotonic()) * part.share / shares
        records.append(run_part(part, values, work, output, limit))
        summarise(output, records, minutes)
        if part.required and records[-1]["state"] != "done":
            break
    return records


def main() -> int:
    """Spend the time; return 1 if a part was not done."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("kit", type=Path, help="archive of clips and carried results")
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--minutes", type=float, default=25.0, help="for everything")
    arguments.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try it without a GPU")
    add_plan(arguments)
    args = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that a step ends with this process
    try:
        parts, values = chosen(args)
        output, work = args.output.resolve(), args.output.resolve() / "work"
        if not work.exists():
            part = work.with_name("work.part")
            shutil.rmtree(part, ignore_errors=True)
            unpack(args.kit, part)
            part.rename(work)
    except InputError as error:
        sys.exit(f"error: {error}")
    records = spend(parts, {**values, "device": args.device}, work, output, args.minutes)
    return int(any(record["state"] != "done" for record in records))


if __name__ == "__main__":
    sys.exit(main())
