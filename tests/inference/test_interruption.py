"""Ctrl-C and SIGTERM as a wish to end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smca.inference.interruption import AtOnce, outlive_first_signal, stop_on_interrupt


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_first_asks_and_the_second_ends(first: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    with stop_on_interrupt("stopping soon") as stop:
        assert not stop.is_set()
        signal.raise_signal(first)
        assert stop.is_set()
        assert capfd.readouterr().err == "stopping soon"
        with pytest.raises(AtOnce):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_forked_process_outlives_the_first_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def child() -> None:
        signal.raise_signal(signal.SIGTERM)

    with stop_on_interrupt("stopping soon") as stop:
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        assert (process.exitcode, stop.is_set()) == (0, False)
    assert capfd.readouterr().err == ""


def test_a_forked_process_ends_when_told_after_the_block() -> None:
    with stop_on_interrupt():
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
        process.start()
        process.terminate()
        process.join(0.5)
        assert process.is_alive()
    process.terminate()
    process.join(10)
    assert process.exitcode == 0


def test_loader_processes_outlive_a_signal_to_all() -> None:
    items = TensorDataset(torch.arange(8))
    with stop_on_interrupt() as stop:
        loader = DataLoader(items, num_workers=2, worker_init_fn=outlive_first_signal, multiprocessing_context="fork")
        batches = iter(loader)
        seen = [int(next(batches)[0]) for _ in range(2)]
        for child in multiprocessing.active_children():
            os.kill(int(child.pid or 0), signal.SIGTERM)
        time.sleep(0.2)
        seen += [int(item) for (item,) in batches]
    assert (seen, stop.is_set()) == ([*range(8)], False)


def test_another_thread_changes_nothing() -> None:
    def inside() -> None:
        with stop_on_interrupt() as stop:
            found.extend([stop.is_set(), signal.getsignal(signal.SIGTERM)])

    found: list[object] = []
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [False, signal.SIG_DFL]


def test_another_handler_stays_in_charge() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with stop_on_interrupt() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]
