from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smca.errors import DataError
from smca.visualization.curves import ap_curve, loss_curve, read_metrics

EPOCHS = [
    {"epoch": 1, "loss": 12.5, "AP": None, "AP50": 0.1},
    {"epoch": 2, "loss": 8.5, "AP": 0.2, "AP50": 0.4},
]


def test_metrics_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1, "loss": 12.5}\n\n{"epoch": 2, "loss": 8.5}\n')
    assert [epoch["loss"] for epoch in read_metrics(path)] == [12.5, 8.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"epoch": 1}\n{"epo', r'not JSON: \{"epo'), (None, "cannot read .*No such file")],
)
def test_metrics_that_cannot_be_read_are_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "metrics.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_metrics(path)


@pytest.mark.parametrize("epochs", [EPOCHS, EPOCHS[:1], []])
def test_runs_of_any_length_can_be_drawn(epochs: list[dict[str, float | None]]) -> None:
    assert loss_curve(epochs).size == ap_curve(epochs).size


def test_the_curve_shows_the_values() -> None:
    falling = np.asarray(loss_curve(EPOCHS))
    rising = np.asarray(loss_curve([{**EPOCHS[0], "loss": 8.5}, {**EPOCHS[1], "loss": 12.5}]))
    assert (falling != rising).any()
