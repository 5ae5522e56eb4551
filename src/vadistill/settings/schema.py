"""The JSON schema of config.yaml, generated from the settings classes.

Its written form is workflow/schemas/config.schema.json.
"""

import types
import typing
from dataclasses import MISSING, fields
from typing import Any

from vadistill.settings import LAYOUTS, SECTIONS

END = r"$(?!\n)"  # Python's $ also stands before a last line break


def _type_schema(kind: Any) -> dict[str, Any]:
    if typing.get_origin(kind) is tuple:
        return {"type": "array", "items": _type_schema(typing.get_args(kind)[0])}
    if typing.get_origin(kind) is typing.Literal:
        known = typing.get_args(kind)
        return {**_type_schema(type(known[0])), "enum": list(known)}
    return {"type": {int: "integer", float: "number", bool: "boolean", str: "string"}[kind]}


def _section_schema(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    properties = {}
    for entry in fields(kind):
        assert entry.default is not MISSING and not isinstance(hints[entry.name], types.UnionType)
        made = _type_schema(hints[entry.name])
        extra = dict(entry.metadata["schema"])
        if "items" in extra:
            extra["items"] = {**made["items"], **extra["items"]}
        default = list(entry.default) if isinstance(entry.default, tuple) else entry.default
        properties[entry.name] = {**made, **extra, "default": default, "description": entry.metadata["text"]}
    return {
        "type": "object",
        "description": (kind.__doc__ or "").splitlines()[0],
        "properties": properties,
        "additionalProperties": False,
    }


def schema() -> dict[str, Any]:
    """Return the JSON schema of config.yaml; workflow/schemas/config.schema.json is its written form."""
    sections = {name: {"$ref": f"#/$defs/{name}"} for name in SECTIONS}
    shards = {"type": "integer", "minimum": 1, "description": "jobs that detection, scoring and maps fan out to"}
    gpus = {"type": "integer", "minimum": 1, "description": "of one machine that share the batches of a training"}
    dataset = {
        "type": "object",
        "properties": {
            "variant_of": {"type": "string", "description": "data set whose settings and results this one shares"},
            "layout": {"enum": list(LAYOUTS), "description": "how the folder is laid out"},
            "path": {"type": "string", "description": "folder of the data set"},
            "shards": shards,
            **sections,
        },
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config.yaml of vadistill",
        "type": "object",
        "$defs": {name: _section_schema(kind) for name, kind in SECTIONS.items()},
        "properties": {
            "shards": {**shards, "default": 16},
            "gpus": {**gpus, "default": 1},
            **sections,
            "trusted_weights": {
                "type": "object",
                "description": "SHA-256, by name, of detector weights that may run code when they are loaded",
                "additionalProperties": {
                    "type": "string",
                    "pattern": f"^[0-9a-f]{{64}}{END}",
                    "description": "64 digits from 0 to f, what sha256sum prints",
                },
            },
            "datasets": {
                "type": "object",
                "propertyNames": {
                    "pattern": rf"^\w[\w.-]*{END}",
                    "maxLength": 100,
                    "description": "letters, digits, '_', '.' and '-', the first one a letter, a digit or '_'",
                },
                "additionalProperties": dataset,
            },
        },
        "required": ["datasets"],
        "additionalProperties": False,
    }
