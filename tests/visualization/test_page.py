from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from smca.visualization.page import Bar, Card, Matrix, Named, Picture, Section, Table, page

CHART = Image.new("RGB", (30, 20), "white")
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8))


def example() -> str:
    return page(
        "Run <1>",
        "A & B",
        [Card("43.1", "AP", "200 scenes"), Card("74", "AP50")],
        [
            Section(
                "Pictures",
                "What it finds.",
                [Picture(CHART, "the 'loss'", "half"), Picture(PHOTO, "a photo")],
            ),
            Section("Settings", table=Table(("setting", "value"), [("<script>alert(1)</script>", "&")])),
            Section("Pairs", pictures=[Picture(PHOTO, "a <pair>", "half", beside=CHART)]),
            Section("Charts", pictures=[Picture(CHART, "a chart", chart=True, key=[("#123456", "the <class>")])]),
            Section("Counts", code="smca <x>", matrix=Matrix("is", ["a", "<b>"], np.array([[3, 1], [0, 0]]))),
        ],
    )


class Reader(HTMLParser):
    """Collects tags, their sources, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


def test_the_page_is_well_formed_and_shows_all_text() -> None:
    reader = read(example())
    assert reader.open == []
    shown = "".join(reader.text)
    for text in (
        "a <pair>",
        "the <class>",
        "smca <x>",
        "<b>",
        "Run <1>",
        "A & B",
        "43.1",
        "200 scenes",
        "the 'loss'",
        "<script>alert(1)</script>",
    ):
        assert text in shown


def test_nothing_comes_from_outside_and_nothing_runs() -> None:
    reader = read(example())
    assert {"script", "link", "iframe"}.isdisjoint(reader.tags)
    assert all(source.startswith(("data:image/", "#")) for source in reader.sources)
    assert not re.search(r"https?:|url\(|@import", example())


def test_charts_stay_exact_and_photos_become_small() -> None:
    sources = [source for source in read(example()).sources if source.startswith("data:")][:2]
    pictures = [Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) for source in sources]
    assert [picture.format for picture in pictures] == ["PNG", "JPEG"]
    assert [picture.size for picture in pictures] == [(30, 20), (90, 80)]
    assert (np.asarray(pictures[0]) == np.asarray(CHART)).all()


def test_it_follows_the_readers_theme_and_fits_a_phone() -> None:
    html = example()
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_a_long_page_begins_with_links_to_its_sections() -> None:
    html = example()
    targets = [source for source in read(html).sources if source.startswith("#")]
    assert targets == [f"#s{number}" for number in range(1, 6)]
    assert all(f'id="{target[1:]}"' in html for target in targets)
    assert "<nav" not in page("Short", "", [], [Section("One"), Section("Two")])


def test_numbers_have_bars_of_their_share_and_names_their_meaning() -> None:
    table = Table(("name", "%"), [(Named("AP", "the <mean>"), Bar("43.1", 0.431)), ("x", Bar("120", 1.2))])
    html = page("Run", "", [], [Section("Numbers", table=table)])
    assert '<td>AP<small>the &lt;mean&gt;</small></td><td class="bar" style="--share:43.1%">43.1</td>' in html
    assert "--share:100.0%" in html


def test_a_matrix_shows_counts_and_shares_of_the_row() -> None:
    html = example()
    assert '<td class=right style="--share:0.75">3</td><td style="--share:0.25">1</td>' in html
    assert "<td></td><td></td></tr>" in html


def test_what_scrolls_can_be_reached_by_keyboard_and_pictures_have_a_text() -> None:
    html = example()
    assert html.count("<img") == html.count('alt="') == 5
    assert html.count('role="region" tabindex="0" aria-label=') == 2
    assert html.count('<input type="checkbox" aria-label="enlarge') == 3
