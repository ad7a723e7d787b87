"""The house's plan, checked on its source: which room may import which, and how large a room may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SMCA = Path(__file__).parents[1] / "smca"
FILES = sorted(SMCA.rglob("*.py"))

GROUND = {"errors", "sizes", "files", "machine", "progress", "detections", "telemetry"}
BELOW = {
    **dict.fromkeys(GROUND, GROUND),
    "criterion": {"errors"},
    "modeling": GROUND | {"criterion"},
    "data": GROUND,
    "visualization": GROUND,
    "comparison.peers": GROUND | {"criterion", "modeling"},
    "inference": GROUND | {"modeling", "comparison.peers", "data", "visualization"},
    "interchange": GROUND | {"modeling", "inference"},
    "evaluation": GROUND | {"modeling", "data", "visualization", "inference"},
}
BELOW["training"] = (set(BELOW) | GROUND) - {"benchmark"}
BELOW["comparison"] = set(BELOW) | GROUND
BELOW["benchmark"] = (set(BELOW) | GROUND) - {"interchange", "comparison"}
BELOW["deployment"] = GROUND | {"modeling", "data", "visualization", "inference", "evaluation"}
HIGHEST = {"quickstart", "doctor", "cli", "__main__", "__init__"}

# Methods of a lower room that open a higher one when called: model.predict and detections.draw.
DOORS = {
    ("modeling/detector.py", "inference"),
    ("comparison/peers/model.py", "inference"),
    ("detections.py", "visualization"),
}


def room_of(file: Path) -> str:
    return _room(file.relative_to(SMCA).with_suffix("").parts)


def _room(parts: tuple[str, ...]) -> str:
    """Peers are models, and lie below the comparison that trains them."""
    return "comparison.peers" if parts[:2] == ("comparison", "peers") else parts[0]


def rooms_imported(node: ast.AST) -> set[str]:
    """Rooms of smca that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module == "smca":
        names = [f"smca.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module]
    else:
        names = []
    return {_room(tuple(name.split(".")[1:])) for name in names if name.startswith("smca.")}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements that run; what only a type checker reads is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from statements(child)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SMCA)))
def test_imports_go_one_way(file: Path) -> None:
    room = room_of(file)
    imported = set().union(*map(rooms_imported, statements(ast.parse(file.read_text()))))
    doors = {target for source, target in DOORS if source == str(file.relative_to(SMCA))}
    if room in HIGHEST:
        assert "cli" not in imported or room in {"cli", "__main__"}
    else:
        assert room in BELOW, f"the new room {room} needs its place in the plan"
        assert imported <= BELOW[room] | {room} | doors


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SMCA)))
def test_no_import_is_relative(file: Path) -> None:
    imports = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom))
    assert all(node.level == 0 for node in imports)


def test_the_plan_has_no_circle() -> None:
    def reach(room: str, seen: frozenset[str]) -> None:
        for lower in BELOW[room] - GROUND:
            assert lower not in seen
            reach(lower, seen | {lower})

    for room in BELOW:
        reach(room, frozenset({room}))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SMCA)))
def test_files_and_functions_stay_small_and_described(file: Path) -> None:
    text = file.read_text()
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert len(text.splitlines()) <= 350
    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno > 35] == []
    assert ast.get_docstring(tree) or not text


def test_every_package_has_tests_that_mirror_it() -> None:
    packages = {file.parent.name for file in SMCA.glob("*/__init__.py")}
    assert {name for name in packages if not list((Path(__file__).parent / name).rglob("test_*.py"))} == set()
