from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smca.errors import LONGEST, ConfigurationError, DataError, SmcaError, nearest


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("smca-tyni", " Did you mean 'smca-tiny'?"),
        ("smca-r5", " Did you mean 'smca-r50'?"),
        ("something", ""),
        ("", ""),
    ],
)
def test_nearest_names_a_close_name_or_nothing(name: str, hint: str) -> None:
    assert nearest(name, ["smca-tiny", "smca-r50"]) == hint


def test_nearest_lists_more_where_asked() -> None:
    names = ["smca-tiny", "smca-r50", "smca-r101", "bccd"]
    assert nearest("smca-r5", names, most=3) == " Did you mean 'smca-r50'? Near it: smca-r101, smca-tiny."
    assert nearest("smca-r5", names[1:2], most=3) == " Did you mean 'smca-r50'?"
    assert nearest("zzz", names, most=3) == ""


def test_a_configuration_error_is_also_a_value_error() -> None:
    assert issubclass(ConfigurationError, SmcaError)
    assert issubclass(ConfigurationError, ValueError)


@given(st.text(st.characters(), max_size=50) | st.just("x" * 5000) | st.just("\x1b[2J\x9b\u202e"))
def test_a_message_is_one_line_that_any_terminal_can_show(text: str) -> None:
    said = str(DataError(text))
    assert len(said.splitlines()) <= 1
    assert len(said) <= LONGEST
    assert not set(said) & {"\x1b", "\x9b", "\u202e", "\0"}
    assert said.encode().decode() == said
    assert str(pickle.loads(pickle.dumps(DataError(text)))) == said


def test_letters_of_any_script_stay_as_they_are() -> None:
    assert str(DataError("größe 大きさ حجم")) == "größe 大きさ حجم"
