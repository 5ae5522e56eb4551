"""envs/requirements.txt is the one list of pins; the other lists follow from it."""

import re
import runpy
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"
REQUIREMENTS = (ENVS / "requirements.txt").read_text(encoding="utf-8")
PINS = [line for line in REQUIREMENTS.splitlines() if line.strip() and not line.startswith("#")]


def test_every_package_is_pinned_once():
    names = [pin.partition("==")[0].lower() for pin in PINS]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in PINS) and len(set(names)) == len(names)


def test_conda_has_the_pins_of_pip():
    conda = (ENVS / "vadistill.yaml").read_text(encoding="utf-8")
    assert conda == runpy.run_path(str(ENVS / "pins.py"))["with_pins"](conda, REQUIREMENTS), "expected: make pins"
    (pip,) = (entry["pip"] for entry in yaml.safe_load(conda)["dependencies"] if isinstance(entry, dict))
    assert pip == PINS


def test_what_pyproject_names_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    assert {re.match(r"[\w.-]+", line)[0] for line in named} <= {pin.partition("==")[0] for pin in PINS}
