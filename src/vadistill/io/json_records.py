"""Typed content of JSON files: a dataclass whose fields are the file's keys, each with a sentence for people."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, get_args, get_origin, get_type_hints

from vadistill.errors import InputError
from vadistill.io.files import read_json

ABSENT: Any = ...
"""Value of a field whose key the file does not have; null says something else."""


def key(text: str) -> Any:
    """Return a dataclass field for a key, with its description in Markdown."""
    return field(metadata={"text": text})


def optional(text: str) -> Any:
    """Return a field for a key that some files do not have; it is ``ABSENT`` there."""
    return field(default=ABSENT, metadata={"text": text})


def later(text: str, empty: Callable[[], Any]) -> Any:
    """Return a field for a key that files of older versions lack, where it is what ``empty`` returns."""
    return field(default_factory=empty, metadata={"text": text})


@dataclass(frozen=True, kw_only=True)
class JsonRecord:
    """What a JSON object holds; its fields, in their order, are the keys."""

    @classmethod
    def of(cls, content: Mapping[str, Any], source: str | Path) -> Self:
        """Return the record of a JSON object, in which records lie within records as their types say.

        Args:
            content: The object; keys that are no fields are left out.
            source: Where it is from, for the error.

        Raises:
            InputError: It, or an object in it, lacks keys.
        """
        needed = [entry.name for entry in fields(cls) if entry.default is entry.default_factory is MISSING]
        if missing := [name for name in needed if name not in content]:
            raise InputError(f"{source}: no key {', '.join(missing)}; expected all that this version writes")
        kinds = {name: kind for name, kind in get_type_hints(cls).items() if name in content}
        return cls(**{name: _typed(kind, content[name], f"{source}, {name}") for name, kind in kinds.items()})

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a record from a JSON file.

        Raises:
            InputError: The file is missing, no JSON object, or lacks keys.
        """
        return _typed(cls, read_json(path), str(path))

    def content(self) -> dict[str, Any]:
        """Return the JSON object."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: _plain(value) for name, value in values.items() if value is not ABSENT}


def table(kind: type[JsonRecord]) -> str:
    """Return the keys of a record as a Markdown table."""
    rows = [f"| `{entry.name}` | {entry.metadata['text']} |\n" for entry in fields(kind)]
    return f"| key | what it holds |\n|---|---|\n{''.join(rows)}"


def _typed(kind: Any, value: Any, source: str) -> Any:
    """Return a value of JSON with its objects as records, where its type says so."""
    is_record = isinstance(kind, type) and issubclass(kind, JsonRecord)
    if not is_record and get_origin(kind) is not dict:
        return value
    if not isinstance(value, dict):
        raise InputError(f"{source}: no JSON object; expected one")
    if is_record:
        return kind.of(value, source)
    _, kind_of_parts = get_args(kind)
    return {name: _typed(kind_of_parts, part, f"{source}, {name}") for name, part in value.items()}


def _plain(value: Any) -> Any:
    """Return a field's value as it is written."""
    if isinstance(value, JsonRecord):
        return value.content()
    return {name: _plain(part) for name, part in value.items()} if isinstance(value, dict) else value
