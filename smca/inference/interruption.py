"""Ctrl-C and SIGTERM as a wish to end: what is being written is completed, then the program stops."""

from __future__ import annotations

import mmap
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event
from types import FrameType

USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class AtOnce(KeyboardInterrupt):
    """The second of two signals."""


@contextmanager
def stop_on_interrupt(notice: str = "") -> Iterator[Event]:
    """An event that the first signal inside the block sets, writing `notice` to stderr; a second one raises AtOnce.

    Where a signal does not do its usual thing anyway (another thread, another handler) nothing is changed. Processes
    forked inside the block, which a terminal signals too, live until the second one as well, or the end of the block.
    """
    stop, owner, over = Event(), os.getpid(), mmap.mmap(-1, 1)

    def ask(_: int, __: FrameType | None) -> None:
        if over[0] and os.getpid() != owner:  # its parent ends it
            os._exit(0)
        if stop.is_set():
            raise AtOnce
        stop.set()
        if notice and os.getpid() == owner:
            with suppress(OSError):
                os.write(2, notice.encode())

    here = threading.current_thread() is threading.main_thread()
    changed = [number for number, usual in USUAL.items() if here and signal.getsignal(number) is usual]
    for number in changed:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        over[0] = 1
        for number in changed:
            signal.signal(number, USUAL[number])


def outlive_first_signal(_: int = 0) -> None:
    """To be called in a forked loader process: meet SIGTERM as `stop_on_interrupt` does; torch's die of the first."""
    inherited = signal.getsignal(signal.SIGTERM)
    if callable(inherited):
        signal.signal(signal.SIGTERM, inherited)
