"""One self-contained HTML page of numbers, curves, pictures and tables, without scripts or outside files.

Style and pictures are inside the file, so it can be mailed or opened from any folder. It follows the reader's
light or dark setting, fits a phone and prints. All text is escaped.
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
from smca.visualization.tables import Bar, Cell, Matrix, Named, Table, matrix_html, table_html

__all__ = ["Bar", "Card", "Cell", "Matrix", "Named", "Picture", "Section", "Table", "page"]

MANY = 4  # sections, from which on a page begins with a list of them


@dataclass(frozen=True)
class Card:
    """A headline number: `value` large, `label` below it, `note` small."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture with its caption: a tile, half the page, or all of its width (scrolls on a narrow screen).

    chart: dark lines on white, which a dark page shows the other way round. key: what its colours ("#rrggbb") mean.
    beside: a second picture, below the first on a narrow screen. Tiles and halves but charts are enlarged by a click.
    """

    image: Image.Image
    caption: str
    width: Literal["tile", "half", "full"] = "tile"
    chart: bool = False
    key: Sequence[tuple[str, str]] = ()
    beside: Image.Image | None = None


@dataclass(frozen=True)
class Section:
    """A heading with a paragraph of text, lines to type, pictures, and a matrix and tables side by side where there is
    room, each where given.
    """

    title: str
    text: str = ""
    pictures: Sequence[Picture] = field(default_factory=tuple)
    table: Table | None = None
    second_table: Table | None = None
    matrix: Matrix | None = None
    code: str = ""


def page(title: str, summary: str, cards: Sequence[Card], sections: Sequence[Section]) -> str:
    """Return the page as HTML text."""
    style = resources.files("smca.visualization").joinpath("page.css").read_text(encoding="utf-8")
    body = "".join(_section(number, section) for number, section in enumerate(sections, 1))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<style>\n{style}</style></head>\n<body><main>\n"
        f"<header><h1>{escape(title)}</h1><p>{escape(summary)}</p></header>\n"
        f'<ul class="cards">{"".join(_card(card) for card in cards)}</ul>\n{_contents(sections)}{body}'
        "</main></body></html>\n"
    )


def _contents(sections: Sequence[Section]) -> str:
    """Links to the sections of a long page."""
    if len(sections) <= MANY:
        return ""
    links = (f'<a href="#s{number}">{escape(section.title)}</a>' for number, section in enumerate(sections, 1))
    return f'<nav aria-label="Sections">{"".join(links)}</nav>\n'


def _card(card: Card) -> str:
    note = f"<small>{escape(card.note)}</small>" if card.note else ""
    return f"<li><b>{escape(card.value)}</b><span>{escape(card.label)}</span>{note}</li>\n"


def _section(number: int, section: Section) -> str:
    text = f"<p>{escape(section.text)}</p>" if section.text else ""
    code = f"<pre><code>{escape(section.code)}</code></pre>" if section.code else ""
    pictures = "".join(_picture(picture) for picture in section.pictures)
    grid = f'<div class="pictures">{pictures}</div>' if pictures else ""
    matrix = matrix_html(section.matrix, section.title) if section.matrix else ""
    tables = "".join(table_html(one, section.title) for one in (section.table, section.second_table) if one)
    side = f'<div class="tables">{matrix}{tables}</div>' if matrix or tables else ""
    return f'<section id="s{number}"><h2>{escape(section.title)}</h2>{text}{code}{grid}{side}</section>\n'


def _picture(picture: Picture) -> str:
    images = "".join(_image(image, picture.caption) for image in (picture.image, picture.beside) if image)
    if picture.chart or picture.width == "full":
        shown = f"<div>{images}</div>"
    else:
        box = f'<input type="checkbox" aria-label="enlarge {escape(picture.caption)}">'
        shown = f"<label>{box}<span>{images}</span></label>"
    meanings = "".join(f'<li><i style="background:{colour}"></i>{escape(text)}</li>' for colour, text in picture.key)
    key = f'<ul class="key">{meanings}</ul>' if meanings else ""
    caption = f"<figcaption>{escape(picture.caption)}{key}</figcaption>"
    kind = f"{picture.width} chart" if picture.chart else picture.width
    return f'<figure class="{kind}">{shown}{caption}</figure>\n'


def _image(image: Image.Image, caption: str) -> str:
    size = f'width="{image.width}" height="{image.height}"'
    return f'<img src="{_inline(image)}" {size} alt="{escape(caption)}">'


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
