from dataclasses import dataclass

import pytest

from vadistill.errors import InputError
from vadistill.io.files import write_json
from vadistill.io.json_records import ABSENT, JsonRecord, key, later, optional, table


@dataclass(frozen=True, kw_only=True)
class Part(JsonRecord):
    number: float | None = key("a *number*")


@dataclass(frozen=True, kw_only=True)
class Whole(JsonRecord):
    note: str | None = optional("a note")
    parts: dict[str, Part] = key("by name")
    first: Part = optional("one of them")
    settings: dict[str, dict[str, int]] = key("of it")
    warnings: list[str] = later("of it", list)


def test_content_is_written_in_the_order_of_the_fields_and_read_back(tmp_path):
    whole = Whole(settings={"a": {"b": 1}}, parts={"one": Part(number=None)}, first=Part(number=2.0))
    content = whole.content()
    assert content == {
        "parts": {"one": {"number": None}},
        "first": {"number": 2.0},
        "settings": {"a": {"b": 1}},
        "warnings": [],
    }
    assert list(content) == ["parts", "first", "settings", "warnings"]
    del content["warnings"]
    write_json(tmp_path / "whole.json", content | {"of another version": 1})
    assert Whole.read(tmp_path / "whole.json") == whole
    assert whole.note is ABSENT and Whole.of(content | {"note": None}, "").note is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, r"whole\.json: no key parts, settings; expected all"),
        ({"parts": {"one": {}}, "settings": {}}, r"whole\.json, parts, one: no key number; expected all"),
        ({"parts": {"one": 3}, "settings": {}}, r"whole\.json, parts, one: no JSON object"),
        ({"parts": [], "settings": {}}, r"whole\.json, parts: no JSON object"),
        ([], r"whole\.json: no JSON object"),
    ],
)
def test_what_lacks_keys_is_refused_in_one_line(tmp_path, content, told):
    write_json(tmp_path / "whole.json", content)
    with pytest.raises(InputError, match=told):
        Whole.read(tmp_path / "whole.json")


def test_table():
    assert table(Part) == "| key | what it holds |\n|---|---|\n| `number` | a *number* |\n"
