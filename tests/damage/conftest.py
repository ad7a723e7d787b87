"""One guard for all: what listens to Python's own events cannot be taken away again."""

from __future__ import annotations

import pytest

from tests.damage.trials import warm_up
from tests.damage.users import Guard


@pytest.fixture(scope="session")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    warm_up(tmp_path_factory.mktemp("warm"))
    return Guard()
