"""No strong copyleft comes in unseen, and the page names what is used."""

from __future__ import annotations

import pytest

from tests.supply.licences import ACCEPTED, PAGE, USE, WORK, Package, needed


@pytest.fixture(scope="module")
def installed() -> dict[str, Package]:
    return needed((*USE, *WORK))


def test_no_package_is_under_strong_copyleft_unless_accepted(installed: dict[str, Package]) -> None:
    assert {name for name, package in installed.items() if package.strong} <= ACCEPTED.keys()


def test_every_package_says_its_licence(installed: dict[str, Package]) -> None:
    """NVIDIA's umbrella package, which holds no files, is the only silent one known."""
    assert {name for name, package in installed.items() if not package.licence} <= {"cuda-toolkit"}


def test_the_page_names_every_package_in_use() -> None:
    named = {line.split(" | ")[0].removeprefix("| ") for line in PAGE.read_text().splitlines() if " | " in line}
    lacking = {package.name for package in needed(USE).values()} - named
    assert lacking == set(), "run: python -m tests.supply.licences"


@pytest.mark.parametrize(
    ("licence", "brings", "strong"),
    [
        ("GPL-3.0-only", (), True),
        ("GNU Affero General Public License v3", (), True),
        ("MIT AND AGPL-3.0-or-later", (), True),
        ("MIT OR GPL-2.0-or-later", (), False),
        ("GNU Lesser General Public License v3 (LGPLv3)", (), False),
        ("LGPL-2.1-only", (), False),
        ("BSD-3-Clause", ("libx264-d6533a8d.so.165",), True),
    ],
)
def test_strong_copyleft_is_recognised(licence: str, brings: tuple[str, ...], strong: bool) -> None:
    assert Package("one", licence, brings).strong is strong
