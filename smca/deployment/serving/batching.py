"""Dynamic batching: what arrives within a moment goes together, and what arrives while a batch runs is the next one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """`submit` an item, get its result; `run` sees the items in batches, in the order they came.

    compute: items -> as many results, an exception in the place of one that failed; most: items in a batch; delay:
    seconds that a first item waits for others. Nobody waits for an item whose `submit` was cancelled: if its batch has
    not begun it is not computed.
    """

    def __init__(
        self, compute: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]], most: int, delay: float
    ) -> None:
        self._compute, self._most, self._delay = compute, most, delay
        self._queue: asyncio.Queue[tuple[Item, asyncio.Future[Result]]] = asyncio.Queue()

    async def submit(self, item: Item) -> Result:
        """Return the item's result, or raise what it failed with."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((item, future))
        return await future

    async def run(self) -> None:
        """Compute batches for ever."""
        while True:
            batch = [pair for pair in await self._gather() if not pair[1].done()]
            if batch:
                await self._run_one(batch)

    async def _gather(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch = [await self._queue.get()]
        if self._queue.qsize() < self._most - 1 and self._delay:
            await asyncio.sleep(self._delay)
        while len(batch) < self._most and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

    async def _run_one(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._compute([item for item, _ in batch])
        except Exception as error:
            logging.getLogger(__name__).exception("a batch of %d failed", len(batch))
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


class Budget:
    """An amount of something that holders share; who comes first is served first.

    A holder that wants more than all of it gets it alone.
    """

    def __init__(self, total: int) -> None:
        self._total, self._held = total, 0
        self._turn, self._room = asyncio.Lock(), asyncio.Event()

    async def take(self, amount: int) -> None:
        """Wait until `amount` is free, and take it."""
        async with self._turn:
            while self._held and self._held + amount > self._total:
                self._room.clear()
                await self._room.wait()
            self._held += amount

    def give(self, amount: int) -> None:
        """Give back what was taken."""
        self._held -= amount
        self._room.set()
