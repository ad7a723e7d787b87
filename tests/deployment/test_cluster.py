"""The command line's training in two processes of a Ray on this machine, and what their failures become."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from smca.cli.main import main
from smca.data.scenes import make_scenes
from smca.deployment.batch.session import session
from smca.deployment.cluster import _reason, on_ray
from smca.errors import ClusterError, DataError
from smca.sizes import ImageSize
from tests.training.runs import small_request


class FailedError(Exception):
    """As Ray Train's error."""

    def __init__(self, **failures: Exception) -> None:
        super().__init__("first\nlast")
        self.worker_failures = dict(enumerate(failures.values()))


def test_a_users_mistake_is_itself_and_all_else_one_line() -> None:
    mistake = DataError("no data")
    assert _reason(FailedError(one=RuntimeError("peer\nclosed"), two=mistake)) is mistake
    assert str(_reason(FailedError(one=RuntimeError("a\nb")))) == "training stopped: process 0 failed: RuntimeError: b"
    assert str(_reason(FailedError())) == "training stopped: last"


def test_processes_go_with_ray(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "data", "--recipe", "smca-tiny", "--processes", "2"]) == 2
    assert "torchrun --nproc-per-node 2" in capsys.readouterr().err


def die() -> None:
    """The second of two processes is killed."""
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:ray")
def test_two_workers_train_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_scenes(tmp_path / "scenes", images=12, seed=0, size=ImageSize(height=64, width=64))
    run = tmp_path / "run"
    words = ["train", str(data), "--recipe=smca-tiny", f"--out={run}", "--epochs=1", "--batch=4", "--image-size=64"]
    options = ["--workers=0", "--device=cpu", "--ray=local", "--processes=2", "--set"]
    with session(None, 2, "cpu"):
        assert main([*words, *options, *small_request(data, run).overrides]) == 0
        lines = capsys.readouterr().out.splitlines()
        with pytest.raises(ClusterError, match=r"training stopped: (process 1 failed|The actor is dead)"):
            on_ray(die, "local", 2, "cpu", 60, tmp_path, print)
    assert "an update: 4 images = 2 processes x 1 steps x 2 images" in lines
    assert sum(line.startswith("epoch   1") for line in lines) == 1
    assert lines[-1] == str(run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2]
    assert {path.name for path in tmp_path.iterdir()} == {"scenes", "run"}
