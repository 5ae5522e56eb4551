"""The reference has every key with its default, and addresses are shown without what is secret."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from vadistill.errors import InputError
from vadistill.watch import config
from vadistill.watch.config import Rtsp, WatchConfig, address_of, masked, read_config

REFERENCE = Path(__file__).parents[2] / "docs/watch-reference.yaml"


def sections():
    return {
        kind for kind in vars(config).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in (BaseModel, config.Section)
    }  # fmt: skip


def keys_of(content):
    if isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from keys_of(value)
    elif isinstance(content, list):
        for value in content:
            yield from keys_of(value)


@pytest.fixture
def secrets(monkeypatch):
    for name in set(re.findall(r"\$\{([A-Z_]+)\}", REFERENCE.read_text())) - {"NAME"}:
        monkeypatch.setenv(name, f"secret-of-{name}-123")
    monkeypatch.setenv("NAME", "x")


def test_the_reference_is_a_good_file_with_every_key_and_its_default(secrets):
    made, text = read_config(REFERENCE), yaml.safe_load(REFERENCE.read_text())
    known = set(keys_of(text))
    for section in sections():
        for name, field in section.model_fields.items():
            assert (field.alias or name) in known, f"{section.__name__}.{name}"
    assert {sink.kind for sink in made.sinks} == {"json_lines", "webhook", "mqtt", "frigate"}
    assert {camera.source.kind for camera in made.cameras.values()} == {"rtsp", "http", "file", "device", "stdin"}
    plain = WatchConfig.model_validate({"cameras": {"a": {"source": {"kind": "file", "path": "x"}}}})
    for name in ("model", "backend", "batch", "storage", "web"):
        assert getattr(made, name) == getattr(plain, name)
    yard, usual = made.cameras["yard"], plain.cameras["a"]
    for name in ("model", "rate", "false_alarms_per_day", "threshold", "pre_roll", "post_roll", "longest_clip"):
        assert getattr(yard, name) == getattr(usual, name)
    assert "secret-of" not in repr(made) and yard.source.url.get_secret_value().startswith("rtsp://user:secret-of-YARD")


def test_examples_of_the_documents_are_good_files(tmp_path, secrets, monkeypatch):
    monkeypatch.setenv("YARD_PASSWORD", "x")
    count = 0
    for page in ("watch.md", "watch-sinks.md"):
        for text in re.findall(r"```yaml\n(.*?)```", (REFERENCE.parent / page).read_text(), re.S):
            content = yaml.safe_load(text)
            if "services" in content:  # of another program
                continue
            content.setdefault("cameras", {"a": {"source": {"kind": "file", "path": "x"}}})
            (tmp_path / "cameras.yaml").write_text(yaml.safe_dump(content))
            read_config(tmp_path / "cameras.yaml")
            count += 1
    assert count >= 5


def test_every_key_says_what_it_is():
    silent = {
        f"{section.__name__}.{name}"
        for section in sections()
        for name, field in section.model_fields.items()
        if name != "kind" and not field.description
    }
    assert silent == set()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:p@10.0.0.1:554/a?b=c", "rtsp://***@10.0.0.1:554/a?***"),
        ("rtsp://10.0.0.1/a", "rtsp://10.0.0.1/a"),
        ("http://u:p%40@[::1]:80/a#x", "http://***@[::1]:80/a"),
        ("http://u:p@x:y@host/", "http://***@host/"),
        ("http://[broken", "***"),
    ],
)
def test_addresses_are_shown_without_secrets(url, shown):
    assert masked(url) == shown
    if url.startswith("rtsp"):
        assert address_of(Rtsp(kind="rtsp", url=url)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "since: 2026-99-99", "a: !!int foo", "a: !!timestamp foo", f"a: {'9' * 5000}", "[" * 3000, "a: &b [*b]",
        "a: !!python/object:os.system {}", "? [a, b]\n: c", "a: !!binary ====", "\x00", "a: b: c", "a: *none",
    ],
)  # fmt: skip
def test_what_yaml_cannot_read_is_one_line(tmp_path, text):
    path = tmp_path / "cameras.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"cameras\.yaml: ") as told:
        read_config(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("key", ["gigabytes", "days"])
@pytest.mark.parametrize("value", [".inf", ".nan"])
def test_numbers_are_finite(tmp_path, key, value):
    path = tmp_path / "cameras.yaml"
    path.write_text(f"cameras: {{a: {{source: {{kind: file, path: x}}}}}}\nstorage: {{{key}: {value}}}")
    with pytest.raises(InputError, match=rf"storage\.{key}: .*finite"):
        read_config(path)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:2024/Secret@192.168.1.20/stream", "rtsp://admin:12#Secret@h/s", "rtsp://admin:1?Secret@h/s",
        "rtsp://h/s#Secret", "http://u:9/Secret@h/a.mjpg",
    ],
)  # fmt: skip
def test_a_password_that_is_not_encoded_is_refused_and_never_shown(tmp_path, url):
    path = tmp_path / "cameras.yaml"
    path.write_text(f"cameras: {{a: {{source: {{kind: {url[:4]}, url: '{url}'}}}}}}")
    with pytest.raises(InputError, match="expected an address that begins with") as told:
        read_config(path)
    assert "Secret" not in str(told.value) and "Secret" not in masked(url)
