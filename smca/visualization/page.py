"""One self-contained HTML page of numbers, curves, pictures and tables, without scripts or outside files.

Style and pictures are inside the file, so it can be mailed or opened from any folder. It follows the reader's
light or dark setting and fits a phone. All text is escaped.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from typing import Literal

from PIL import Image

from smca.errors import OutputError


@dataclass(frozen=True)
class Card:
    """A headline number: `value` large, `label` below it, `note` small."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture with its caption: a tile, half the page, or all of its width (scrolls on a narrow screen)."""

    image: Image.Image
    caption: str
    width: Literal["tile", "half", "full"] = "tile"


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the first column is a name, the others are set as numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading with a paragraph of text, pictures and a table, each where given."""

    title: str
    text: str = ""
    pictures: Sequence[Picture] = field(default_factory=tuple)
    table: Table | None = None


def page(title: str, summary: str, cards: Sequence[Card], sections: Sequence[Section]) -> str:
    """Return the page as HTML text."""
    style = resources.files("smca.visualization").joinpath("page.css").read_text(encoding="utf-8")
    body = "".join(_section(section) for section in sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<style>\n{style}</style></head>\n<body><main>\n"
        f"<header><h1>{escape(title)}</h1><p>{escape(summary)}</p></header>\n"
        f'<ul class="cards">{"".join(_card(card) for card in cards)}</ul>\n{body}</main></body></html>\n'
    )


def _card(card: Card) -> str:
    note = f"<small>{escape(card.note)}</small>" if card.note else ""
    return f"<li><b>{escape(card.value)}</b><span>{escape(card.label)}</span>{note}</li>\n"


def _section(section: Section) -> str:
    text = f"<p>{escape(section.text)}</p>" if section.text else ""
    pictures = "".join(_picture(picture) for picture in section.pictures)
    grid = f'<div class="pictures">{pictures}</div>' if pictures else ""
    table = _table(section.table) if section.table else ""
    return f"<section><h2>{escape(section.title)}</h2>{text}{grid}{table}</section>\n"


def _picture(picture: Picture) -> str:
    size = f'width="{picture.image.width}" height="{picture.image.height}"'
    image = f'<img src="{_inline(picture.image)}" {size} alt="{escape(picture.caption)}">'
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>"
    return f'<figure class="{picture.width}"><div>{image}</div>{caption}</figure>\n'


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in table.headings)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in table.rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _inline(image: Image.Image) -> str:
    """The picture as a data URI: PNG for charts, which have few colours, JPEG for the rest."""
    few = image.convert("RGB").getcolors(maxcolors=4096) is not None
    buffer = io.BytesIO()
    try:
        image.convert("RGB").save(buffer, "PNG" if few else "JPEG", quality=88, optimize=True)
    except OSError as error:
        raise OutputError(f"cannot encode a picture of {image.width}x{image.height} pixels: {error}") from error
    kind = "png" if few else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
