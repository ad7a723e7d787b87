"""Progress of anything that takes longer than two seconds, with the time left.

On a terminal one live bar; elsewhere (a file, a pipe, CI) a plain line every few seconds; in the processes of
a distributed run other than the first, nothing. A `Progress` is a callable `progress(done, total, note)`,
which is all that other rooms need to know: they take any `Callable[[int, int], None]`.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from smca.errors import printable

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """A context manager that shows how far one task is: `with Progress("evaluating") as progress: ...`."""

    def __init__(self, task: str, console: Console | None = None) -> None:
        self._task = task
        self._console = console or Console(quiet=os.environ.get("RANK", "0") != "0", highlight=False)
        self._done = 0.0
        self._first: int | None = None
        self._started = self._last_line = time.monotonic()
        self._bar = _bar(self._console)
        self._row = self._bar.add_task(task, total=None, left="", note="") if self._console.is_terminal else None

    def __enter__(self) -> Progress:
        self._started = self._last_line = time.monotonic()
        if self._row is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._row is not None:
            self._bar.stop()
        if kind is None and self._done:
            self.print(f"{self._task}: done in {duration(time.monotonic() - self._started)}")

    def __call__(self, done: float, total: int | None, note: str = "") -> None:
        """Show `done` of `total` (counts of the same thing, any thing) and a short `note`.

        A part of a thing counts for the time left; without a `total` there is none, as for a camera.
        """
        self._first = math.ceil(done) - 1 if self._first is None else self._first
        self._done = done
        now = time.monotonic()
        seconds_each = (now - self._started) / max(done - self._first, 1e-3)
        left = "" if total is None else f"{duration(seconds_each * (total - done))} left"
        if self._row is not None:
            self._bar.update(self._row, completed=done, total=total, left=left, note=note)
        elif now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            count = f"{int(done)}" if total is None else f"{int(done)}/{total}"
            self.print(f"{self._task}: {', '.join(part for part in (count, left, note) if part)}")

    def print(self, line: str) -> None:
        """Print a line that stays, above the bar."""
        lines = "\n".join(printable(one) for one in line.split("\n"))
        self._console.print(lines, markup=False, soft_wrap=True)


def track(items: Iterable[Item], task: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items` and show the progress; `total` is needed when they have no length."""
    count = total if total is not None else len(items) if isinstance(items, Sized) else 0
    with Progress(task) as progress:
        for done, item in enumerate(items, 1):
            yield item
            progress(done, max(count, done))


def duration(seconds: float) -> str:
    """Return seconds as "m:ss" or "h:mm:ss"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", style="cyan", markup=False),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=console,
        transient=True,
    )
