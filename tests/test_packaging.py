"""What pyproject.toml says of packages is what the code imports, and what needs an extra says so."""

import ast
import importlib
import re
import sys

import pytest
from packages import BASE, EXTRAS, ROOT, modules

from vadistill.errors import InputError
from vadistill.extras import extra

# Commands, a plugin of pytest, and what a test imports only where it is there.
UNSEEN = {"ruff", "snakefmt", "mypy", "codespell", "pytest-xdist", "mkdocs-material", "playwright"}
DOORS = ("cli", "inference.detector", "inference.score_table", "inference.onnx_backend")


def imported(*folders):
    """Return the top-level modules that the code of some folders imports, without the standard library and its own."""
    found = set()
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".smk")]
    own = {path.stem for path in files} | {path.name for folder in folders for path in (ROOT / folder).iterdir()}
    for path in files:
        for node in ast.walk(ast.parse(python_of(path))):
            found |= {name.partition(".")[0] for name in named(node)}
    return found - set(sys.stdlib_module_names) - own - {"vadistill"}


def named(node):
    """Return the modules that a node of code imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []


def python_of(path):
    """Return the source of a Python file, or the import lines of a Snakefile, which is none."""
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".py" else "\n".join(re.findall(r"^(?:import|from) .*[^(]$", text, re.M))


def test_what_the_package_imports_is_what_its_dependencies_and_extras_hold():
    assert set(EXTRAS) == {"opencv", "openvino", "parquet", "watch", "train", "dev"}
    assert set(EXTRAS["opencv"] + EXTRAS["openvino"] + EXTRAS["parquet"]) < set(EXTRAS["train"])
    base, more = modules(BASE), modules(EXTRAS["train"] + EXTRAS["watch"])
    assert not base & more
    assert imported("src") == (base | more) - {"snakemake"}
    rest = imported("tests", "workflow") - imported("src") - {"gi"}  # Debian's, of an RTSP server
    assert rest | UNSEEN == modules(EXTRAS["dev"]) | {"snakemake"}


def test_what_only_scores_imports_nothing_of_the_extras_on_its_way():
    """Followed through the imports at the top of the modules; OpenCV is taken where it is there."""
    waiting, seen, outside = [f"vadistill.{door}" for door in DOORS], set(), set()
    while waiting:
        module = waiting.pop()
        path = ROOT / "src" / module.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module in seen or not path.exists():
            continue
        seen.add(module)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in named(node):
                if not name.startswith("vadistill"):
                    outside.add(name.partition(".")[0])
                else:
                    waiting += [name, *(f"{name}.{alias.name}" for alias in node.names)]
    assert "vadistill.io.resize" in seen
    assert outside - set(sys.stdlib_module_names) == modules(BASE)


def test_every_runtime_and_exporter_says_which_extra_brings_it():
    """Their imports stand in a block of ``extra(name)`` of an extra that holds them."""
    extras = {name: modules(lines) for name, lines in EXTRAS.items()}
    optional, found = {"openvino", "nncf", "onnx", "onnxscript"}, set()
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        covered = {}
        for block in (node for node in ast.walk(tree) if isinstance(node, ast.With)):
            call = block.items[0].context_expr
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "extra":
                covered |= {id(node): call.args[0].value for node in ast.walk(block)}
        for node in ast.walk(tree):
            for name in {name.partition(".")[0] for name in named(node)} & optional:
                assert name in extras.get(covered.get(id(node)), ()), f"{path}: {name} outside of extra(...)"
                found.add(name)
    assert found == optional


def test_a_missing_package_is_named_with_its_extra():
    missing = r"the package nothing_such is missing; install vadistill with its extra 'train' "
    with pytest.raises(InputError, match=missing), extra("train"):
        importlib.import_module("nothing_such")
    broken = r"a package of the extra 'train' does not load \(libx\.so is missing\); install"
    with pytest.raises(InputError, match=broken), extra("train"):
        raise ImportError("libx.so is missing")
    with pytest.raises(ZeroDivisionError), extra("train"):
        raise ZeroDivisionError
