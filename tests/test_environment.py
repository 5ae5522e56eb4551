from pathlib import Path

import yaml

ENVS = Path(__file__).parents[1] / "envs"


def test_pip_and_conda_pin_the_same_packages():
    lines = (ENVS / "requirements.txt").read_text().splitlines()
    pins = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    conda = yaml.safe_load((ENVS / "vadistill.yaml").read_text())["dependencies"]
    assert next(entry["pip"] for entry in conda if isinstance(entry, dict)) == pins
    assert all("==" in pin for pin in pins)
