"""What the pages tell people to type: every command is one of ours, and `bash` and `python` blocks run.

`console` blocks hold what cannot run in a test (pip, a cluster, a webcam); their words are checked alone.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smca.cli.main import build_parser, main
from tests.inference.small_model import save_small_model
from tests.training.runs import SMALL

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TINY = ["--epochs", "1", "--workers", "0"]


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of a page's blocks, continued lines joined."""
    for language, text in BLOCK.findall(page.read_text()):
        yield language, text.replace("\\\n", " ")


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]


def shorter(words: list[str]) -> list[str]:
    """The same command on less."""
    if words[:2] == ["data", "scenes"]:
        return [*words, "--images", "12", "--size", "64x64"]
    if words[0] == "compare":
        return [*words, "--epochs", "1", "--workers", "0", "--set", *SMALL]
    if words[0] == "train" and "--recipe" in words:
        return [*words, *TINY, "--image-size", "64", "--set", *SMALL]
    return [*words, *TINY] if words[0] == "train" else words


class Reader:
    """Somebody who types what a page says, in one folder."""

    def __init__(self) -> None:
        self.server: subprocess.Popen[str] | None = None
        self.place = ""

    def type(self, line: str) -> None:
        words = words_of(line) if line.startswith("smca ") else []
        if words[:1] == ["serve"]:
            self._serve(words)
        elif words:
            assert main(shorter(words)) == 0, line
        elif line:
            here = line.replace("localhost:8000/", self.place).replace("curl ", "curl --fail --silent --show-error ")
            subprocess.run(["bash", "-euo", "pipefail", "-c", here], check=True)
        if words[:2] == ["data", "scenes"]:
            shutil.copytree("scenes", "mydata")

    def leave(self) -> None:
        if self.server:
            self.server.send_signal(signal.SIGTERM)
            assert self.server.wait(30) == 0
        self.server = None

    def _serve(self, words: list[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "smca", *words, "--port", "0"]
        self.server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout
        self.place = self.server.stdout.readline().strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one_of_ours(page: Path) -> None:
    for language, text in blocks(page):
        for line in text.splitlines() if language in ("", "bash", "console") else ():
            if line.startswith("smca "):
                build_parser().parse(words_of(line))


def follow(*names: str) -> None:
    """Type what the pages say, in the folder we are in."""
    reader = Reader()
    for name in names:
        page = ROOT / "docs" / f"{name}.md"
        for language, text in blocks(page):
            if language == "python":
                exec(compile(text, str(page), "exec"), {})  # noqa: S102 - what our own pages say
            for line in text.splitlines() if language == "bash" else ():
                reader.type(line)
        reader.leave()


@pytest.mark.slow
def test_the_guides_to_training_work_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    follow("first-detector", "report", "predicting", "own-data", "fine-tuning", "comparing", "trackers")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="the page on serving needs curl")
def test_the_guides_to_using_work_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "scenes", "mydata", "--images", "12", "--size", "64x64"]) == 0
    save_small_model(Path("runs/mine/best"), tuple("0123456789"))
    follow("explain", "export", "serving", "scale-out")
