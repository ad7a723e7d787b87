"""`python -m tests.transformers_suite.runner FOLDER RESULT`: run the library's tests, write their outcomes as JSON.

RESULT: {case: {test: [outcome, why]}}, outcomes "passed", "failed" (a part of the test is enough) and "skipped". A
process of its own, since the library's tests bring markers, seeds and settings that are not our session's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import TestCase, TestLoader, TestResult, TestSuite

from transformers import set_seed

from tests.transformers_suite.cases import cases


def outcome_of(test: TestCase) -> tuple[str, str]:
    """Run one test, the same whatever ran before."""
    set_seed(0)
    result = TestResult()
    TestSuite([test]).run(result)
    if wrong := result.failures + result.errors:
        return "failed", wrong[-1][1].strip()
    if result.skipped:
        return "skipped", result.skipped[-1][1]
    return "passed", ""


def main(folder: Path, result: Path) -> None:
    """Run every test of every case."""
    loader, found = TestLoader(), {}
    for title, case in cases(folder).items():
        found[title] = {name: outcome_of(case(name)) for name in loader.getTestCaseNames(case)}
    result.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
