"""The network is cut: what needs none works and tries to reach nobody, what asks for it says so in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smca.telemetry import SWITCHES

ROOT = Path(__file__).parents[2]
ASKS = {
    "someone/model": "huggingface.co",
    "smca-r50": "download.pytorch.org",
    "https://example.com/a.jpg": "example.com",
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    cut = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*cut, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the network cannot be cut here: no unshare, or it is not allowed")
    folder = tmp_path_factory.mktemp("offline")
    theirs = {name: value for name, value in os.environ.items() if name not in (*SWITCHES, "HF_HUB_OFFLINE")}
    own = {"PYTHONPATH": str(ROOT), "TORCH_HOME": str(folder / "torch"), "HF_HOME": str(folder / "hf")}
    done = subprocess.run(
        [*cut, sys.executable, "-m", "tests.cli.offline", str(folder)],
        env=theirs | own,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_without_a_network_everything_works_that_asks_for_none(commands: list[dict[str, Any]]) -> None:
    own = [one for one in commands if not ASKS.keys() & set(one["words"])]
    assert len(own) == len(commands) - len(ASKS)
    for one in own:
        expected = 130 if one["words"][0] == "serve" else 0
        assert (one["status"], one["asked"], one["unreached"]) == (expected, [], 0), one


@pytest.mark.slow
def test_what_asks_for_the_network_says_in_a_line_that_there_is_none(commands: list[dict[str, Any]]) -> None:
    for what, host in ASKS.items():
        (one,) = (each for each in commands if what in each["words"])
        assert one["status"] == 2
        assert set(one["asked"]) <= {host}
        assert "Traceback" not in one["err"]
        assert one["err"].splitlines()[-1].startswith("smca: ")
