"""Memory that a large request used, given back to the system.

The process keeps what it frees, because the model needs it again at once (`smca.cli.process`); what only one large
picture needed would stay for ever.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
from concurrent.futures import Executor

LARGE = 4_000_000  # bytes of a body or pixels of a picture
PAUSE = 2.0  # seconds
M_ARENA_MAX = -8  # of glibc's malloc.h


class Tidier:
    """Told of large amounts (`notice`) and of every end of a request (`settle`), makes `run` give back what is free."""

    def __init__(self) -> None:
        self._large = False
        self._wanted = asyncio.Event()

    def notice(self, amount: int) -> None:
        """Bytes or pixels are in use."""
        self._large = self._large or amount > LARGE

    def settle(self, others: bool) -> None:
        """A request has ended; `others` go on."""
        if self._large:
            self._wanted.set()
        self._large = self._large and others

    async def run(self, threads: Executor) -> None:
        """Give back for ever, at most once a pause."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(PAUSE)
            self._wanted.clear()
            await asyncio.get_running_loop().run_in_executor(threads, give_back)


def share() -> None:
    """Let all threads allocate from one place: what one has freed the next can have. Before there are threads."""
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Let glibc return all free pages; elsewhere nothing."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
