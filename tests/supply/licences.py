"""The licences of all that is installed for this project, from the packages' own words. Writes docs/licences.md anew:

python -m tests.supply.licences
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "smca-detr"
PAGE = Path(__file__).parents[2] / "docs" / "licences.md"
USE = ("", "export", "openvino", "serve", "track", "dist")  # extras whose packages run in a user's programs
WORK = ("dev", "docs")
STRONG = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)
STRONG_LIBRARIES = ("libx264", "libx265", "libxvidcore", "libpostproc")  # GPL, by the names of their files

# Strong copyleft that is accepted, and why.
ACCEPTED = {
    "av": "its wheels bring FFmpeg with x264 and x265, which are GPL: who hands them on together with a program "
    "hands on GPL binaries; this project hands on none, and uses them through PyAV's interface",
    "docutils": "nearly all of it is in the public domain, a few tools are BSD or GPL; it only builds these pages",
}
HEAD = """# Licences of the dependencies

Written by `python -m tests.supply.licences` from what is installed on Linux with `.[dev]`; a test refuses strong
copyleft (GPL, AGPL) that is not accepted below with a reason, and packages that do not say.
"""


class Package(NamedTuple):
    """An installed package: what it says of its licence, and strong copyleft files that it brings."""

    name: str
    licence: str
    brings: tuple[str, ...]

    @property
    def strong(self) -> bool:
        """Whether strong copyleft is in it without a choice."""
        chosen = any(not STRONG.search(one) for one in re.split(r"\bOR\b", self.licence))
        return bool(self.brings) or not chosen


def needed(extras: tuple[str, ...]) -> dict[str, Package]:
    """All packages that are installed here for the project with these extras ("": without any), by name."""
    found: dict[str, Package] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(PROJECT, extra) for extra in extras]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform, or an extra that is not installed
        if name != PROJECT:
            found[name] = described(package)
        waiting += requirements(package, extra)
    return dict(sorted(found.items()))


def requirements(package: Distribution, extra: str) -> Iterator[tuple[str, str]]:
    """Names and extras that a package asks for here."""
    for text in package.requires or []:
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
            name = canonicalize_name(wanted.name)
            yield from ((name, one) for one in ("", *wanted.extras))


def described(package: Distribution) -> Package:
    """What its metadata says: the expression, else the classifiers, else the first line of the old field."""
    said = package.metadata
    classes = [text.split(" :: ")[-1] for text in said.get_all("Classifier", []) if text.startswith("License ::")]
    expression, old = ((said.get_all(field) or [""])[0] for field in ("License-Expression", "License"))
    licence = expression or ", ".join(sorted(classes)) or old.strip().split("\n")[0]
    files = {Path(str(file)).name for file in package.files or []}
    brings = sorted(name for name in files if name.startswith(STRONG_LIBRARIES))
    return Package(said["Name"], licence, tuple(brings))


def page() -> str:
    """docs/licences.md."""
    use = needed(USE)
    work = {name: package for name, package in needed(WORK).items() if name not in use}
    lines = [HEAD, "## Accepted in spite of strong copyleft", ""]
    lines += [f"- **{name}**: {reason}." for name, reason in ACCEPTED.items()]
    for title, packages in (("In use", use), ("To test and document only", work)):
        lines += ["", f"## {title}", "", "| package | licence, in its own words |", "|---|---|"]
        lines += [
            f"| {package.name} | {package.licence or 'not said; it holds no files'} |" for package in packages.values()
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
