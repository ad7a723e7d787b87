"""Files whose names no list, terminal or text can hold as they are: `smca predict` sees them all the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from smca.cli.main import main
from tests.damage.healthy import picture
from tests.damage.users import Guard
from tests.inference.small_model import save_small_model

NAMES = (
    b"caf\xe9.png",
    b"a\nb.png",
    b"c\x1b[2Jd.png",
    b"--e.png",
    b" f .png",
    "g\u202egnp.png".encode(),
    b"h" * 240 + b".png",
)


def test_predict_takes_any_name(tmp_path: Path, guard: Guard, capsys: pytest.CaptureFixture[str]) -> None:
    save_small_model(tmp_path / "model", ("cat", "dog", "cow"))
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        (folder / os.fsdecode(name)).write_bytes(picture(seed))
    (folder / os.fsdecode(b"broken\xe9\n\x1b.png")).write_bytes(b"")
    os.mkfifo(folder / "pipe.png")
    out = tmp_path / "out"
    with guard.watching(out):
        assert main(["predict", str(tmp_path / "model"), str(folder), "--out", str(out), "--threshold", "0"]) == 0
    said = capsys.readouterr()
    assert not [sign for sign in said.out + said.err if not sign.isprintable() and sign not in "\r\n"]
    assert "1 of 8 images skipped" in said.out + said.err
    found = {Path(entry["image"]).name for entry in json.loads((out / "predictions.json").read_text())}
    assert found == {os.fsdecode(name) for name in NAMES}
    assert len(list(out.glob("*.jpg"))) == len(NAMES)


@pytest.mark.parametrize("name", ["x" * 5000 + ".png", "x/" * 3000, "\x1b[2J.png", "a\nb"])
def test_a_name_that_leads_nowhere_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["predict", "model", name], ["data", "check", name], ["predict", name, "a.png"]):
        assert main([*words]) == 2
        said = capsys.readouterr().err
        assert said.startswith("smca: ")
        assert said.count("\n") == 1
        assert len(said) < 1100
        assert "\x1b" not in said
