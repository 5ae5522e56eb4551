"""The trials that are run by hand are up to date."""

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
