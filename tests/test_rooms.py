"""The rooms of the package: a room imports only from rooms below it, and no modules import each other in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src/vadistill"
FLOORS = (
    {"errors", "processors", "quiet"},
    {"extras"},
    {"geometry"},
    {"settings", "io"},
    {"datasets", "maps", "training"},
    {"detection", "evaluation"},
    {"windows"},
    {"teachers", "student", "sdmae"},
    {"frame_level"},
    {"inference", "report"},
    {"benchmark", "watch"},
    {"stages", "cli"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports(module):
    """The modules of the package that a module imports, anywhere in its code."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vadistill"):
            found |= {
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in MODULES else node.module for a in node.names
            }
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name in MODULES}
    return found - {module}


def room(module):
    return module.split(".")[1]


INSIDE = sorted(module for module in MODULES if module not in ("vadistill", "vadistill.__main__"))


def test_every_room_has_a_floor():
    assert {room(module) for module in INSIDE} == FLOOR_OF.keys()


@pytest.mark.parametrize("name", sorted(FLOOR_OF))
def test_a_room_imports_only_from_rooms_below_it(name):
    """Of the package's top, only the version."""
    upward = {
        f"{module} -> {other}"
        for module in INSIDE
        if room(module) == name
        for other in imports(module) - {"vadistill"}
        if room(other) != name and FLOOR_OF[room(other)] >= FLOOR_OF[name]
    }
    assert not upward


def test_no_circle():
    """Within a room, too; raises CycleError, which names the modules."""
    list(TopologicalSorter({module: imports(module) for module in MODULES}).static_order())
