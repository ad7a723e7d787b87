"""Timing by ratios: everything that is compared runs in turn, round after round, in one process.

A machine's speed drifts by a fifth within minutes; the ratio of two things measured one after the other hardly does. A
`Ratio` is the median over rounds of each round's own ratio, with its quartiles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

Work = Callable[[], object]
Clock = Callable[[Work], float]


@dataclass(frozen=True)
class Ratio:
    """How long `what` takes in units of `against`: median, quartiles, both medians in milliseconds, what is aimed at.

    setting: the shapes and types it was measured with; limit: at most, or None where nothing is promised.
    """

    group: str
    what: str
    against: str
    setting: str
    ratio: float
    low: float
    high: float
    milliseconds: float
    against_milliseconds: float
    limit: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the ratio is within its limit; None without one."""
        return None if self.limit is None else self.ratio <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "met": self.met}


@dataclass(frozen=True)
class Amount:
    """A number that is no ratio: of what, where, its unit, and what is aimed at."""

    group: str
    what: str
    setting: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the value is within its limit; None without one."""
        return None if self.limit is None else self.value <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "met": self.met}


def wall_clock(work: Work) -> float:
    """Seconds of `work` on the host."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def device_clock(work: Work) -> float:
    """Seconds of `work` on a CUDA device, by events."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000


def in_turn(
    cases: Mapping[str, Work], rounds: int, clock: Clock = wall_clock, warm: int = 1, at_least: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of every case in every round; each round begins with another case, and `warm` rounds are not counted.

    at_least: seconds to go on for, so that quick cases get more rounds than `rounds`.
    """
    names = list(cases)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    turn, spent = 0, 0.0
    while turn < warm + rounds or spent < at_least:
        first = turn % len(names)
        taken = {name: clock(cases[name]) for name in names[first:] + names[:first]}
        if turn >= warm:
            spent += sum(taken.values())
            for name in names:
                seconds[name].append(taken[name])
        turn += 1
    return seconds


def ratio_of(
    seconds: Mapping[str, list[float]], what: str, against: str, group: str, setting: str, limit: float | None = None
) -> Ratio:
    """The ratio of two cases that were measured in turn."""
    ratios = [a / b for a, b in zip(seconds[what], seconds[against], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    own, other = (1000 * statistics.median(seconds[name]) for name in (what, against))
    return Ratio(group, what, against, setting, middle, low, high, own, other, limit)
