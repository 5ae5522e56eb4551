"""What the documents name exists: settings, files, rules, results, data sets, make targets, commands, options."""

import re
from dataclasses import fields
from importlib import import_module
from itertools import product
from pathlib import Path

import pytest
import typer
import yaml

from vadistill.cli import app
from vadistill.evaluation import documents
from vadistill.evaluation.protocols import DEFAULT, record
from vadistill.io.provenance import provenance
from vadistill.settings import DETECTORS, SECTIONS, TEACHERS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "resources").rglob("README.md")),
]
WATCH = {
    ROOT / "docs/watch.md",
    ROOT / "docs/watch-sinks.md",
}  # have other keys, held by tests/watch/test_watch_config.py
CONFIGS = [ROOT / "config.yaml", *sorted((ROOT / "workflow/presets").glob("*.yaml"))]
SETTINGS = {name: {entry.name for entry in fields(kind)} for name, kind in SECTIONS.items()}
KEYS = {
    *SETTINGS,
    *(key for keys in SETTINGS.values() for key in keys),
    *("layout", "path", "shards", "gpus", "variant_of", "trusted_weights"),
    *(key for path in (ROOT / "workflow/profiles").glob("*/config.yaml") for key in yaml.safe_load(path.read_text())),
}
DATASETS = {name for path in CONFIGS for name in yaml.safe_load(path.read_text()).get("datasets", {})}
RULE_TEXT = "\n".join(path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")])
RULES = set(re.findall(r"^rule (\w+):", RULE_TEXT, re.M))
RESULTS = {pattern.removesuffix("/") for pattern in re.findall(r'"(results/\{dataset\}/[^"]+)"', RULE_TEXT)}
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = {name for line in re.findall(r"^([a-z][a-z_ -]*):", MAKEFILE, re.M) for name in line.split()}
SUFFIXES = {
    *("csv", "h5", "html", "json", "md", "mp4", "npy"),
    *("onnx", "png", "pt", "py", "smk", "tsv", "txt", "yaml"),
}
WILDCARDS = {
    "split": "(train|synthetic|validation|test)",
    "who": "(teachers|student)",
    "teacher": f"({'|'.join(TEACHERS)})",
    "detector": f"({'|'.join(DETECTORS)}|mine)",  # the last one in the checklists
}
CODE = (".py", ".smk")
OTHERS = {"No space left on device"}  # messages of other programs
INDENTED = r"    (?!- )"  # of a block of code, and not of a list in a list
COMMANDS = typer.main.get_command(app).commands


def code_of(path):
    """Return what a page shows as code, a list of strings: spans between backticks, and blocks line by line.

    Of a config file these are the lines of its comments.
    """
    text = path.read_text()
    if path.suffix == ".yaml":
        return [line.strip(" #") for line in text.splitlines() if line.lstrip().startswith("#")]
    text = re.sub(r"\\\n", " ", text)
    fences = re.findall(r"^```\w+\n(.*?)^```$", text, re.M | re.S)
    text = re.sub(r"^```\w+\n.*?^```$", "", text, flags=re.M | re.S)
    lines = [line for line in text.splitlines() if not re.match(INDENTED, line)]
    code = [line for line in text.splitlines() if re.match(INDENTED, line)] + "\n".join(fences).splitlines()
    blocks = [re.sub(r"\s# .*|\s{3,}#.*", "", line).strip() for line in code]
    spans = re.findall(r"``.+?``|`([^`]+)`", "\n".join(lines))
    return [" ".join(span.split()) for span in spans if span] + blocks


def expanded(text):
    """Return a shell word with each {a,b} in it written out."""
    parts = re.split(r"\{([^{}]*,[^{}]*)\}", text)
    return ["".join(one) for one in product(*(part.split(",") if i % 2 else [part] for i, part in enumerate(parts)))]


def words(code):
    return [word for part in code.split() for word in expanded(part.strip("`'\"(),;").rstrip(".:/)`,"))]


def everywhere(pages):
    return [(path, code) for path in pages for code in code_of(path)]


def complain(found):
    assert not found, "\n".join(f"{path.relative_to(ROOT)}: {name}" for path, name in found)


def settings_named(code):
    """Yield the (section, key) that code names: section.key, section: {key: value}, and those in a data set's entry."""
    for name, key in re.findall(r"(?<![\w./-])([a-z_]+)\.([a-z_]+)(?![\w/(])", code):
        if name in SETTINGS and key not in SUFFIXES:
            yield name, key
    if match := re.search(r"\w+: \{.*\}", code):
        try:
            given = yaml.safe_load(match[0])
        except yaml.YAMLError:
            return
        entries = list(given.items())
        entries += [pair for _, value in given.items() if isinstance(value, dict) for pair in value.items()]
        for name, value in entries:
            if name in SETTINGS and isinstance(value, dict):
                yield from ((name, key) for key in value)


def known(name, key):
    return key in SETTINGS[name] or key in getattr(TEACHERS.get(name), "terms", ())


def test_every_setting_that_is_named_exists():
    named = [(path, pair) for path, code in everywhere([*{*PAGES} - WATCH, *CONFIGS]) for pair in settings_named(code)]
    assert len(named) > 30
    complain([(path, ".".join(pair)) for path, pair in named if not known(*pair)])


def test_every_key_with_a_value_is_a_setting():
    found = [
        (path, match[1])
        for path, code in everywhere({*PAGES} - WATCH)
        if (match := re.fullmatch(r"([a-z_]+): [\w.\[{].*", code))
    ]
    assert len(found) > 10
    complain([(path, key) for path, key in found if key not in KEYS | DATASETS | {"my_try"}])


def test_every_file_of_the_project_that_is_named_exists():
    found = [
        (path, word)
        for path, code in everywhere(PAGES + CONFIGS)
        for word in words(code)
        if re.match(r"(workflow|docs|src|tests|envs)/", word) and not re.search(r"[<>{}]", word)
    ]
    assert len(found) > 20
    complain([(path, name) for path, name in found if not list(ROOT.glob(name))])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = path.parent / name if name else path
        assert other.exists(), f"{path.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", other.read_text(), re.M)
            made = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in made, f"{path.name}: {target}"


def result_patterns():
    """Return a regular expression for what lies in a data set's folder: files of rules, and the folders they are in."""
    made = set()
    for pattern in RESULTS:
        folders = pattern.split("/")[2:]
        parts = [
            re.sub(r"\\{(\w+)\\}", lambda name: WILDCARDS.get(name[1], "[^/]+"), re.escape(one)) for one in folders
        ]
        made |= {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return re.compile("|".join(made))


def test_every_result_that_is_named_is_made_by_a_rule_for_a_known_data_set():
    patterns = result_patterns()
    assert patterns.fullmatch("teachers_test.csv") and not patterns.fullmatch("teacher_test.csv")
    found = [
        (path, match)
        for path, code in everywhere(PAGES + CONFIGS)
        for word in words(code)
        if (match := re.fullmatch(r"results/([^/]+)(?:/(.+))?", word))
    ]
    assert len(found) > 40
    others = {"demo_detector", "benchmarks", "..."}
    found = [(path, match) for path, match in found if match[1] not in others]
    complain([(path, match[0]) for path, match in found if match[1] not in DATASETS | {"<dataset>", "<name>"}])
    rest = [(path, match) for path, match in found if match[2] not in (None, "...")]
    complain([(path, match[0]) for path, match in rest if not patterns.fullmatch(without_placeholders(match[2]))])


def without_placeholders(name):
    """Return the name of a result that a page's placeholders may stand for; a model's metrics lie beside it."""
    name = name.removesuffix("/...").replace("<rule>", "detect_objects").replace(".metrics.jsonl", ".pt")
    return re.sub(r"<\w+>|\*", "0", name)


def test_every_variant_that_is_named_exists():
    found = [(path, code) for path, code in everywhere(PAGES) if re.fullmatch(r"(ped1|ucsd|demo|avenue)_\w+", code)]
    assert len(found) > 10
    complain([(path, name) for path, name in found if name not in DATASETS])


def test_every_rule_that_is_named_exists():
    verbs = {name.partition("_")[0] for name in RULES if "_" in name}
    names = {*RULES, *KEYS}
    found = [
        (path, code)
        for path, code in everywhere(PAGES)
        if re.fullmatch(r"[a-z]+(_[a-z]+)+", code) and code.partition("_")[0] in verbs
    ]
    assert len(found) > 30
    complain([(path, name) for path, name in found if name not in names])


def test_every_make_target_exists():
    found = [(path, name) for path, code in everywhere(PAGES) for name in re.findall(r"\bmake ([a-z][a-z-]*)\b", code)]
    assert {"demo", "test", "clean-student"} <= {name for _, name in found}
    complain([(path, f"make {name}") for path, name in found if name not in TARGETS])


def test_every_command_and_option_exists():
    found = [
        (path, match)
        for path, code in everywhere(PAGES)
        if (match := re.search(r"(?:^|/|-m )vadistill ([a-z]\w*)(.*?)(?:\s#.*)?$", code))
    ]
    assert len(found) > 8
    complain([(path, match[0]) for path, match in found if match[1] not in COMMANDS])
    for path, match in found:
        options = {name for part in COMMANDS[match[1]].params for name in part.opts}
        complain([(path, match[0]) for name in re.findall(r"(?<!\S)--[a-z-]+", match[2]) if name not in options])


def test_every_module_that_is_run_exists():
    found = [
        (path, name) for path, code in everywhere(PAGES) for name in re.findall(r"python -m ([a-z_]+(?:\.\w+)*)", code)
    ]
    assert len(found) > 3
    for path, name in found:
        place = name.replace(".", "/")
        made = [ROOT / base / f"{place}{end}" for base in ("src", "tests") for end in (".py", "/__main__.py")]
        complain([] if name in ("pip", "pytest") or any(file.exists() for file in made) else [(path, name)])


def test_outputs_has_every_result_of_the_rules():
    page = (ROOT / "docs/outputs.md").read_text()
    known = {re.sub(r"\{(\w+)\}", r"<\1>", pattern.removeprefix("results/{dataset}/")) for pattern in RESULTS}
    known = {name for name in known if not re.match("logs/|benchmarks/|[^/]+/scores/(train|validation|test)", name)}
    assert {"auc.json", "frames/<split>/<clip>.h5", "pictures"} <= known
    assert not {name for name in known if f"`{name}`" not in page}


def test_outputs_has_the_keys_of_the_results():
    """After a change of a key: make settings."""
    page = (ROOT / "docs/outputs.md").read_text()
    assert documents.with_tables(page) == page
    assert all(f"\n| `{entry.name}` | " in page for kind in documents.RECORDS for entry in fields(kind))


def test_outputs_has_the_keys_of_what_is_no_record():
    page = (ROOT / "docs/outputs.md").read_text()
    known = provenance({"detection": {"weights": ""}}, {"weights_sha256": ""}, {})
    parts = [protocol := record(DEFAULT, 1.0), protocol["smoothing"], known, known["detector"]]
    assert not {key for part in parts for key in part if f"`{key}`" not in page}


def test_messages_in_troubleshooting_are_those_of_the_code():
    sources = [path for place in ("src", "workflow") for path in (ROOT / place).rglob("*") if path.suffix in CODE]
    code = re.sub(r'"\s*f?"', "", "\n".join(path.read_text() for path in sources) + MAKEFILE)
    text = (ROOT / "docs/troubleshooting.md").read_text()
    said = [span for cell in re.findall(r"^\| (.*?) \|", text, re.M) for span in re.findall(r"`([^`]+ [^`]+)`", cell)]
    assert len(said) > 15
    pieces = [(span, piece.strip(" ;")) for span in said if span not in OTHERS for piece in span.split("...")]
    assert not [span for span, piece in pieces if piece not in code]


def test_what_pages_import_is_there():
    found = [
        (path, *pair)
        for path in PAGES
        for pair in re.findall(r"from (vadistill[\w.]*) import (\w+)", path.read_text(encoding="utf-8"))
    ]
    assert found
    complain([(path, f"{module}.{name}") for path, module, name in found if not hasattr(import_module(module), name)])
