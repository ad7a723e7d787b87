from __future__ import annotations

import pytest

from smca.benchmark.timing import Amount, Work, in_turn, ratio_of


class FakeClock:
    """Says that every call took what its work returns."""

    def __init__(self) -> None:
        self.order: list[object] = []

    def __call__(self, work: Work) -> float:
        taken = work()
        assert isinstance(taken, float)
        self.order.append(taken)
        return taken


def test_cases_run_in_turn_and_each_round_begins_with_another() -> None:
    clock = FakeClock()
    seconds = in_turn({"a": lambda: 1.0, "b": lambda: 2.0, "c": lambda: 3.0}, rounds=2, clock=clock, warm=1)
    assert clock.order == [1, 2, 3, 2, 3, 1, 3, 1, 2]
    assert seconds == {"a": [1, 1], "b": [2, 2], "c": [3, 3]}


def test_quick_cases_get_more_rounds() -> None:
    seconds = in_turn({"a": lambda: 1.0, "b": lambda: 2.0}, rounds=2, clock=FakeClock(), at_least=10.0)
    assert seconds == {"a": [1] * 4, "b": [2] * 4}


def test_a_ratio_is_the_median_of_each_rounds_own() -> None:
    """A machine that slows down by half changes nothing."""
    seconds = {"what": [2.0, 4.0, 40.0], "against": [1.0, 2.0, 20.0]}
    ratio = ratio_of(seconds, "what", "against", "group", "setting", limit=1.9)
    assert (ratio.ratio, ratio.low, ratio.high) == (2, 2, 2)
    assert (ratio.milliseconds, ratio.against_milliseconds) == (4000, 2000)
    assert ratio.met is False
    assert ratio_of(seconds, "what", "against", "group", "setting", limit=2.0).met
    assert ratio_of({"what": [3.0], "against": [1.0]}, "what", "against", "g", "s").to_dict()["met"] is None


@pytest.mark.parametrize(("value", "met"), [(19.0, True), (21.0, False)])
def test_amounts_know_their_limit(value: float, met: bool) -> None:
    assert Amount("g", "w", "s", value, "MiB", 20.0).met is met
