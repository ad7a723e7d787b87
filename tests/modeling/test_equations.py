"""The table of equations names what exists, where it is, and leaves no equation out."""

from __future__ import annotations

import re

import pytest

from tests.modeling.equations import PLACE, TABLE, refreshed


@pytest.fixture(scope="module")
def table() -> str:
    return TABLE.read_text()


def test_every_place_named_exists(table: str) -> None:
    assert len(PLACE.findall(table)) > 30
    assert refreshed(table)


def test_every_line_is_up_to_date(table: str) -> None:
    assert table == refreshed(table), "run: python -m tests.modeling.equations"


def test_every_equation_has_code_and_a_test(table: str) -> None:
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if re.match(r"\| E\d", line)]
    assert {row[0] for row in rows} == {f"E{number}" for number in range(1, 11)}
    for row in rows:
        assert re.search(PLACE, row[3]), row[0]
        assert "`tests/" in row[4], row[0]


def test_nothing_else_looks_like_a_place(table: str) -> None:
    """A place in another notation would go unchecked."""
    assert len(re.findall(r"\.py:", table)) == len(PLACE.findall(table))
