"""`make docs` builds without a warning, and every page is in reach."""

from __future__ import annotations

from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    build = pytest.importorskip("sphinx.cmd.build")
    assert build.main(["-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path)]) == 0
    assert "SmcaForObjectDetection" in (tmp_path / "api.html").read_text()
    pages = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]
    assert {path.relative_to(DOCS).with_suffix(".html") for path in pages} <= {
        path.relative_to(tmp_path) for path in tmp_path.rglob("*.html")
    }
