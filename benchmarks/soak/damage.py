"""Hostile and broken input: what a stranger's data sets, pictures and models can do to a user (nothing).

    python -m benchmarks.soak.damage

The trials run in a child process, each with a limit of time; where one hangs or kills the child, that is counted and
another child goes on with the next.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from benchmarks.soak.result import Figures, record
from smca.data.layouts import Format
from smca.deployment.export.formats import ExportFormat
from tests.damage import data_sets, exports, models
from tests.damage.trials import DEFECT, changed_picture, try_data_set, try_picture, warm_up, watched
from tests.damage.users import SECONDS, Guard
from tests.inference.small_model import save_small_model

DATA_SETS = 2  # one in so many of the damaged data sets; 1 for all
CLAIM = "Hostile and broken input ends in a typed error, a counted skip or a result, never otherwise."
PICTURES = 3000
PAGES = 20  # a page of `data check --report` for one data set in so many
FIELDS = 8  # one in so many wrong values of the fields of a model's JSON
LIMIT = 8 * SECONDS  # of a trial, and of the preparation
CHILDREN = 2


class Outcome(NamedTuple):
    """What became of each use in one trial, and the largest memory so far in kB."""

    name: str
    found: dict[str, str]
    memory: int = 0


Trial = Callable[[], tuple[str, dict[str, str]]]
Trials = Callable[[Path, Guard], Sequence[Trial]]


def damaged_coco_sets(place: Path, guard: Guard) -> list[Trial]:
    return data_set_trials("coco", place, guard)


def damaged_voc_sets(place: Path, guard: Guard) -> list[Trial]:
    return data_set_trials("voc", place, guard)


def damaged_yolo_sets(place: Path, guard: Guard) -> list[Trial]:
    return data_set_trials("yolo", place, guard)


def data_set_trials(format: Format, place: Path, guard: Guard) -> list[Trial]:
    def one(damage: data_sets.Damage, page: bool) -> tuple[str, dict[str, str]]:
        return damage.name, try_data_set(damage, place / "trial", guard, page)

    known = [damage for damage in data_sets.damages() if damage.format == format][::DATA_SETS]
    return [partial(one, damage, index % PAGES == 0) for index, damage in enumerate(known)]


def changed_pictures(place: Path, guard: Guard) -> list[Trial]:
    def one(seed: int) -> tuple[str, dict[str, str]]:
        return f"picture {seed}", try_picture(changed_picture(seed), place / "trial", guard)

    return [partial(one, seed) for seed in range(PICTURES)]


def damaged_models(place: Path, guard: Guard) -> list[Trial]:
    def one(name: str, ruin: models.Ruin) -> tuple[str, dict[str, str]]:
        folder = models.copied(sound_model(place), place / "trial", ruin)
        return name, {"load and predict": watched(lambda: models.use_model(folder), guard, place / "out")}

    known = list(models.damages(sound_model(place)))
    fields = [one for one in known if " is " in one[0]]
    return [partial(one, *damage) for damage in [*fields[::FIELDS], *(other for other in known if other not in fields)]]


def damaged_exports(place: Path, guard: Guard) -> list[Trial]:
    files: dict[ExportFormat, Path] = {"onnx": place / "export" / "m.onnx", "openvino": place / "export" / "m.xml"}
    if not files["openvino"].exists():
        files = exports.make(sound_model(place), place / "export")

    def one(name: str, file: Path, ruin: exports.Ruin) -> tuple[str, dict[str, str]]:
        copy = exports.copied(file, place / "trial", ruin)
        return name, {"load and predict": watched(lambda: models.use_model(copy), guard, place / "out")}

    return [partial(one, *damage) for damage in exports.damages(files)]


def sound_model(place: Path) -> Path:
    """A small model, made when first asked for."""
    folder = place / "sound"
    if not folder.exists():
        save_small_model(folder, ("cat", "dog", "cow"))
    return folder


def work(pipe: Connection, trials: Trials, begin: int, place: Path) -> None:
    """A child: one trial after another, each told when it is done, and None at the end."""
    if begin == 0:
        warm_up(place)
    known = trials(place, Guard())[begin:]
    pipe.send("ready")
    for trial in known:
        pipe.send(Outcome(*trial(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
    pipe.send(None)


def outcomes(trials: Trials) -> Iterator[Outcome]:
    """Of all trials, in as many children as it takes."""
    spawn = multiprocessing.get_context("spawn")
    done, finished = 0, False
    with tempfile.TemporaryDirectory() as place:
        while not finished:
            here, there = spawn.Pipe(duplex=False)
            child = spawn.Process(target=work, args=(there, trials, done, Path(place)))
            child.start()
            there.close()
            if here.poll(LIMIT):
                here.recv()
            while True:
                heard = _heard(here, done)
                finished = heard is None
                if heard is not None:
                    done += 1
                    yield heard
                if heard is None or heard.name.startswith("trial "):
                    break
            child.kill()
            child.join()


def _heard(pipe: Connection, number: int) -> Outcome | None:
    try:
        if pipe.poll(LIMIT):
            return pipe.recv()
    except EOFError:
        return Outcome(f"trial {number}", {"all": f"{DEFECT} the process died"})
    return Outcome(f"trial {number}", {"all": f"{DEFECT} HangError"})


def count(trials: Trials) -> Figures:
    """The figures of one kind of trials."""
    figures: Figures = {}
    title, kinds, largest, tried = trials.__name__.replace("_", " "), Counter[str](), 0, 0
    for name, found, memory in outcomes(trials):
        tried, largest = tried + 1, max(largest, memory)
        for use, outcome in found.items():
            kinds[kind_of(outcome)] += 1
            if outcome.startswith(DEFECT):
                print(f"{name}: {use}: {outcome}", file=sys.stderr, flush=True)
    figures[title] = tried
    figures[f"{title}, uses"] = kinds.total()
    for kind in (
        "typed errors",
        "counted skips",
        "read as they are",
        "hangs",
        "writes or programs outside",
        "tracebacks",
    ):
        figures[f"{title}, {kind}"] = kinds[kind]
    figures[f"{title}, most memory in MB"] = largest // 1000
    return figures


def kind_of(outcome: str) -> str:
    """The figure that an outcome counts for."""
    plain = {"error": "typed errors", "skip": "counted skips", "read": "read as they are"}
    if outcome in plain:
        return plain[outcome]
    if "HangError" in outcome:
        return "hangs"
    return "writes or programs outside" if "watching" in outcome or "was changed" in outcome else "tracebacks"


KINDS = (
    damaged_coco_sets,
    damaged_voc_sets,
    damaged_yolo_sets,
    changed_pictures,
    damaged_models,
    damaged_exports,
)


def damage() -> Figures:
    figures: Figures = {}
    with ThreadPoolExecutor(CHILDREN) as pool:
        for part in pool.map(count, KINDS):
            figures |= part
    bad = {
        name: figures[name] for name in figures if name.endswith(("hangs", "outside", "tracebacks")) and figures[name]
    }
    if bad:
        raise AssertionError(f"defects: {bad}")
    return figures


if __name__ == "__main__":
    record("damage", CLAIM, damage)
