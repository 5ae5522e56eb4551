"""``~`` and environment variables in the paths of a config."""

import os
import re
from typing import Any

from vadistill.errors import InputError
from vadistill.settings.sections import PATHS

VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def expand_paths(config: dict[str, Any]) -> None:
    """Replace ``~`` and environment variables in the paths of a config, in place; other paths stay as they are."""
    for place, values in (("", config), *((f"datasets.{name}.", one) for name, one in config["datasets"].items())):
        for name, key in PATHS:
            if key in values.get(name, {}):
                values[name][key] = _expanded(values[name][key], f"{place}{name}.{key}")
        if place and "path" in values:
            values["path"] = _expanded(values["path"], f"{place}path")


def _expanded(path: str, place: str) -> str:
    for found in VARIABLE.finditer(path):
        if (found[1] or found[2]) not in os.environ:
            raise _undefined(path, place, found[0])
    expanded = os.path.expanduser(VARIABLE.sub(lambda found: os.environ[found[1] or found[2]], path))
    if path.startswith("~") and expanded == path:
        raise _undefined(path, place, path.partition("/")[0])
    return expanded


def _undefined(path: str, place: str, name: str) -> InputError:
    return InputError(f"config: {place} is '{path}'; {name} is not defined; define it, or write the path in full")
