"""Write the pins of requirements.txt into vadistill.yaml, where they are the last entry: ``make pins``."""

from pathlib import Path

ENVS = Path(__file__).parent


def with_pins(conda: str, requirements: str) -> str:
    """Return the text of the conda environment with the pins of the list for pip in place of its own."""
    pins = [line for line in requirements.splitlines() if line.strip() and not line.startswith("#")]
    head, pip, _ = conda.partition("  - pip:\n")
    return head + pip + "".join(f"      - {pin}\n" for pin in pins)


if __name__ == "__main__":
    target = ENVS / "vadistill.yaml"
    requirements = (ENVS / "requirements.txt").read_text(encoding="utf-8")
    target.write_text(with_pins(target.read_text(encoding="utf-8"), requirements), encoding="utf-8")
