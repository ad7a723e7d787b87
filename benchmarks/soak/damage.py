"""Hostile and broken input: what a stranger's data sets, pictures and models can do to a user (nothing).

    python -m benchmarks.soak.damage

Every trial runs in a child process with a limit of time; one that hangs or dies is counted and the next is taken by a
new child.
"""

from __future__ import annotations

import functools
import multiprocessing
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.soak.result import Figures, record
from tests.damage.data_sets import damages
from tests.damage.trials import DEFECT, changed_picture, try_data_set, try_picture, warm_up
from tests.damage.users import SECONDS, Guard

PICTURES = 4000
PAGES = 20  # a page of `data check --report` for one data set in so many
LIMIT = 8 * SECONDS

Trial = Callable[[int, Path, Guard], tuple[str, dict[str, str]]]


known = functools.cache(damages)


def data_set(index: int, place: Path, guard: Guard) -> tuple[str, dict[str, str]]:
    damage = known()[index]
    return damage.name, try_data_set(damage, place, guard, page=index % PAGES == 0)


def picture(index: int, place: Path, guard: Guard) -> tuple[str, dict[str, str]]:
    return f"picture {index}", try_picture(changed_picture(index), place, guard)


def work(pipe: Connection, trial: Trial, indices: range, place: str) -> None:
    """A child: one trial after another, each told when it is done."""
    warm_up(Path(place))
    guard = Guard()
    for index in indices:
        pipe.send((*trial(index, Path(place), guard), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
    pipe.close()


def results(trial: Trial, indices: range) -> Iterator[tuple[str, dict[str, str], int]]:
    """Name, outcomes and memory in kB of each trial."""
    spawn = multiprocessing.get_context("spawn")
    while indices:
        here, there = spawn.Pipe(duplex=False)
        with tempfile.TemporaryDirectory() as place:
            child = spawn.Process(target=work, args=(there, trial, indices, place))
            child.start()
            there.close()
            try:
                while indices and here.poll(LIMIT):
                    yield here.recv()
                    indices = indices[1:]
                if indices:
                    yield f"{trial.__name__} {indices[0]}", {"all": f"{DEFECT} HangError"}, 0
            except EOFError:
                yield f"{trial.__name__} {indices[0]}", {"all": f"{DEFECT} the process died"}, 0
            child.kill()
            child.join()
        indices = indices[1:]


def count(title: str, trial: Trial, indices: range, figures: Figures) -> list[str]:
    """Add figures under a title; returns the defects."""
    outcomes, defects, largest = Counter[str](), [], 0
    for name, found, memory in results(trial, indices):
        largest = max(largest, memory)
        for use, outcome in found.items():
            if outcome.startswith(DEFECT):
                defects.append(f"{name}: {use}: {outcome}")
                print(defects[-1], file=sys.stderr, flush=True)
            outcomes[outcome.split()[0]] += 1
    figures |= {
        f"{title}": len(indices),
        f"{title}: uses": outcomes.total(),
        f"{title}: typed errors": outcomes["error"],
        f"{title}: counted skips": outcomes["skip"],
        f"{title}: read as they are": outcomes["read"],
        f"{title}: defects": len(defects),
        f"{title}: most memory, MB": largest // 1000,
    }
    return defects


def damage() -> Figures:
    figures: Figures = {}
    defects = count("damaged data sets", data_set, range(len(damages())), figures)
    defects += count("changed pictures", picture, range(PICTURES), figures)
    if defects:
        raise AssertionError(f"{len(defects)} defects: {figures}")
    return figures


if __name__ == "__main__":
    record("damage", "Hostile and broken input ends in a typed error or a counted skip.", damage)
