"""When freed memory goes back to the system."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from smca.deployment.serving import memory


@pytest.mark.parametrize(
    ("amounts", "others", "times"),
    [([memory.LARGE], False, 0), ([memory.LARGE + 1], False, 1), ([memory.LARGE + 1, 5], True, 2), ([5, 5], True, 0)],
)
def test_memory_is_given_back_after_large_requests_only(
    amounts: list[int], others: bool, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each end of a request as long as a large one may be in progress."""
    given: list[str] = []  # threads: another test's server may give back too
    monkeypatch.setattr(memory, "PAUSE", 0.0)
    monkeypatch.setattr(memory, "give_back", lambda: given.append(threading.current_thread().name))

    async def scene() -> None:
        tidier = memory.Tidier()
        with ThreadPoolExecutor(1, thread_name_prefix="ours") as threads:
            running = asyncio.create_task(tidier.run(threads))
            for amount in amounts:
                tidier.notice(amount)
                tidier.settle(others)
                await asyncio.sleep(0.05)
            running.cancel()

    asyncio.run(scene())
    assert sum(name.startswith("ours") for name in given) == times


def test_giving_back_does_no_harm() -> None:
    memory.give_back()
