"""Pictures changed at random, and bytes that never were one, through what `smca predict` and the data readers do."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smca.data.images import load_image
from smca.errors import DataError
from tests.damage.pictures import BROKEN, broken, sound
from tests.damage.trials import DEFECT, changed_picture, try_picture
from tests.damage.users import Guard

SIGNATURES = [whole[:length] for whole in sound() for length in (4, 12, 40)]


@pytest.mark.parametrize("title", [title for title in BROKEN if "swell" not in title and "13,000" not in title])
def test_a_broken_picture_is_an_error_and_no_more(title: str, tmp_path: Path, guard: Guard) -> None:
    found = try_picture(broken(title), tmp_path, guard)
    assert found["read to predict"] == "read" if "EXIF" in title else found["read to predict"] == "skip", found
    assert not found["checked"].startswith(DEFECT)


def test_changed_pictures_are_read_or_refused(tmp_path: Path, guard: Guard) -> None:
    found = [try_picture(changed_picture(seed), tmp_path, guard) for seed in range(300)]
    assert not [one for one in found if any(outcome.startswith(DEFECT) for outcome in one.values())]
    assert {outcome for one in found for outcome in one.values()} == {"read", "error", "skip"}


@settings(deadline=None, max_examples=200)
@given(start=st.sampled_from(SIGNATURES), rest=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(start: bytes, rest: bytes) -> None:
    with contextlib.suppress(DataError):
        assert load_image(start + rest).shape[0] == 3


def test_a_format_that_starts_a_program_is_not_tried(tmp_path: Path, guard: Guard) -> None:
    (tmp_path / "a.png").write_bytes(broken("PostScript"))
    with pytest.raises(DataError, match="unknown format"), guard.watching(tmp_path):
        load_image(tmp_path / "a.png")
