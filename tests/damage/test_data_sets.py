"""Damaged data sets of all formats: what a user does with them ends in a typed error or in counted skips."""

from __future__ import annotations

from pathlib import Path

import pytest

from smca.data.layouts import FORMATS, Format
from tests.damage.data_sets import Damage, damages
from tests.damage.trials import DEFECT, try_data_set
from tests.damage.users import Guard, HangError, within

EVERY = 23  # prime, so that every kind of damage has its turn; the soak tries all


def defects(found: dict[str, str]) -> dict[str, str]:
    return {use: outcome for use, outcome in found.items() if outcome.startswith(DEFECT)}


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_wrong_with_what_is_healthy(format: Format, tmp_path: Path, guard: Guard) -> None:
    healthy = Damage("healthy", format, lambda _: None)
    assert set(try_data_set(healthy, tmp_path / "trial", guard, page=True).values()) == {"read"}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_damage_does_harm(part: int, tmp_path: Path, guard: Guard) -> None:
    chosen = [one for index, one in enumerate(damages()) if index % EVERY == 0 or any(n in one.name for n in ALWAYS)]
    for damage in chosen[part::4]:
        found = try_data_set(damage, tmp_path / "trial", guard)
        assert not defects(found), damage.name


# What did harm once.
ALWAYS = (
    "images.0.file_name is 5,000 signs",
    "images.0.file_name is half a sign",
    "images.0.file_name is control signs",
    "categories.0.name is control signs",
    "files called",
    "train.txt names 5,000 signs",
    "labels/train/a.txt is a pipe",
    "Annotations/a.xml is a pipe",
    "a picture is hollow",
    "Annotations/a.xml of an unknown encoding",
    "data.yaml with trick",
)


def test_there_are_more_than_five_hundred_of_them_each_once() -> None:
    names = [damage.name for damage in damages()]
    assert len(names) == len(set(names))
    assert all(sum(name.startswith(format) for name in names) > 300 for format in FORMATS)


def test_the_guard_hears_of_files_programs_and_hangs(tmp_path: Path, guard: Guard) -> None:
    import subprocess
    import time

    (tmp_path / "out").mkdir()
    with guard.watching(tmp_path / "out"):
        (tmp_path / "out" / "a").write_text("")
    for harm in (lambda: (tmp_path / "a").write_text(""), lambda: subprocess.run(["true"], check=True)):
        with pytest.raises(Exception, match=r"open|Popen"), guard.watching(tmp_path / "out"):
            harm()
    with pytest.raises(HangError), within(0.05):
        time.sleep(5)
