"""Ctrl-C and SIGTERM save a run where it is, and it goes on as if nothing had been; a full disk harms nothing saved."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from smca.cli.main import main
from smca.inference.interruption import AtOnce
from smca.training import launch
from smca.training.checkpoints import Checkpoints
from smca.training.recorder import Recorder
from tests.training.runs import SMALL, small_request
from tests.training.test_resume import rows, same_model
from tests.training.test_trainer import small_trainer

Signalled = Callable[..., None]
OVERRIDES = ("dropout=0.1", "averaging=0.9", "micro_batch=2")


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> Signalled:
    """Train or resume, and send signals when an event of an update comes."""

    def run(work: Callable[[], object], event: str, step: int, *numbers: signal.Signals) -> None:
        follow = getattr(Recorder, event)

        def send(self: Recorder, args: Any, state: Any, control: Any, **options: Any) -> None:
            for number in numbers if state.global_step == step else ():
                signal.raise_signal(number)
            follow(self, args, state, control, **options)

        with monkeypatch.context() as patched:
            patched.setattr(Recorder, event, send)
            with pytest.raises(KeyboardInterrupt) as raised:
                work()
        assert isinstance(raised.value, AtOnce) == (len(numbers) > 1)

    return run


def test_a_run_stopped_by_signals_ends_as_one_that_was_not(
    scenes: Path, tmp_path: Path, signalled: Signalled, capfd: pytest.CaptureFixture[str]
) -> None:
    launch.train(small_request(scenes, tmp_path / "whole", *OVERRIDES, epochs=3, batch=2))
    run, found = tmp_path / "parts", Checkpoints(tmp_path / "parts" / "checkpoints")
    asked = small_request(scenes, run, *OVERRIDES, epochs=3, batch=2)
    stops = [
        (lambda: launch.train(asked), "on_step_end", 3, signal.SIGTERM, 0),
        (lambda: launch.resume(run), "on_step_end", 6, signal.SIGINT, 1),
        (lambda: launch.resume(run), "on_evaluate", 8, signal.SIGINT, 2),
    ]
    for work, event, step, number, epochs in stops:
        torch.manual_seed(step)
        signalled(work, event, step, number)
        out, err = capfd.readouterr()
        assert f"saved at update {step}; go on with: smca resume {run}" in out
        assert "stopping as soon as the run is saved" in err
        assert found.newest() == (found.path / f"checkpoint-{step}", [])
        assert len(rows(run)) == epochs
        assert (run / "report.html").exists() == bool(epochs)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    launch.resume(run)
    assert rows(run) == rows(tmp_path / "whole")
    assert all(same_model(run / name, tmp_path / "whole" / name) for name in ("best", "last"))


def test_the_losses_of_an_epoch_come_back_in_each_of_several_processes(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = small_trainer(scenes, tmp_path)
    monkeypatch.setattr(type(trainer.args), "device", torch.device("cpu:0"))  # as a process of several has it
    trainer._tr_loss, trainer._globalstep_last_logged = torch.tensor(0.1), 3
    trainer._save_rng_state(str(tmp_path))
    trainer._tr_loss, trainer._globalstep_last_logged = torch.tensor(0.0), 5
    trainer._load_rng_state(str(tmp_path))
    assert (trainer._tr_loss, trainer._globalstep_last_logged) == (torch.tensor(0.1), 3)


def test_a_second_signal_ends_at_once(scenes: Path, tmp_path: Path, signalled: Signalled) -> None:
    asked = small_request(scenes, tmp_path / "run")
    signalled(lambda: launch.train(asked), "on_step_end", 1, signal.SIGTERM, signal.SIGINT)
    assert not list((tmp_path / "run" / "checkpoints").glob("checkpoint-*"))


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save, run = torch.save, tmp_path / "run"

    def full(value: Any, place: Any, *options: Any) -> None:
        if Path(place).match("checkpoint-4/optimizer.pt"):
            Path(place).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(value, place, *options)

    words = ["--recipe=smca-tiny", f"--out={run}", "--epochs=2", "--batch=4", "--image-size=64", "--workers=0"]
    with monkeypatch.context() as broken:
        broken.setattr(torch, "save", full)
        assert main(["train", str(scenes), *words, "--device=cpu", "--precision=fp32", "--set", *SMALL]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("smca: no space left on the disk; free some, then")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["checkpoint-2"]
    assert main(["resume", str(run)]) == 0
    assert [row["epoch"] for row in rows(run)] == [1, 2]
