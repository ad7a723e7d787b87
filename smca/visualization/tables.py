"""Tables of a page as HTML: names and numbers, numbers with bars, and a matrix that counts what was taken for what.

All text is escaped. A table that is wider or longer than its place scrolls inside it, by keyboard too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple, TypeAlias

import numpy as np


class Bar(NamedTuple):
    """A number with a bar behind it; share in [0, 1]."""

    text: str
    share: float


class Named(NamedTuple):
    """A name with what it means below it."""

    text: str
    note: str


Cell: TypeAlias = str | Bar | Named


@dataclass(frozen=True)
class Table:
    """Rows under headings, or under none; the first column is a name, the others are set as numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Matrix:
    """Counts [rows, columns] under names; each is as dark as its share of the row. What is right is on the diagonal."""

    corner: str
    names: Sequence[str]
    counts: np.ndarray


def table_html(table: Table, title: str) -> str:
    """The table; `title` says to those who cannot see it what scrolls here."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in table.headings)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in table.rows)
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f"{_scrolling('table', title)}<table>{top}<tbody>{rows}</tbody></table></div>"


def matrix_html(matrix: Matrix, title: str) -> str:
    """The matrix; `title` as for a table."""
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in matrix.names)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{_counts(row, place)}</tr>\n'
        for place, (name, row) in enumerate(zip(matrix.names, matrix.counts.tolist(), strict=True))
    )
    corner = f'<th scope="col">{escape(matrix.corner)}</th>'
    body = f"<table><thead><tr>{corner}{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"{_scrolling('table matrix', title)}{body}</div>"


def _scrolling(kind: str, title: str) -> str:
    return f'<div class="{kind}" role="region" tabindex="0" aria-label="{escape(title)}">'


def _cell(cell: Cell) -> str:
    if isinstance(cell, Bar):
        return f'<td class="bar" style="--share:{100 * min(max(cell.share, 0), 1):.1f}%">{escape(cell.text)}</td>'
    if isinstance(cell, Named):
        return f"<td>{escape(cell.text)}<small>{escape(cell.note)}</small></td>"
    return f"<td>{escape(cell)}</td>"


def _counts(row: Sequence[int], right: int) -> str:
    total = max(1, sum(row))
    return "".join(
        f'<td{" class=right" if place == right else ""} style="--share:{count / total:.2f}">{count:,}</td>'
        if count
        else "<td></td>"
        for place, count in enumerate(row)
    )
