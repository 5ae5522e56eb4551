"""What pyproject.toml says of packages is what the code imports, and a plain installation ends in no traceback."""

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from students import write_student

from vadistill.errors import InputError
from vadistill.inference.extras import extra

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Packages whose name differs from that of their module.
MODULES = {"opencv-python": "cv2", "scikit-learn": "sklearn", "PyYAML": "yaml", "pillow": "PIL"}
# Commands, a plugin of pytest, and what a test imports only where it is there.
UNSEEN = {"ruff", "snakefmt", "mypy", "codespell", "pytest-xdist", "mkdocs-material", "playwright"}
RUN = """
import contextlib, importlib.abc, io, json, sys
blocked, commands = json.loads(sys.argv[1])

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from vadistill.cli import main
made = []
for words in commands:
    sys.argv, out, err = ["vadistill", *words], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    made.append([code, err.getvalue()])
from vadistill.benchmark import speed  # what a benchmark is made of
print(json.dumps(made))
"""


def modules(requirements):
    names = [re.match(r"[\w.-]+", line)[0] for line in requirements]
    return {MODULES.get(name, name) for name in names}


def imported(*folders):
    """Return the top-level modules that the code of some folders imports, without the standard library and its own."""
    found = set()
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".smk")]
    own = {path.stem for path in files} | {path.name for folder in folders for path in (ROOT / folder).iterdir()}
    for path in files:
        tree = ast.parse(python_of(path))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - own - {"vadistill"}


def python_of(path):
    """Return the source of a Python file, or the import lines of a Snakefile, which is none."""
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".py" else "\n".join(re.findall(r"^(?:import|from) .*[^(]$", text, re.M))


def test_what_the_package_imports_is_what_its_dependencies_and_extras_hold():
    extras = PROJECT["optional-dependencies"]
    assert set(extras) == {"onnx", "openvino", "workflow", "dev"}
    runtimes = modules(extras["onnx"]) | modules(extras["openvino"])
    assert not runtimes & modules(PROJECT["dependencies"])
    assert imported("src") == modules(PROJECT["dependencies"]) | runtimes
    rest = imported("tests", "workflow") - imported("src")
    assert rest | UNSEEN == modules(extras["workflow"]) | modules(extras["dev"])


def test_every_optional_import_says_which_extra_brings_it():
    """Imports of extras stand in a block of ``extra(name)`` of an extra that holds them."""
    extras = {name: modules(lines) for name, lines in PROJECT["optional-dependencies"].items()}
    optional, found = extras["onnx"] | extras["openvino"], set()
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        covered = {}
        for block in (node for node in ast.walk(tree) if isinstance(node, ast.With)):
            call = block.items[0].context_expr
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "extra":
                covered |= {id(node): call.args[0].value for node in ast.walk(block)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                for name in {name.partition(".")[0] for name in names} & optional:
                    assert name in extras.get(covered.get(id(node)), ()), f"{path}: {name} outside of extra(...)"
                    found.add(name)
    assert found == optional


def test_a_missing_package_is_named_with_its_extra():
    with (
        pytest.raises(
            InputError, match=r"the package nothing_such is missing; install vadistill with its extra 'onnx' "
        ),
        extra("onnx"),
    ):
        importlib.import_module("nothing_such")
    with (
        pytest.raises(
            InputError, match=r"a package of the extra 'onnx' does not load \(libx\.so is missing\); install"
        ),
        extra("onnx"),
    ):
        raise ImportError("libx.so is missing")
    with pytest.raises(ZeroDivisionError), extra("onnx"):
        raise ZeroDivisionError


@pytest.mark.slow
def test_every_command_without_the_optional_packages(tmp_path):
    extras = PROJECT["optional-dependencies"]
    optional = sorted(set().union(*(modules(lines) for lines in extras.values())))
    write_student(tmp_path / "student.pt")
    (tmp_path / "graph.onnx").write_bytes(b"a graph")
    (tmp_path / "graph").mkdir()
    (tmp_path / "video.avi").write_bytes(b"no video")
    missing = (1, rf"error: {tmp_path}/out: missing.*\n")
    student, video, out = (str(tmp_path / name) for name in ("student.pt", "video.avi", "out"))

    def lacks(package, name):
        remedy = rf"install vadistill with its extra '{name}' \(in its folder: pip install '\.\[{name}\]'\)"
        return rf"error: the package {package} is missing; {remedy}\n"

    score = ("score", video, "--output", out, "--model")
    expected = {
        ("--help",): (0, ""),
        ("auc", "--scores", out, "--labels", out): missing,
        ("regions", "--tracks", out, "--detections", out, "--num-frames", "9"): missing,
        (*score, student): (1, r"(?s).*\nerror: .*video\.avi: [^\n]*\n"),
        (*score, student, "--backend", "onnx-fp32"): (1, lacks("onnxruntime", "onnx")),
        (*score, f"{tmp_path}/graph.onnx"): (1, lacks("onnxruntime", "onnx")),
        (*score, f"{tmp_path}/graph"): (1, lacks("openvino", "openvino")),
        ("export", student, f"{out}.onnx"): (1, lacks("onnx", "onnx")),
        ("export", student, out): (1, lacks("openvino", "openvino")),
        ("benchmark", f"{out}.json", "--backends", "fast"): (1, "error: backend 'fast': unknown; .*\n"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([optional, list(expected)])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for (words, (code, told)), (found, said) in zip(expected.items(), json.loads(done.stdout), strict=True):
        assert found == code and re.fullmatch(told, said), f"{words}: {found} {said}"
    assert not (tmp_path / "out.onnx").exists() and not (tmp_path / "out.json").exists()
