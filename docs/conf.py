"""How `make docs` builds the site: Sphinx over these Markdown pages, API reference from docstrings."""

from __future__ import annotations

from sphinx.application import Sphinx

project = "SMCA-DETR"
author = "the SMCA-DETR developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "SMCA-DETR"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["text.css"]
html_show_sourcelink = False
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
suppress_warnings = ["myst.xref_missing"]


def as_written(_: Sphinx, __: str, ___: str, ____: object, _____: object, lines: list[str]) -> None:
    """Docstrings are plain text with formulas and tables of their own, no markup."""
    lines[:] = [".. code-block:: text", "", *(f"   {line}" for line in lines), ""]


def setup(app: Sphinx) -> None:
    """Sphinx's entry."""
    app.connect("autodoc-process-docstring", as_written)
