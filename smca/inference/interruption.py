"""Ctrl-C as a wish to end: what is being written is completed, then the program stops."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


@contextmanager
def stop_on_interrupt() -> Iterator[Event]:
    """An event that the first Ctrl-C inside the block sets; a second one ends the block at once.

    Where Ctrl-C does not raise KeyboardInterrupt anyway (another thread, another handler) nothing is changed.
    """
    stop = Event()

    def ask(_: int, __: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = signal.getsignal(signal.SIGINT)
    if previous is not signal.default_int_handler:
        yield stop
        return
    try:
        signal.signal(signal.SIGINT, ask)
    except ValueError:  # only the main thread may
        yield stop
        return
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
