"""Batches: who goes together, who is not hurt by whom; a budget is shared and never exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smca.deployment.serving.batching import Batcher, Budget


class Doubler:
    """Doubles numbers, fails at negative ones, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        await asyncio.sleep(0.01)
        return [ValueError(str(item)) if item < 0 else 2 * item for item in items]


def test_what_comes_together_goes_together_and_gets_its_own_answer() -> None:
    async def scene() -> list[int]:
        batcher = Batcher(work, most=4, delay=0.01)
        running = asyncio.create_task(batcher.run())
        found = await asyncio.gather(*(batcher.submit(item) for item in range(10)))
        running.cancel()
        return found

    work = Doubler()
    assert asyncio.run(scene()) == [2 * item for item in range(10)]
    assert work.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_one_that_fails_fails_alone() -> None:
    async def scene() -> list[int | BaseException]:
        batcher = Batcher(Doubler(), most=8, delay=0.01)
        running = asyncio.create_task(batcher.run())
        found = await asyncio.gather(*(batcher.submit(item) for item in (1, -2, 3)), return_exceptions=True)
        running.cancel()
        return found

    first, failed, last = asyncio.run(scene())
    assert (first, last) == (2, 6)
    assert isinstance(failed, ValueError)


def test_a_batch_that_breaks_does_not_end_the_batcher() -> None:
    async def broken(items: Sequence[int]) -> list[int | Exception]:
        if 0 in items:
            raise MemoryError
        return list(items)

    async def scene() -> int:
        batcher = Batcher(broken, most=1, delay=0)
        running = asyncio.create_task(batcher.run())
        with pytest.raises(MemoryError):
            await batcher.submit(0)
        found = await batcher.submit(7)
        running.cancel()
        return found

    assert asyncio.run(scene()) == 7


def test_nobody_computes_what_nobody_waits_for() -> None:
    async def scene() -> None:
        batcher = Batcher(work, most=1, delay=0)
        running = asyncio.create_task(batcher.run())
        waiting = [asyncio.create_task(batcher.submit(item)) for item in range(3)]
        await asyncio.sleep(0.005)
        waiting[1].cancel()
        assert await waiting[2] == 4
        running.cancel()

    work = Doubler()
    asyncio.run(scene())
    assert work.batches == [[0], [2]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 15), max_size=12))
def test_a_budget_is_never_exceeded_but_by_one_alone_and_serves_in_turn(amounts: list[int]) -> None:
    held: list[int] = []
    served: list[int] = []

    async def holder(budget: Budget, number: int, amount: int) -> None:
        await budget.take(amount)
        held.append(amount)
        served.append(number)
        assert sum(held) <= 10 or len(held) == 1
        await asyncio.sleep(0)
        held.remove(amount)
        budget.give(amount)

    async def scene() -> None:
        budget = Budget(10)
        await asyncio.gather(*(holder(budget, number, amount) for number, amount in enumerate(amounts)))

    asyncio.run(scene())
    assert served == sorted(served)
    assert len(served) == len(amounts)
