"""What the pages tell people to type: every command is one of ours, and those in `bash` blocks run, page after page.

`console` blocks hold what cannot run in a test (a server, another program, a network); their words are checked alone.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from smca.cli.main import build_parser, main
from tests.training.runs import SMALL

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IN_ORDER = ("first-detector", "report", "predicting", "own-data", "fine-tuning", "comparing")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TINY = ["--epochs", "1", "--workers", "0"]


def commands(page: Path, *languages: str) -> Iterator[list[str]]:
    """The words of each `smca` command in a page's blocks of some languages."""
    for language, text in BLOCK.findall(page.read_text()):
        lines = text.replace("\\\n", " ").splitlines() if language in languages else []
        yield from (shlex.split(line, comments=True)[1:] for line in lines if line.startswith("smca "))


def shorter(words: list[str]) -> list[str]:
    """The same command on less."""
    if words[:2] == ["data", "scenes"]:
        return [*words, "--images", "12", "--size", "64x64"]
    if words[0] == "compare":
        return [*words, "--epochs", "1", "--workers", "0", "--set", *SMALL]
    if words[0] == "train" and "--recipe" in words:
        return [*words, *TINY, "--image-size", "64", "--set", *SMALL]
    return [*words, *TINY] if words[0] == "train" else words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one_of_ours(page: Path) -> None:
    for words in commands(page, "", "bash", "console"):
        build_parser().parse(words)


@pytest.mark.slow
def test_the_guides_work_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in IN_ORDER:
        ran = 0
        for words in commands(ROOT / "docs" / f"{name}.md", "bash"):
            assert main(shorter(words)) == 0, f"{name}: smca {shlex.join(words)}"
            ran += 1
            if words[:2] == ["data", "scenes"]:
                shutil.copytree("scenes", "mydata")
        assert ran
