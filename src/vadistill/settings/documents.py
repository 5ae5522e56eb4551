"""What is written from the typed settings: ``python -m vadistill.settings.documents`` (``make settings``).

The block of defaults in config.yaml, the JSON schema by which editors and the workflow check it, and the page of all
settings. None of them is edited by hand.
"""

import json
import sys
from pathlib import Path
from typing import Any

from vadistill.settings.schema import schema

START, END = "# Defaults, written by `make settings`:\n", "# End of the defaults.\n"
ELSEWHERE = ("demo",)  # sections that only a data set has
WHOLE = ("shards", "gpus")  # settings of no section
PAGE = """# Settings

Written from the typed settings by `make settings`. Every section but `demo` stands in config.yaml with its defaults; a
data set under `datasets` may override any of them.
"""


def defaults() -> str:
    """Return the sections of config.yaml with their defaults, as YAML."""
    described = schema()
    whole = {name: described["properties"][name] for name in WHOLE}
    blocks = ["".join(f"{name}: {entry['default']}  # {entry['description']}\n" for name, entry in whole.items())]
    for name, section in described["$defs"].items():
        if name not in ELSEWHERE:
            lines = [f"  {key}: {_yaml(entry['default'])}\n" for key, entry in section["properties"].items()]
            blocks.append("".join([f"{name}:\n", *lines]))
    return "\n".join(blocks)


def with_defaults(config: str) -> str:
    """Return the text of config.yaml with its block of defaults written anew."""
    before, _, rest = config.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{defaults()}\n{END}{after}"


def page() -> str:
    """Return the page of all settings, in Markdown: one table a section."""
    described = schema()
    whole = _table({name: described["properties"][name] for name in WHOLE})
    parts = [PAGE, f"## Of no section\n\n`shards` a data set may override, `gpus` not.\n\n{whole}"]
    for name, section in described["$defs"].items():
        parts.append(f"## {name}\n\n{section['description']}\n\n{_table(section['properties'])}")
    return "\n".join(parts)


def _table(entries: dict[str, Any]) -> str:
    """Return a table of settings, given their schemas by name."""
    rows = [
        f"| `{key}` | {_values(entry)} | `{_yaml(entry['default'])}` | {entry['description']} |\n"
        for key, entry in entries.items()
    ]
    return "| key | values | default | meaning |\n|---|---|---|---|\n" + "".join(rows)


def _yaml(value: Any) -> str:
    """Return a default as YAML 1.1 reads it back: numbers below 0.01 as 1.0e-3."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, float) and 0 < abs(value) < 0.01:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return json.dumps(value)


def _values(entry: dict[str, Any]) -> str:
    """Return in words what a setting may be."""
    if entry["type"] == "array":
        return f"list of: {_values(entry['items'])}"
    if "enum" in entry:
        return ", ".join(f"`{_yaml(value)}`" for value in entry["enum"])
    kind = {"boolean": "true or false", "string": "text"}.get(entry["type"], entry["type"])
    low, high = entry.get("minimum"), entry.get("maximum")
    if low is None:
        return kind
    return f"{kind}, {low:g} to {high:g}" if high is not None else f"{kind}, at least {low:g}"


def main(root: Path) -> None:
    """Write all three below the root of a checkout."""
    config = root / "config.yaml"
    config.write_text(with_defaults(config.read_text(encoding="utf-8")), encoding="utf-8")
    written = json.dumps(schema(), indent=2) + "\n"
    (root / "workflow/schemas/config.schema.json").write_text(written, encoding="utf-8")
    (root / "docs/settings.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
