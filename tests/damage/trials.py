"""Trials: each damaged data set or picture is used in a folder of its own, watched, within a limit of time.

A trial answers {use: "error" | "skip" | "read" | "DEFECT ..."}.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event

from smca.data.images import check_image
from smca.errors import SmcaError
from smca.inference.frames import Frames
from smca.inference.sources import list_sources
from tests.damage.data_sets import Damage
from tests.damage.healthy import write_healthy
from tests.damage.pictures import sound
from tests.damage.users import SECONDS, Guard, HangError, Outcome, last_words, snapshot, uses, within
from tests.damage.wrong import mutated

DEFECT = "DEFECT"


def try_data_set(damage: Damage, place: Path, guard: Guard, page: bool = False) -> dict[str, str]:
    """Every use of one damaged data set."""
    shutil.rmtree(place, ignore_errors=True)
    data, out = place / "data", place / "out"
    data.mkdir(parents=True)
    out.mkdir()
    damage.write(data)
    before = snapshot(data)
    found = {name: watched(use, guard, out) for name, use in uses(data, out, page).items()}
    if snapshot(data) != before:
        found["surroundings"] = f"{DEFECT} the data set was changed"
    return found


def try_picture(content: bytes, place: Path, guard: Guard) -> dict[str, str]:
    """One picture, looked at and read as `smca predict` reads it."""
    file = place / "picture.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return {
        "checked": watched(lambda: _checked(file), guard, place / "out"),
        "read to predict": watched(lambda: _predicted(file), guard, place / "out"),
    }


def changed_picture(seed: int) -> bytes:
    """A picture of some kind, changed at random."""
    rng = random.Random(seed)
    whole = sound()[seed % len(sound())]
    return mutated(rng, whole, most=rng.choice((1, 2, 4, 30)))


def watched(use: Callable[[], Outcome], guard: Guard, out: Path) -> str:
    """What became of it."""
    try:
        with guard.watching(out), within(SECONDS):
            return use()
    except (HangError, Exception) as error:  # noqa: BLE001  # whatever it is, it is the finding
        return f"{DEFECT} {last_words(error)}"


def _checked(file: Path) -> Outcome:
    try:
        check_image(file)
    except SmcaError:
        return "error"
    return "read"


def _predicted(file: Path) -> Outcome:
    frames = Frames(list_sources([file]), Event())
    for frame in frames:
        assert frame.pixels.shape[0] == 3
        assert 0 not in frame.pixels.shape
    return "skip" if frames.unreadable else "read"


def warm_up(place: Path) -> None:
    """What libraries write for themselves when first used, they write before anybody watches."""
    write_healthy("coco", place / "healthy")
    for use in uses(place / "healthy", place / "warm", page=True).values():
        assert use() == "read"
