"""The trials that are run by hand are up to date."""

import ast
from importlib import import_module
from pathlib import Path

import pytest
import yaml

TESTS = Path(__file__).parent
FAULTS = yaml.safe_load((TESTS / "trials/mutants.yaml").read_text())


@pytest.mark.parametrize("fault", FAULTS, ids=[fault["name"] for fault in FAULTS])
def test_a_planted_fault_still_has_its_place(fault):
    text = (TESTS.parent / "src/vadistill" / fault["file"]).read_text()
    assert text.count(fault["old"]) == 1 and fault["new"] != fault["old"]
    assert all((TESTS / name).is_file() for name in fault["tests"].split() if name.endswith(".py"))


@pytest.mark.parametrize("path", sorted([*TESTS.glob("benchmarks/*.py"), *TESTS.glob("trials/**/*.py")]), ids=str)
def test_what_is_imported_by_hand_is_there(path):
    """Benchmarks and trials do not run among the tests."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vadistill"):
            module = import_module(node.module)
            for name in (alias.name for alias in node.names):
                assert hasattr(module, name) or import_module(f"{node.module}.{name}")
