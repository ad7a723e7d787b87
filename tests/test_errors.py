from __future__ import annotations

import pytest

from smca.errors import ConfigurationError, SmcaError, nearest


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
