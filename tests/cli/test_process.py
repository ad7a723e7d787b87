from __future__ import annotations

import os

import pytest
import torch
from torch.distributed import TCPStore

from smca.cli.process import complain, say, start
from smca.telemetry import SWITCHES


def test_the_network_is_off_unless_asked_for() -> None:
    start()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("network", [False, True])
def test_telemetry_is_off_with_and_without_a_network(network: bool) -> None:
    start(network)
    assert {name: os.environ[name] for name in SWITCHES} == SWITCHES


def test_asking_for_the_network_leaves_it_on() -> None:
    start(network=True)
    assert "HF_HUB_OFFLINE" not in os.environ


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "theirs")
    start()
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["RAY_USAGE_STATS_ENABLED"] == "theirs"


def test_denormal_numbers_become_zero() -> None:
    start()
    assert (torch.tensor([1e-39]) * 1).item() == 0


@pytest.mark.parametrize(("rank", "said"), [(None, "done\n"), ("0", "done\n"), ("1", "")])
def test_results_are_printed_once(
    rank: str | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    say("done")
    assert capsys.readouterr().out == said


def test_torchruns_processes_complain_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The store is that of torchrun; where it is gone a line too many is better than none."""
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    settings = {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for line in ("no data", "no data", "no model"):
        complain(line)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    complain("no data")
    assert capsys.readouterr().err.splitlines() == ["no data", "no model", "no data"]
