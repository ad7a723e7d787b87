from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smca.cli import recipes
from smca.cli.main import main
from smca.errors import DataError
from tests.cli.conftest import Smca

ROOT = Path(__file__).parents[2]
COMMANDS = ("quickstart", "recipes", "info", "data", "train", "resume", "eval", "predict", "explain", "export")
SCRIPT = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from smca.cli.main import main
main()
"""


def process(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("data", "scenes")])
def test_every_command_has_help(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*command, "--help"])
    assert exit_.value.code == 0
    assert f"usage: {' '.join(['smca', *command])}" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["--help", "train --help"])
def test_help_loads_nothing_heavy(tmp_path: Path, words: str) -> None:
    script = tmp_path / "smca"
    script.write_text(SCRIPT)
    done = process(str(script), *words.split(), folder=tmp_path)
    assert done.returncode == 0
    assert {"torch", "transformers", "numpy", "PIL", "rich"}.isdisjoint(done.stderr.split())
    assert "smca.cli.main" in done.stderr.split()


def test_the_module_runs_as_the_command_and_a_mistake_is_one_line(tmp_path: Path) -> None:
    done = process("-m", "smca", "tain", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "smca: unknown command 'tain'. Did you mean 'train'? (see `smca --help`)\n"


def test_a_users_mistake_shows_its_traceback_only_when_asked(monkeypatch: pytest.MonkeyPatch, smca: Smca) -> None:
    def fail(_: object) -> None:
        raise DataError("line one\nline two")

    monkeypatch.setattr(recipes, "run", fail)
    assert smca("recipes") == (2, "", "smca: line one line two\n")
    status, _, text = smca("recipes", "--debug")
    assert status == 2
    assert "Traceback" in text
    assert text.endswith("smca: line one line two\n")


def test_control_c_has_its_own_status(monkeypatch: pytest.MonkeyPatch, smca: Smca) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes, "run", interrupt)
    assert smca("recipes") == (130, "", "smca: interrupted\n")


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, smca: Smca) -> None:
    def break_(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(recipes, "run", break_)
    with pytest.raises(ZeroDivisionError):
        smca("recipes")
