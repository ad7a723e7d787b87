from __future__ import annotations

import datetime as dt

import torch

from smca.machine import machine


def test_a_measurement_says_where_and_when() -> None:
    found = machine()
    assert f"{torch.get_num_threads()} threads" in found["machine"]
    assert dt.date.fromisoformat(found["date"]) <= dt.datetime.now(dt.timezone.utc).date()
    assert found["versions"]["torch"] == torch.__version__
