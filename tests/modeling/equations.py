"""docs/equations.md names places as `file:line` (`name`); this finds their lines. Run it to write them anew:

python -m tests.modeling.equations
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "equations.md"
PLACE = re.compile(r"`(?P<file>[\w/]+\.py):(?P<line>\d+)` \(`(?P<name>[\w.]+)`\)")


def line_of(file: str, name: str) -> int:
    """Line of a function, class or method "Class.method" in a file of the project; LookupError without it."""
    body: list[ast.stmt] = ast.parse((ROOT / file).read_text()).body
    line = 0
    for part in name.split("."):
        found = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part]
        if not found:
            raise LookupError(f"{file} has no {name}")
        body, line = found[0].body, found[0].lineno
    return line


def refreshed(table: str) -> str:
    """The table with the lines as they are now."""

    def place(found: re.Match[str]) -> str:
        return f"`{found['file']}:{line_of(found['file'], found['name'])}` (`{found['name']}`)"

    return PLACE.sub(place, table)


if __name__ == "__main__":
    TABLE.write_text(refreshed(TABLE.read_text()))
