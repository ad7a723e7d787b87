from __future__ import annotations

import io

import pytest
from rich.console import Console

from smca import progress
from smca.progress import Progress, duration, track


class Clock:
    """A clock that only moves when told."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def console(terminal: bool = False) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=100, highlight=False), stream


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_come_every_few_seconds_with_the_time_left(clock: Clock) -> None:
    out, stream = console()
    with Progress("training", out) as bar:
        for done in range(1, 21):
            clock.now += 1
            bar(done, 20, "loss 3.2")
    lines = stream.getvalue().splitlines()
    assert lines == [
        "training: 5/20, 0:15 left, loss 3.2",
        "training: 10/20, 0:10 left, loss 3.2",
        "training: 15/20, 0:05 left, loss 3.2",
        "training: 20/20, 0:00 left, loss 3.2",
        "training: done in 0:20",
    ]


def test_the_time_left_counts_only_what_this_process_did(clock: Clock) -> None:
    out, stream = console()
    bar = Progress("training", out)
    for done in (91, 92):
        clock.now += 10
        bar(done, 100)
    assert stream.getvalue().splitlines()[-1] == "training: 92/100, 1:20 left"


def test_parts_count_for_the_time_left_and_without_a_total_there_is_none(clock: Clock) -> None:
    out, stream = console()
    with Progress("predicting", out) as bar:
        clock.now += 6
        bar(0.25, 2, "tile 1 of 4")
    with Progress("predicting", out) as bar:
        clock.now += 6
        bar(17, None, "webcam")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "predicting: 0/2, 0:42 left, tile 1 of 4"
    assert lines[2] == "predicting: 17, webcam"


def test_a_terminal_gets_a_bar_and_lines_that_stay(clock: Clock) -> None:
    out, stream = console(terminal=True)
    with Progress("drawing", out) as bar:
        clock.now += 1
        bar(1, 2)
        bar.print("epoch 1 [AP] 0.5")
    text = stream.getvalue()
    assert "epoch 1 [AP] 0.5" in text
    assert "━" in text
    assert "drawing: done in 0:01" in text


def test_a_failed_task_is_not_called_done() -> None:
    out, stream = console()

    def fail() -> None:
        with Progress("training", out) as bar:
            bar(1, 2)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert stream.getvalue() == ""


def test_only_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "1")
    with Progress("training") as bar:
        bar(1, 1)
        bar.print("epoch 1")
    assert capsys.readouterr().out == ""


def test_track_yields_everything_with_and_without_a_length() -> None:
    assert list(track([3, 1, 2], "a")) == [3, 1, 2]
    assert list(track(iter("ab"), "b")) == ["a", "b"]
