"""From uploads to detections and explanations: places for so many, pixels in memory for so many, time for each.

The model computes in one thread; decoding has threads of its own.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from smca.deployment.serving.batching import Batcher, Budget
from smca.deployment.serving.engine import Engine
from smca.deployment.serving.limits import Limits, RefusalError
from smca.deployment.serving.memory import Tidier
from smca.deployment.serving.metrics import Metrics
from smca.deployment.serving.pictures import count_pixels, decode
from smca.deployment.serving.uploads import Upload
from smca.detections import Detections
from smca.errors import ConfigurationError
from smca.visualization.explanation import Explanation

Result = TypeVar("Result")


class Service:
    """One model at work; `run` runs while it is asked anything."""

    def __init__(self, engine: Engine, limits: Limits, metrics: Metrics) -> None:
        self.engine, self.limits, self.metrics = engine, limits, metrics
        self._batcher: Batcher[Tensor, Detections] = Batcher(self._compute, limits.batch, limits.delay)
        self._pixels = Budget(limits.pixels)
        self._tidier = Tidier()
        self._asked = 0
        # Denormals are flushed to zero thread by thread.
        self._thread = ThreadPoolExecutor(1, "model", torch.set_flush_denormal, (True,))
        self._decoders = ThreadPoolExecutor(os.cpu_count() or 1, "decoder")

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the `waiting` places, from before a request's body is read until it is answered."""
        if self._asked >= self.limits.waiting:
            raise RefusalError(503, f"{self._asked} requests are waiting already, the most allowed; try again")
        self._asked += 1
        self.metrics.waiting.set(self._asked)
        try:
            yield
        finally:
            self._asked -= 1
            self.metrics.waiting.set(self._asked)
            self._tidier.settle(others=self._asked > 0)

    async def predict(self, uploads: Sequence[Upload]) -> list[Detections | RefusalError]:
        """All detections in each picture, or why there are none; one does not hurt another."""
        return list(await asyncio.gather(*(self._predict(upload) for upload in uploads)))

    async def explain(self, upload: Upload, label: str, box: Sequence[float]) -> Explanation:
        """Where the query of one detection looked."""
        if not self.engine.explains:
            raise RefusalError(422, "explanations are not available: this model does not tell where its queries look")
        try:
            async with self._decoded(upload) as picture:
                return await self._in(self._thread, lambda: self.engine.explain(picture, label, box))
        except ConfigurationError as error:
            raise RefusalError(422, str(error)) from error

    async def run(self) -> None:
        """Work for ever; nothing is answered without."""
        await asyncio.gather(self._batcher.run(), self._tidier.run(self._decoders))

    def close(self) -> None:
        """Let the threads end."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._decoders.shutdown(wait=False, cancel_futures=True)

    async def _predict(self, upload: Upload) -> Detections | RefusalError:
        try:
            async with self._decoded(upload) as picture:
                return await self._batcher.submit(picture)
        except RefusalError as error:
            return error

    @asynccontextmanager
    async def _decoded(self, upload: Upload) -> AsyncIterator[Tensor]:
        """A picture, in memory until the block is left."""
        self._tidier.notice(len(upload.content))
        pixels = await self._in(self._decoders, lambda: count_pixels(upload, self.limits.pixels))
        self._tidier.notice(pixels)
        await self._pixels.take(pixels)
        loop, work = asyncio.get_running_loop(), self._decoders.submit(decode, upload)
        try:
            yield await asyncio.wrap_future(work)
        finally:
            # A thread decodes on for somebody who has given up.
            work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._pixels.give, pixels))

    async def _compute(self, pictures: Sequence[Tensor]) -> list[Detections | Exception]:
        start = time.monotonic()
        results = await self._in(self._thread, lambda: self.engine.predict(pictures))
        self.metrics.model.observe(time.monotonic() - start)
        self.metrics.batch.observe(len(pictures))
        return results

    @staticmethod
    async def _in(threads: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
