"""How the script for a day with a GPU spends its time, whatever its parts do."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from benchmarks import gpu_day, gpu_kit, gpu_machine
from benchmarks.gpu_plan import PLAN, ROOT, read_plan

from vadistill.errors import InputError

FAILING, HANGING, WRITING = "import sys; print('so it is'); sys.exit(3)", "import time; time.sleep(600)", "pass"


@pytest.fixture
def kit(tmp_path):
    (tmp_path / "labels.npy").write_bytes(b"labels")
    with tarfile.open(tmp_path / "kit.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "labels.npy", "resources/labels.npy")
    return tmp_path / "kit.tar.xz"


def plan(tmp_path, *parts):
    path = tmp_path / "plan.yaml"
    path.write_text(json.dumps({"values": {"word": "one", "profile": "", "config": ""}, "parts": parts}))
    return path


def part(name, *commands, share=1, **more):
    return {"name": name, "share": share, "steps": [{"run": command} for command in commands], **more}


def python(text):
    return f'python -c "{text}"'


def spend(*arguments):
    """Run the script; return its status and what it printed."""
    words = [sys.executable, "-m", "benchmarks.gpu_day", "--device", "cpu", *map(str, arguments)]
    paths = f"{ROOT / 'src'}:{ROOT / 'tests'}"
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr


def test_parts_that_fail_or_hang_stop_no_other_and_all_is_written(kit, tmp_path):
    child = tmp_path / "child"
    started = f"sh -c 'sleep 600 & echo $! > {child}; wait'"
    made = plan(
        tmp_path,
        part("fails", python(FAILING), "cp resources/labels.npy {part}/{word}.npy"),
        part("hangs", started, python(WRITING), share=0.05),
        part("works", "sh -c 'cp {part}/../summary.json {part}/before.json'", keep=["resources/*.npy"]),
        part("missing", "no-such-command"),
    )
    status, said = spend(kit, tmp_path / "out", "--plan", made, "--minutes", 1, "--set", "word=two")
    assert status == 1 and "so it is" in said
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    states = {name: record["state"] for name, record in summary["parts"].items()}
    assert states == {"fails": "failed", "hangs": "timed out", "works": "done", "missing": "failed"}
    assert summary["minutes"] == 1 and 0 < summary["seconds"] < 60
    records = {name: json.loads((tmp_path / f"out/{name}/part.json").read_text()) for name in states}
    failed, copied = records["fails"]["steps"]
    assert (failed["state"], failed["status"], failed["last_lines"]) == ("failed", 3, ["so it is"])
    assert copied["state"] == "done" and (tmp_path / "out/fails/two.npy").read_bytes() == b"labels"
    assert [step["state"] for step in records["hangs"]["steps"]] == ["timed out", "no time"]
    assert records["hangs"]["seconds"] < 20 < records["works"]["limit"] <= 30, "what is left over goes on"
    assert not alive(int(child.read_text())), "what a part has started ends with it"
    assert records["works"]["results"]["before.json"]["parts"].keys() == {"fails", "hangs"}, "written after each part"
    assert records["works"]["kept"] == ["resources/labels.npy"]
    assert "no-such-command" in records["missing"]["steps"][0]["last_lines"][-1]


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_a_step_ends_with_the_script(kit, tmp_path):
    child = tmp_path / "child"
    made = plan(tmp_path, part("hangs", f"sh -c 'echo $$ > {child}.part; mv {child}.part {child}; exec sleep 600'"))
    words = [sys.executable, "-m", "benchmarks.gpu_day", kit, tmp_path / "out", "--device", "cpu", "--plan", made]
    paths = f"{ROOT / 'src'}:{ROOT / 'tests'}"
    script = subprocess.Popen(list(map(str, words)), env={**os.environ, "PYTHONPATH": paths})
    while script.poll() is None and not child.exists():
        time.sleep(0.05)
    script.terminate()
    assert script.wait(60) == 128 + signal.SIGTERM and not alive(int(child.read_text()))


def test_without_a_required_part_nothing_is_done(kit, tmp_path):
    made = plan(tmp_path, part("first", python(FAILING), required=True), part("second", python(WRITING)))
    status, _ = spend(kit, tmp_path / "out", "--plan", made)
    assert status == 1 and not (tmp_path / "out/second").exists()
    assert json.loads((tmp_path / "out/summary.json").read_text())["parts"].keys() == {"first"}
    status, _ = spend(kit, tmp_path / "out", "--plan", made, "--only", "second")
    assert status == 0 and json.loads((tmp_path / "out/second/part.json").read_text())["state"] == "done"


def test_what_is_refused_at_once(kit, tmp_path):
    for words, line in (
        (("--set", "words=3"), "error: --set words: .*plan.yaml has no such value; expected some of word, "),
        (("--only", "third"), "error: --only third: .*plan.yaml has no such part; expected some of first"),
    ):
        status, said = spend(kit, tmp_path / "out", "--plan", plan(tmp_path, part("first")), *words)
        assert status == 1 and re.search(line, said) and not (tmp_path / "out").exists()
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(InputError, match=r"text: no kit \(.*\); expected an archive that benchmarks.gpu_kit wrote"):
        gpu_kit.unpack(tmp_path / "text", tmp_path / "work")
    with pytest.raises(InputError, match=r"0\.0 MiB; expected at most 0: .* \(in MiB: results/maps 3\.0, resources 1"):
        gpu_kit.check_size(kit, {"resources": 1 << 20, "results/maps": 3 << 20}, most=10)


def test_a_machine_without_a_gpu_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_machine.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_machine", str(tmp_path / "machine.json")])
    with pytest.raises(SystemExit, match=r"^error: no CUDA: torch .*; expected a GPU that torch reaches, or --device"):
        gpu_machine.main()
    assert not (tmp_path / "machine.json").exists()
    made = gpu_machine.found("cpu")
    assert made["device"] == "cpu" and made["errors"]["float32"] < 1e-6 < made["errors"]["bfloat16"] < gpu_machine.CLOSE


def test_a_processor_that_computes_something_else(monkeypatch):
    monkeypatch.setattr(gpu_machine, "_error", lambda device, kind: float("nan"))
    with pytest.raises(InputError, match="float32 on cpu is wrong by nan of the largest value"):
        gpu_machine.found("cpu")


def test_the_plan_fits_a_folder_and_a_limit():
    parts, values = read_plan(PLAN, {})
    assert [part.name for part in parts] == ["machine", "benchmark", "student", "teachers", "smoke"]
    for part in parts:
        for step in part.steps:
            words = step.words({**values, "part": "there", "device": "cuda"})
            assert words[:2] == [sys.executable, "-m"] and not any("{" in word for word in words)
            assert step.until is None or 0 < step.until < 1


def test_time_is_shared_by_what_is_left(monkeypatch, tmp_path):
    now, limits = [0.0], []
    monkeypatch.setattr(gpu_day.time, "monotonic", lambda: now[0])

    def run_part(part, values, work, output, limit):
        limits.append(limit)
        now[0] += 100
        return {"part": part.name, "limit": limit, "seconds": 100, "state": "done", "steps": []}

    monkeypatch.setattr(gpu_day, "run_part", run_part)
    parts = [gpu_day.Part(name, share, ()) for name, share in (("a", 1), ("b", 3), ("c", 1))]
    gpu_day.spend(parts, {}, tmp_path, tmp_path, minutes=10)
    assert limits == [pytest.approx(120), pytest.approx(375), pytest.approx(400)]
    assert time.monotonic() == 300
