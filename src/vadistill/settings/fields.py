"""Fields of settings: a default, a sentence for people, and keywords of the JSON schema."""

from dataclasses import field
from typing import Any


def option(default: Any, text: str, **schema: Any) -> Any:
    """Return a dataclass field with its description and JSON schema keywords."""
    return field(default=default, metadata={"text": text, "schema": schema})


def later(default: Any, text: str, **schema: Any) -> Any:
    """Return a field added later: left out of a stage's settings at its default, so that old results stay valid."""
    return field(default=default, metadata={"text": text, "schema": schema, "later": True})


def number(default: float, text: str, low: float = 0, high: float | None = None) -> Any:
    """Return a field for a number within [low, high]."""
    return option(default, text, minimum=low, **({} if high is None else {"maximum": high}))


def path(default: str, text: str) -> Any:
    """Return a field for a path, in which ``~`` and environment variables are replaced."""
    return field(default=default, metadata={"text": text, "schema": {}, "path": True})


def interval(default: tuple[float, float], text: str, low: float) -> Any:
    """Return a field for two numbers, neither below ``low``."""
    return option(default, text, minItems=2, maxItems=2, items={"minimum": low})
