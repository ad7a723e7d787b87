"""A batch without Ray: its one worker lives in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from smca.deployment.batch.session import Pool


def in_process(items: list[dict[str, Any]], worker: Any, job: Any, _: Pool) -> Iterator[dict[str, Any]]:
    """Stands for `smca.deployment.batch.session.stream`."""
    made = worker(job)
    for item in items:
        result = made({name: [value] for name, value in item.items()})
        yield {name: value[0] for name, value in result.items()}


@contextmanager
def no_session(*_: object) -> Iterator[Pool]:
    """Stands for `smca.deployment.batch.session.session`."""
    yield Pool(1, 1, 0, {})
