"""An audit that asked nobody is not a clean one."""

from __future__ import annotations

from typing import Any

from tests.supply.audit import audited

CLEAN: dict[str, Any] = {"name": "one", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "two", "skip_reason": "Dependency not found on PyPI and could not be audited: two (2.0)"}
BAD = {"name": "three", "version": "3.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1"]}]}


def test_no_answer_at_all_is_said() -> None:
    for found in (None, {"dependencies": []}, {"dependencies": [UNKNOWN]}):
        assert audited(found).status == 0
        assert audited(found).lines[0].startswith("NOT AUDITED")


def test_a_vulnerability_fails_and_is_named() -> None:
    lines, status = audited({"dependencies": [CLEAN, UNKNOWN, BAD]})
    assert status == 1
    assert lines[0] == "three 3.0: PYSEC-1, fixed in 3.1"
    assert "2 packages audited, 1 not known" in lines[1]


def test_none_passes() -> None:
    assert audited({"dependencies": [CLEAN]}) == (
        ["1 packages audited, 0 not known to the service, 0 vulnerabilities"],
        0,
    )
